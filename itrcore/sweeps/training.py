"""One training of a sweep in a process of its own: python -m itrcore.sweeps.training, as `process.py` starts it.

It reads its task as a line of JSON. It writes a line with its evaluations on dev after each of them, then reads whether to go on.
It evaluates dev alone and writes no run. When its starter is gone, it ends at once.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itrcore.errors import ConfigError, DataError, ITRError
from itrcore.runs import inputs
from itrcore.settings import sweeps
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.sweeps.record import name_of, record_of
from itrcore.training.renamed import identity_of
from itrcore.training.state import Finished, StateFolder, TrainingState
from itrcore.training.train import built, trainer_of

_ORPHAN_SECONDS = 30.0  # for the training of a sweep that was killed, to end
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)  # not of the trial

GoesOn = Callable[[TrainingState], bool]  # told the state after each evaluation


class Pruned(Exception):
    """The starter ends the trial."""


def train(params: Params, name: str, folder: Path, goes_on: GoesOn) -> Finished:
    """Train run `name` of the experiment as `itrcore.training.train` does, but leave its results in the state's folder.

    `Pruned` where `goes_on` says no; the errors of a training otherwise.
    """
    seed = params.run(name).seed
    assert seed is not None
    prepared, method = built(params, name, seed)
    state = StateFolder(folder)
    identity = identity_of(inputs.training(params, name), prepared.text.digest, prepared.image.digest)

    def ask(training: TrainingState) -> None:
        if training.history and not goes_on(training):
            raise Pruned

    with state.alone(_ORPHAN_SECONDS):
        if (finished := state.finished(identity)) is None:
            finished = trainer_of(params, name, seed, method, prepared).run(state, identity, ask, ask)
            assert finished is not None  # it trains alone
    return finished


class Starter:
    """The process that started this one."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # all that is printed goes into the log
        self._lines = queue.SimpleQueue[str]()
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, **what: Any) -> None:
        """A line of JSON."""
        self._out.write(f"{json.dumps(what)}\n")
        self._out.flush()

    def hear(self) -> Any:
        """Its next line."""
        return json.loads(self._lines.get())

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)
        os._exit(1)  # it was killed


def main() -> None:
    """Train what the starter says, and tell it how that ended."""
    starter = Starter()
    task = starter.hear()

    def goes_on(state: TrainingState) -> bool:
        starter.tell(curve=_curve(state.history))
        return bool(starter.hear())

    try:
        sweep = sweeps.read(load(), task["sweep"])
        if name_of(record_of(sweep)) != task["study"]:  # by now
            raise ConfigError(
                f"code, settings or data have changed since sweep {sweep.name} began, and its trials would not be comparable; run "
                "it again, which says what has changed"
            )
        params = sweep.with_run(task["name"], task["values"], task["seed"])
        finished = train(params, task["name"], Path(task["folder"]), goes_on)
        best = finished.best
        starter.tell(
            trained={
                "rsum": best.rsum,
                "epoch": best.epoch,
                "seconds": finished.seconds,
                "curve": _curve(finished.history),
            }
        )
    except Pruned:
        starter.tell(pruned=True)
    except (ConfigError, DataError) as error:
        starter.tell(stop=str(error))
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        starter.tell(stop=f"{error.filename or 'a file'}: {error.strerror}. Mend that and run it again.")
    except ITRError as error:
        starter.tell(failed=str(error))


def _curve(history: Any) -> list[tuple[int | float, float]]:
    return [(point.epoch, point.dev.rsum) for point in history]


if __name__ == "__main__":
    main()
