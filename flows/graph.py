"""The tasks of an experiment, read from DVC's graph: which stages run together, and which tasks wait for which."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from dvc.exceptions import DvcException
from dvc.parsing import split_group_name
from dvc.repo import Repo

from itrcore.errors import ConfigError

RUNS, DATASETS, DOWNLOADS = "runs", "datasets", "downloads"
# What tasks of several stages are called, by the block of params.yaml that has their item.
_TITLES = {DATASETS: "prepare {}", RUNS: "{}", "ensembles": "ensemble {}", "transfers": "transfer {}"}


@dataclass(frozen=True)
class Stage:
    """A stage of DVC.

    target: its name for `dvc repro`, such as `train@scenes-esa_bert-1`; name, item: what stands before and after the @
    block: the block of params.yaml that its `foreach` goes through, such as `runs`
    reads: targets of the stages whose outputs it reads
    frozen: DVC never runs it, even where what it reads has changed; it checks that the outputs are there
    """

    target: str
    name: str
    item: str | None = None
    block: str | None = None
    reads: tuple[str, ...] = ()
    frozen: bool = False


@dataclass(eq=False)
class Task:
    """Stages that run one after the other in one process of DVC.

    needs: tasks that must succeed before it; after: tasks that must end before it, even by failing
    """

    stages: list[Stage]
    needs: list[Task]
    after: list[Task]

    def __post_init__(self) -> None:
        self.done_before: set[Task] = {*self.needs}.union(*(task.done_before for task in self.needs))
        self.limited = (
            self.stages[0].block != DOWNLOADS
        )  # whether it computes: such tasks need a slot, and slots are few

    @property
    def title(self) -> str:
        """Its name for people: `prepare scenes`, the run's name, `ensemble both`, `fetch f30k`, `code, nltk`."""
        names = ", ".join(stage.name for stage in self.stages)
        template = _TITLES.get(self.stages[0].block or "") if len(self.stages) > 1 else None
        return (template or f"{names} {{}}").format(self.stages[0].item or "").strip()

    @property
    def targets(self) -> list[str]:
        """Of its stages, in their order."""
        return [stage.target for stage in self.stages]


def read_stages() -> list[Stage]:
    """The stages of the DVC project in the working directory. `ConfigError` where DVC cannot read them."""
    try:
        with Repo(_wait_for_lock=True) as repo, repo.lock:  # another flow may be writing dvc.lock
            graph = repo.index.graph  # its edges run from a stage to those that it reads
            return [_stage(stage, [read.addressing for read in graph.successors(stage)]) for stage in graph]
    except DvcException as error:
        raise ConfigError(f"DVC cannot read the stages: {error}") from error


def _stage(stage: Any, reads: Sequence[str]) -> Stage:
    if not hasattr(stage, "name"):  # a .dvc file
        return Stage(stage.addressing, stage.addressing, None, None, tuple(reads), stage.frozen)
    name, item = split_group_name(stage.name)
    foreach = getattr(stage.dvcfile.resolver.definitions[name], "foreach_data", None)
    block = None if foreach is None else str(foreach).strip("${}")
    return Stage(stage.addressing, name, item, block, tuple(reads), stage.frozen)


def needed_by(only: Mapping[str, Collection[str]], stages: Sequence[Stage]) -> list[Stage]:
    """The stages of these items, and all that they depend on. Without runs, no stage that depends on one.

    only: names in blocks of params.yaml, such as runs
    """
    by_target = {stage.target: stage for stage in stages}
    needed = set[str]()
    for stage in stages:
        if stage.item in only.get(stage.block or "", ()):
            above = _with_all_above(stage, by_target)
            if RUNS in only or all(by_target[target].block != RUNS for target in above):
                needed |= above
    return [stage for stage in stages if stage.target in needed]


def _with_all_above(stage: Stage, by_target: Mapping[str, Stage]) -> set[str]:
    """Targets of a stage and of all that it depends on."""
    found = {stage.target}
    unseen = [stage]
    while unseen:
        stage = unseen.pop()
        reads = set() if stage.frozen else set(stage.reads) - found
        found |= reads
        unseen += [by_target[target] for target in reads]
    return found


def grouped(stages: Sequence[Stage]) -> list[Task]:
    """Tasks that hold each stage once; a task comes after all that it waits for.

    Starting DVC takes a second or two. So a stage joins the task of a stage that it reads, if both have the same item or
    none, and if all else that it reads is done before that task begins: the task then waits for nothing new. No circle can
    arise, as a task waits only for tasks that were made before it.
    """
    by_target = {stage.target: stage for stage in stages}
    reads = {stage.target: [target for target in stage.reads if target in by_target] for stage in stages}
    tasks: list[Task] = []
    task_of: dict[str, Task] = {}
    for target in TopologicalSorter(reads).static_order():
        stage = by_target[target]
        read = list(dict.fromkeys(task_of[above] for above in reads[target]))
        task = None if stage.frozen else next((task for task in read if _joins(stage, task, read)), None)
        if task is None:
            task = Task([stage], [], read) if stage.frozen else Task([stage], read, [])
            tasks.append(task)
        else:
            task.stages.append(stage)
        task_of[target] = task
    return tasks


def _joins(stage: Stage, task: Task, read: Sequence[Task]) -> bool:
    first = task.stages[0]
    return (first.block, first.item) == (stage.block, stage.item) and task.done_before.issuperset(set(read) - {task})
