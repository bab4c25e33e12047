"""Who watches a training or an import: the contract between what makes a run and a tracker."""

from __future__ import annotations

from pathlib import Path

from itrcore.runs.records import Point, RunDescription


class Observer:
    """Told what happens; decides nothing. This one does nothing; a subclass logs."""

    def begin(self, run: RunDescription, tracking_id: str | None) -> str | None:
        """A training begins, or continues where `tracking_id` is given. Returns the id to continue with later.

        May refuse, as nothing is lost yet. No later call may, whatever fails in the tracker.
        """
        return tracking_id

    def evaluation(self, point: Point) -> None:
        """Dev was evaluated."""

    def said(self, log: Path) -> None:
        """All that a training says is in this file, once it has said something; called first."""

    def finish(self, folder: Path) -> None:
        """The run is complete; its files lie in `folder`."""

    def fail(self) -> None:
        """The training or import stopped with an error."""
