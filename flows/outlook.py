"""What a flow is going to do, and about how long that takes, where it was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from graphlib import TopologicalSorter

from flows.graph import RUNS, Stage, Task
from flows.targets import changed, run
from itrcore import layout, repro
from itrcore.errors import DataError
from itrcore.progress import clock
from itrcore.runs.folder import RUN, read
from itrcore.runs.records import Run
from itrcore.settings.params import Params

_RECORDS = (
    "code",
    "inputs",
    "transfer_inputs",
)  # stages that take a second each, and after which DVC knows what else is out of date
_MEMBERS = "members"  # runs after any run of its data set: which of them an ensemble has, DVC does not know
_AS_LONG = ("epochs", "batch_size", "evaluations")  # numbers of a recipe that decide how long a training takes


def outlook(params: Params, tasks: Sequence[Task], jobs: int, takes: str | None, log: Callable[[str], None]) -> str:
    """One or two sentences. The records of what decides results are made first, if something may depend on them.

    takes: how long all of it takes as shipped, in words; log: called with each line that DVC prints
    """
    stages = [stage for task in tasks for stage in task.stages]
    stale, sure = _out_of_date(stages, log)

    def items(block: str, *names: str) -> set[str]:
        """Of a block of params.yaml; names: of stages, or all but records."""
        return {
            str(stage.item)
            for stage in stale
            if stage.block == block and (stage.name in names if names else stage.name not in (*_RECORDS, _MEMBERS))
        }

    trained, scored, judged = items(RUNS, "train"), items(RUNS, "train", "evaluate"), items(RUNS)
    planned = {stage.item for stage in stages if stage.block == "ensembles"}
    ensembles = items("ensembles") | {
        name for name, ensemble in params.ensembles.items() if name in planned and scored.intersection(ensemble.runs)
    }
    data = items("datasets")
    counts = (
        (len(items("downloads")), "download", ""),
        (len(data), "data set", ""),
        (len(trained), "run", " to train"),
        (len(judged - trained), "run", " to evaluate"),
        (len(ensembles), "ensemble", ""),
        (len(items("transfers")), "transfer", ""),
    )
    parts = [f"{number} {what}{'s' if number > 1 else ''}{more}" for number, what, more in counts if number]
    if not stale:
        return "Everything is up to date."
    named = ", ".join(parts or dict.fromkeys(stage.target for stage in stale))
    if not sure:
        return f"At most {named} are out of date: DVC does not say which."
    return f"Out of date: {named}.{_time(params, trained, data, jobs, takes)}"


def _time(params: Params, trained: Collection[str], stale: Collection[str], jobs: int, takes: str | None) -> str:
    """About how long, where it was measured. trained: runs; stale: data sets that are made anew"""
    seconds = [None if params.run(name).data in stale else _earlier(params, name) for name in trained]
    known = [value for value in seconds if value is not None]
    if known and len(known) == len(seconds):
        total = max(max(known), sum(known) / jobs)
        return f" Training takes about {clock(total)}, as it did the last time."
    return f" As shipped, this takes {takes}." if takes and not known and set(trained) == set(params.runs) else ""


def _earlier(params: Params, name: str) -> float | None:
    """Seconds of an earlier training of this run, of as large a model in as many steps."""
    try:
        record, settings = read(layout.run(params.run(name).data, name) / RUN, Run, "train"), params.method_of(name)
    except DataError:
        return None
    same = all(getattr(record.settings.recipe, key) == getattr(settings.recipe, key) for key in _AS_LONG)
    return record.train_seconds if same and record.settings.model == settings.model else None


def _out_of_date(stages: Sequence[Stage], log: Callable[[str], None]) -> tuple[list[Stage], bool]:
    """The stages that will run, as far as can be known before, in the order in which they do; whether DVC said so."""
    now = changed()
    if now is None:
        return list(stages), False
    known = {stage.target for stage in _with_dependents(stages, now, passing=_RECORDS)}
    records = [
        stage.target
        for stage in _with_dependents(stages, now)
        if stage.name in _RECORDS and not known.intersection(stage.reads) - {"code"}
    ]
    if records and any(stage.target not in known for stage in stages if stage.name not in _RECORDS):
        run(repro.command("-s", *records), log)  # what is wrong here, the flow itself will say
        now = changed() or {}
    return _with_dependents(stages, now), True


def _with_dependents(stages: Sequence[Stage], targets: Collection[str], passing: Collection[str] = ()) -> list[Stage]:
    """These targets and all that read what they make. passing: names of stages that are not among them, nor what reads these"""
    by_target = {stage.target: stage for stage in stages}
    order = TopologicalSorter({stage.target: [read for read in stage.reads if read in by_target] for stage in stages})
    found: dict[str, Stage] = {}
    for target in order.static_order():
        stage = by_target[target]
        above = any(found[read].name != _MEMBERS for read in stage.reads if read in found)
        if not stage.frozen and stage.name not in passing and (target in targets or above):
            found[target] = stage
    return list(found.values())
