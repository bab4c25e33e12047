"""A sweep as a flow: its data set is made ready, then `itr sweep` runs as a process that ends with the flow."""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed

from flows.flow import schedule
from flows.graph import DATASETS
from flows.slots import VISIBLE, Slots
from flows.targets import LAST_LINES, TargetFailed, run, stop_all
from itrcore.settings import sweeps
from itrcore.settings.load import load
from itrcore.sweeps.study import find_study


def sweep(folder: Path, name: str, jobs: int, gpus: Sequence[str]) -> State[None]:
    """Go on with a sweep, then make an artifact of its trials. Call it in a flow.

    folder: the experiment's; jobs: how many trainings go on at once; gpus: as `schedule` takes them; it leases them until it ends
    `ConfigError` where the sweep's file is wrong; `TargetFailed` where the sweep fails. A cancelled sweep goes on when it is run
    again.
    """
    with chdir(folder):
        params = load()
        found, slots = sweeps.read(params, name), Slots.of(params, (), jobs, gpus)
        ready = schedule(folder, jobs, (), {DATASETS: [found.data]})
        if not ready.is_completed():
            return ready
        log, last = get_run_logger(), deque[str](maxlen=LAST_LINES)
        command = [sys.executable, "-m", "itrcore.cli", "sweep", name]

        def hear(line: str) -> None:
            last.append(line)
            log.info(line)

        try:
            with slots.taken(f"sweep {name}", min(jobs, len(slots.gpus)), log.info) as place:
                with_gpus = ["--gpus", place.variables[VISIBLE]] if place.variables else []
                if code := run([*command, "--jobs", str(jobs), *with_gpus], hear, stdin=place.held):
                    raise TargetFailed(f"sweep {name} failed (exit status {code}): {' '.join(last)}", last)
        except BaseException:
            stop_all()  # a cancelled flow leaves no training behind
            raise
        study = find_study(found)
    trials = [
        {"trial": trial.number, **trial.values, "dev rsum": trial.rsum, "state": trial.state}
        for trial in (study.trials() if study else ())
    ]
    # Prefect takes small letters, digits and - in a key.
    create_table_artifact(trials, key=f"sweep-{re.sub('[^a-z0-9]', '-', name.lower())}", description=f"Sweep {name}")
    return Completed(message=f"sweep {name}: {len(trials)} trials")
