"""The contract between a training and what watches it, such as a tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from itrcore.runs.records import Point, RunDescription


class Observer(Protocol):
    """Told what happens; decides nothing."""

    def begin(self, run: RunDescription, tracking_id: str | None) -> str | None:
        """A training begins, or goes on if `tracking_id` is given. Returns the id with which it can go on later.

        This may raise, as nothing is lost yet. The other methods must not, whatever goes wrong with the observer.
        """

    def evaluation(self, point: Point) -> None:
        """Dev was evaluated."""

    def finish(self, folder: Path) -> None:
        """The training is done; its files lie in `folder`."""

    def fail(self) -> None:
        """The training stopped with an error."""


class Silent:
    """Nobody watches."""

    def begin(self, run: RunDescription, tracking_id: str | None) -> str | None:
        """Keep the id."""
        return tracking_id

    def evaluation(self, point: Point) -> None:
        """Nothing."""

    def finish(self, folder: Path) -> None:
        """Nothing."""

    def fail(self) -> None:
        """Nothing."""
