"""The tasks of the whole benchmark, from DVC's graph, and what each of their stages takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.scale.schedule import Data, Work
from benchmarks.scale.steps import CARDS, rates
from benchmarks.untrained import ROOT
from flows.graph import DATASETS, RUNS, Task
from flows.plan import planned
from itrcore import repro
from itrcore.costs.counts import SplitCounts, counts
from itrcore.costs.disk import scores
from itrcore.costs.rates import Rates, steps_of, times
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params

SEEDS = 3
_REGIONS, _WIDTH = 36, 2048

# Measured on two cores of a server (AMD EPYC) with other work on them, November 2026. Where from:
_STAGE = 3.0  # a stage that only reads and writes records, most of it Python's start: benchmarks.records
_IMAGE = 25.0 / 31_014  # docs/data.md, Flickr30K step by step: `shards`
_VOCAB, _CONCEPTS = 12.0 / 155_070, 180.0 / 145_000  # of a caption; docs/data.md: with sentence splitting; by nltk
_FIRST, _AGAIN = (
    161.0 / 118_287,
    16.0,
)  # docs/training.md: a machine's first look at an image; a training's start after that
_JUDGED = {
    "f30k": 4.4,
    "coco": 34.8,
}  # docs/real-truth.md, one run by all protocols of COCO; Flickr30K: a 25th of its pairs, and a start
_ENSEMBLE = {"f30k": 4.0, "coco": 25.2}  # the same: an ensemble
_ROW = 36.8 / 5  # the same: the report, for each row
_STORED = 3e9 / 6.3  # bytes a second that DVC hashes and copies into its cache: 3 GB in 6.3 s


@dataclass(frozen=True)
class Training:
    """A run on one GPU: seconds of a step, and of all steps, evaluations on dev and the one on test.

    operations: of a step; number: of steps; how: where the time of a step is from
    """

    step: float
    operations: float
    number: int
    steps: float
    dev: float
    test: float
    how: str

    @property
    def seconds(self) -> float:
        """Of all of it."""
        return self.steps + self.dev + self.test


@dataclass(frozen=True)
class DVC:
    """Seconds of `dvc repro -s` for a task, and for each of its targets."""

    task: float
    target: float


def dvc_takes() -> DVC:
    """Measured now: one target and eleven, which do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        _dvc_project(Path(folder))
        names = [f"s{number}" for number in range(12)]
        stages = {name: {"cmd": "true"} for name in names}
        with open(Path(folder) / "dvc.yaml", "w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump({"stages": stages}, file)
        seconds = []
        for targets in (names[:1], names[1:]):
            started = time.perf_counter()
            environment = {**repro.environment(), "DVC_SITE_CACHE_DIR": folder}
            subprocess.run(repro.command("-s", *targets), cwd=folder, env=environment, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
    target = max(0.0, (seconds[1] - seconds[0]) / 10)
    return DVC(seconds[0] - target, target)


def whole(
    card: str, dvc: DVC, measured: Mapping[str, float], tell: Callable[[str], None]
) -> tuple[list[Work], dict[str, Training]]:
    """Every work of both experiments; and a training of each data set and method.

    card: of `CARDS`; measured: steps a second of recipes, where they were measured
    """
    works: list[Work] = []
    trainings: dict[str, Training] = {}
    known: dict[str, tuple[Rates, float]] = {}  # what decides a step: variants differ in lengths and rates
    for name in ("f30k", "coco"):
        params, tasks = experiment(name)
        counted = counts(name, params.datasets[name])
        assert counted is not None
        images = sum(split.images for split in counted.values())
        shards = Data(name, 2.0 * _REGIONS * _WIDTH * images, _FIRST * images)
        of: dict[Task, Work] = {}
        for task in tasks:
            first, data, made = task.stages[0], shards, 0.0
            seconds = dvc.task + sum(dvc.target + _stage(stage.name, name, counted) for stage in task.stages)
            if first.block == RUNS:
                method = params.run(str(first.item)).method
                settings = params.method_of(str(first.item))
                key = str((settings.model, settings.loss, settings.recipe.batch_size, settings.recipe.optimiser))
                if key not in known:
                    tell(f"operations of {method}")
                    known[key] = rates(settings, CARDS[card])
                training = _training(settings, *known[key], counted, params, measured.get(method))
                trainings[f"{name} {method}"] = training
                made = 4.0 * known[key][0].parameters + scores(settings, counted, params)
                seconds += training.seconds + made / _STORED
            elif first.name == "report":
                seconds += _ROW * (len(params.runs) + len(params.ensembles))
                data, made = None, sum(work.makes for work in of.values())  # it copies all runs to MLflow
            elif first.block == DATASETS:
                seconds += shards.seconds
            elif first.block is None:
                data = None
            needs = [of[before] for before in (*task.needs, *task.after)]
            of[task] = Work(f"{name}: {task.title}", seconds if task.limited else 0.0, needs, data, made)
            works.append(of[task])
    return works, trainings


def experiment(name: str) -> tuple[Params, list[Task]]:
    """As experiments/ has it, but each method with `SEEDS` seeds, and the tasks of the flow."""
    yaml = YAML(typ="safe", pure=True)
    values: dict[str, Any] = yaml.load((ROOT / "experiments" / name / "params.yaml").read_text("utf-8"))
    first = [run for run in values["runs"].values() if run["seed"] == 1]
    more = [{**run, "seed": seed} for run in first for seed in range(1, SEEDS + 1)]
    values["runs"] = {f"{name}-{run['method']}-{run['seed']}": run for run in more}
    values["root"] = "."
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        _dvc_project(Path(folder))
        for each in ("itrcore", "stages", "recipes", "nltk.yaml"):
            os.symlink(ROOT / each, each)
        shutil.copyfile(ROOT / "experiments" / name / "dvc.yaml", "dvc.yaml")
        Path("params.yaml").write_text(json.dumps(values), "utf-8")  # which is YAML too
        return planned(1)


def _dvc_project(folder: Path) -> None:
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\nno_scm = true\nanalytics = false\n", "utf-8")


def _training(
    settings: MethodSettings,
    estimated: Rates,
    operations: float,
    counted: Mapping[str, SplitCounts],
    params: Params,
    steps_per_s: float | None,
) -> Training:
    step = estimated.step if steps_per_s is None else 1 / steps_per_s
    taken = times(replace(estimated, step=step), settings, counted, params.training.selection.captions)
    number = steps_of(settings, counted["train"].captions)
    how = "estimated" if steps_per_s is None else "measured"
    return Training(step, operations, number, taken.steps, taken.dev, taken.test, how)


def _stage(stage: str, data: str, counted: Mapping[str, SplitCounts]) -> float:
    """Seconds, without DVC's and without a training's."""
    images = sum(split.images for split in counted.values())
    captions = sum(split.captions for split in counted.values())
    more = {
        "shards": _IMAGE * images,
        "vocab": _VOCAB * captions,
        "concepts": _CONCEPTS * captions,
        "train": _AGAIN,
        "judge": _JUDGED[data],
        "ensemble": _ENSEMBLE[data],
    }
    return _STAGE + more.get(stage, 0.0)
