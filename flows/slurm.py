"""An experiment through Slurm: python -m flows.slurm --experiment f30k --hours 24 --sbatch partition=gpu gres=gpu:1 mem=32G

For a cluster where nothing may run for days but jobs. It puts three things into Slurm's queue, and ends: a job that makes the data
sets ready; an array with a job for each run, which trains and evaluates it; and a job for ensembles, transfers and the report.
A job whose time is over goes into the queue again, and its training goes on from there. All of them work in this folder, so it
lies on a disk that all machines have.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.graph import DATASETS, RUNS, Task, needed_by
from flows.log import FOLDER
from flows.plan import folder_of, planned
from itrcore import repro
from itrcore.errors import ConfigError, ITRError
from itrcore.terminal import say, user_errors

_OWN = (
    "array",
    "dependency",
    "error",
    "job-name",
    "open-mode",
    "output",
    "signal",
    "time",
)  # options that are set here
_NOTICE = 120  # seconds before a job's time is over: what runs is ended then
_FLOW = ("-m", "flows.benchmark")

_Commands = Sequence[Sequence[str]]  # of this Python, for one job


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--experiment", help="a folder of experiments/, such as f30k; without it, the folder you are in"
    )
    parser.add_argument(
        "--runs", nargs="+", metavar="NAME", help="only these runs; neither ensembles nor transfers nor the report"
    )
    parser.add_argument("--hours", type=float, default=24, help="the time of a job (%(default)s)")
    parser.add_argument(
        "--requeues",
        type=int,
        default=10,
        metavar="N",
        help="how often a job whose time is over begins again (%(default)s)",
    )
    parser.add_argument("--at-once", type=int, default=64, metavar="N", help="runs at once (%(default)s)")
    parser.add_argument(
        "--sbatch",
        nargs="+",
        type=_option,
        default=[],
        metavar="OPTION",
        help="options of sbatch, such as partition=gpu gres=gpu:1 exclusive",
    )
    parser.add_argument(
        "--cpu",
        nargs="+",
        type=_option,
        metavar="OPTION",
        help="those of the first and the last job, which train nothing, if they are others",
    )
    parser.add_argument(
        "--local",
        action="store_true",
        help="without Slurm: the same jobs on this machine, one at a time, on its CPU; to try it",
    )
    asked = parser.parse_args()
    with user_errors():
        if asked.hours <= 0 or asked.requeues < 0 or asked.at_once < 1:
            raise ConfigError("--hours and --at-once must be above 0, --requeues at least 0")
        folder = folder_of(asked.experiment).resolve()
        with chdir(folder):
            params, tasks = planned(1, asked.runs and {RUNS: asked.runs})
        runs = list(dict.fromkeys(asked.runs or params.runs))
        data = list(dict.fromkeys(params.run(name).data for name in runs) if asked.runs else params.datasets)
        if find_spec("submitit") is None:
            raise ConfigError('submitit is missing: pip install -c constraints.txt -e ".[slurm]"')
        (_try if asked.local else _submit)(
            folder,
            asked,
            [[*_FLOW, "--data", *data]],
            {name: [[*_FLOW, "--runs", name]] for name in runs},
            [] if asked.runs else list(rest(tasks, data)),
        )


def rest(tasks: Sequence[Task], data: Collection[str]) -> Iterator[list[str]]:
    """Commands that make what belongs to no run and is not needed for these data sets, each also where a target of it fails.

    What belongs to no item comes last, by a command of its own: the report is of what is there.
    """
    stages = [stage for task in tasks for stage in task.stages]
    made = needed_by({DATASETS: data}, stages)
    left = [stage for stage in stages if stage.block != RUNS and stage not in made and not stage.frozen]
    for of_items in (True, False):
        if targets := [stage.target for stage in left if (stage.item is not None) == of_items]:
            yield repro.command("-s", "--keep-going", *targets)[1:]


def _submit(
    folder: Path, asked: argparse.Namespace, first: _Commands, runs: Mapping[str, _Commands], last: _Commands
) -> None:
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

    from flows.job import Job

    try:
        executor = SlurmExecutor(_logs(folder), max_num_timeout=asked.requeues)
    except RuntimeError:
        raise ConfigError("there is no Slurm here (srun is not found); --local tries the jobs without it") from None
    train, others = dict(asked.sbatch), dict(asked.sbatch if asked.cpu is None else asked.cpu)

    def queued(options: Mapping[str, Any], *jobs: Job, after: str | None = None) -> str:
        """The number that Slurm gives them."""
        executor.update_parameters(
            job_name=f"itr-{folder.name}",
            time=math.ceil(asked.hours * 60),
            signal_delay_s=_NOTICE,
            array_parallelism=asked.at_once,
            # Since Slurm 22.05 srun does not know what sbatch was asked for.
            setup=['[ -z "$SLURM_CPUS_PER_TASK" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK'],
            additional_parameters={**options, "kill-on-invalid-dep": "yes", **({"dependency": after} if after else {})},
        )
        return executor.submit_array(jobs)[0].job_id.partition("_")[0]

    try:
        number = queued(others, Job(folder, *first))
        say(f"{number}: data sets")
        number = queued(train, *(Job(folder, *commands) for commands in runs.values()), after=f"afterok:{number}")
        say(f"{number}: {len(runs)} runs, {min(len(runs), asked.at_once)} at once, after the data sets")
        if last:
            number = queued(others, Job(folder, *last), after=f"afterany:{number}")
            say(f"{number}: ensembles, transfers and the report, after all runs, also if some fail")
    except FailedJobError as error:
        raise ITRError(f"sbatch refused the job: {error}") from None
    say(f"squeue shows them. What they print is in {os.path.relpath(_logs(folder))}.")


def _try(
    folder: Path, asked: argparse.Namespace, first: _Commands, runs: Mapping[str, _Commands], last: _Commands
) -> None:
    """The same here, one after the other. `ITRError` at the end where some failed."""
    from submitit import LocalExecutor

    from flows.job import Job

    executor = LocalExecutor(_logs(folder), max_num_timeout=asked.requeues)
    executor.update_parameters(timeout_min=asked.hours * 60, signal_delay_s=_NOTICE)
    failed: list[str] = []

    def works(name: str, commands: _Commands) -> bool:
        say(f"{name}: begins")
        job = executor.submit(Job(folder, *commands))
        wrong = job.exception() is not None
        say(f"{name}: {'failed' if wrong else 'done'}; all that it printed is in {os.path.relpath(job.paths.stdout)}")
        failed.extend([name] * wrong)
        return not wrong

    if works("data sets", first):
        for name, commands in runs.items():
            works(name, commands)
        if last:
            works("ensembles, transfers and the report", last)
    if failed:
        raise ITRError(f"failed: {', '.join(failed)}")


def _option(text: str) -> tuple[str, Any]:
    """As submitit has it: `partition=gpu`, or `exclusive`, which has no value."""
    name, equals, value = text.lstrip("-").partition("=")
    if name.replace("_", "-") in _OWN:
        raise argparse.ArgumentTypeError(f"{name} is set by this command, the time by --hours")
    return name, value if equals else True


def _logs(folder: Path) -> Path:
    return folder / FOLDER / "slurm"


if __name__ == "__main__":
    main()
