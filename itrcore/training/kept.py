"""Finished trainings stay in state/ until DVC has recorded their results.

A stage cannot know whether it has: DVC stores outputs after the stage has ended, and then its cache may be full, or DVC may
have been killed while the stage went on. DVC would run the stage again, and a training of days would begin anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from itrcore import cache, layout
from itrcore.runs.folder import RUN, read
from itrcore.runs.records import Run
from itrcore.settings.params import Params
from itrcore.training.state import StateFolder


def clear_recorded(params: Params, logged: Callable[[str, str, Path], bool]) -> None:
    """Remove from state/ each finished training of this configuration whose results DVC has recorded and its cache holds.

    logged: given data set, name and the file of all that the training said, whether that is kept elsewhere now; else all stays
    """
    for name, run in params.runs.items():
        state, folder = StateFolder(layout.STATE / run.data / name), layout.run(run.data, name)
        finished = state.finished()
        if finished is None or not (folder / RUN).exists():
            continue
        written = read(folder / RUN, Run, f"train@{name}").files[layout.WEIGHTS]
        if written == finished.best.sha256 and cache.holds(f"train@{name}") and logged(run.data, name, state.log):
            state.clear()
