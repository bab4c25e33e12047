"""Commands that a job of a cluster runs. When its time is nearly over, they are ended, and the job goes into the queue again."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from submitit.helpers import DelayedSubmission

from flows.guardian import end
from itrcore import interrupt, repro
from itrcore.errors import ITRError

_WARNED = 60.0  # seconds: processes of a pre-empted job get SIGTERM first, and submitit its signal after that

_PATIENCE = 20.0  # seconds for a command to end when it is told to


class Job:
    """Commands of this Python, one after the other, each also where an earlier one failed. submitit calls it where the job runs.

    folder: where they run
    """

    def __init__(self, folder: Path, *commands: Sequence[str]) -> None:
        self._folder, self._commands = folder, commands
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """`ITRError` where one failed."""
        failed = [" ".join(command) for command in self._commands if self._run(command)]
        if failed:
            raise ITRError(f"failed: {'; '.join(failed)}")

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit when the time is nearly over: what runs is ended, and the same job goes on from there."""
        self._stop()
        return DelayedSubmission(Job(self._folder, *self._commands))

    def _run(self, command: Sequence[str]) -> int:
        """The exit status."""
        with tempfile.TemporaryDirectory(prefix="itr-") as store:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self._folder,
                # Jobs on many machines cannot share Prefect's own store, which is SQLite; settings of the user's come first.
                env={"PREFECT_HOME": store, **repro.environment(), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                # Slurm sends submitit's signal to every process of the job, and it would kill those that do not ignore it.
                preexec_fn=partial(signal.signal, signal.SIGUSR2, signal.SIG_IGN),
            )
            try:
                while (status := self._process.poll()) is None:
                    time.sleep(0.1)
                if status in (-signal.SIGTERM, interrupt.STOPPED):  # not by us
                    time.sleep(_WARNED)
                return status
            finally:
                self._stop()

    def _stop(self) -> None:
        """A flow ends all that it started by itself, within seconds."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        end([process.pid], process.poll)
