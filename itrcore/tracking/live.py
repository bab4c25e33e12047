"""A training in MLflow while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itrcore.runs.observer import Observer
from itrcore.runs.records import Point, RunDescription
from itrcore.tracking.run_log import RunLog
from itrcore.tracking.tracker import Tracker


class LiveTraining(Observer):
    """Logs a training while it goes on (an `Observer`)."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._log: RunLog | None = None
        self._monitor: Any = None
        self._said: Path | None = None

    def said(self, log: Path) -> None:
        """The file is logged as it is when the training ends, well or not."""
        self._said = log

    def begin(self, run: RunDescription, tracking_id: str | None) -> str | None:
        """Open the run, or open it again. `TrackingError` where an MLflow that the user named cannot be used."""
        self._log = log = self._tracker.open(run, tracking_id)
        if log is None:
            return tracking_id
        self._tracker.attempt(lambda: setattr(self, "_monitor", self._tracker.monitor(log.run_id)))
        return log.run_id

    def evaluation(self, point: Point) -> None:
        """Log loss terms, dev metrics, learning rate and speed of one evaluation."""
        if log := self._log:
            self._tracker.attempt(lambda: log.evaluations([point]))

    def finish(self, folder: Path) -> None:
        """Log what is missing of the evaluations, and checkpoint and history as artifacts; finish the run."""
        self._stop_monitor()
        if log := self._log:
            self._tracker.attempt(lambda: self._tracker.finish(log, folder).said(self._said), after_failure=True)

    def fail(self) -> None:
        """Mark the run as failed; the next attempt continues or supersedes it."""
        self._stop_monitor()
        if log := self._log:
            self._tracker.attempt(lambda: log.fail(self._said))

    def _stop_monitor(self) -> None:
        if self._monitor is not None:
            self._tracker.attempt(self._monitor.finish, after_failure=True)
            self._monitor = None
