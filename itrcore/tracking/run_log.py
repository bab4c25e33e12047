"""What is written into one MLflow run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from time import time
from typing import Any

from itrcore.files import sha256
from itrcore.runs.folder import METRICS, RUN, read
from itrcore.runs.records import Evaluation, Measured, Point, Run, RunDescription

# Tags that say which result and which evaluation a run holds.
RESULT, EVALUATION = "itr.result", "itr.evaluation"
COLLAPSED = "collapsed"  # a tag too: true or false
# What an evaluation says of its training; no two trainings take equally long to the last digit.
_TRAINING = ("train_seconds", "dev_rsum", "seed", "checkpoint", "parameters")
_DIGEST = 12  # characters; MLflow takes 36 at most, and the report shows as many


class RunLog:
    """One MLflow run, open for writing."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self.run_id = client, run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters, as text."""
        from mlflow.entities import Param

        self._client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in values.items()])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Metrics of one step."""
        from mlflow.entities import Metric

        now = int(time() * 1000)
        self._client.log_batch(self.run_id, metrics=[Metric(key, value, now, step) for key, value in values.items()])

    def dataset(self, run: RunDescription) -> None:
        """The data set it is trained on, for MLflow's own column; its digest is the first part of `data_digest`."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        digest = run.data_digest[:_DIGEST]
        dataset = Dataset(run.data, digest, "local", json.dumps({"uri": f"data/{run.data}/shards"}))
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        try:
            self._client.log_inputs(self.run_id, inputs)
        except MlflowException:  # another training added this data set at the same moment; now MLflow finds it
            self._client.log_inputs(self.run_id, inputs)

    def figures(self, values: Mapping[str, float]) -> None:
        """Metrics of the whole run. What is measured again stands at the next step.

        MLflow takes no value back, and of several at one step it shows the one with the latest time, if the clock was behind
        an old one. Of several steps it shows the highest.
        """
        held = self._client.get_run(self.run_id).data.metrics
        steps: dict[int, dict[str, float]] = {}
        for key, value in values.items():
            if held.get(key) != value:
                history = self._client.get_metric_history(self.run_id, key) if key in held else []
                steps.setdefault(max((metric.step + 1 for metric in history), default=0), {})[key] = value
        for step, group in steps.items():
            self.metrics(group, step)

    def versions(self, described: RunDescription | Measured) -> None:
        """Tags of the data and the code that the run comes from; what decided it stands in its run.json."""
        for key in ("data_digest", "code_version", "features"):
            self._client.set_tag(self.run_id, key, getattr(described, key))

    def evaluations(self, points: Sequence[Point]) -> None:
        """All that the evaluations say that are not in the run yet.

        MLflow's steps are whole numbers: they count evaluations, of which a method may have several an epoch. A tag says
        whether the training has collapsed by the last one.
        """
        held = {metric.step for metric in self._client.get_metric_history(self.run_id, "dev/rsum")}
        for point in points:
            if point.evaluation not in held:
                self.metrics(_values(point), point.evaluation)
        if points and points[-1].collapse is not None:
            self._client.set_tag(self.run_id, COLLAPSED, str(points[-1].collapsed).lower())

    def contradicts(self, points: Sequence[Point]) -> bool:
        """Whether it holds an evaluation otherwise than these points say, or twice."""
        wanted = {(key, point.evaluation): value for point in points for key, value in _values(point).items()}
        held = [
            ((key, metric.step), metric.value)
            for key in {key for key, _ in wanted}
            for metric in self._client.get_metric_history(self.run_id, key)
        ]
        return len(dict(held)) < len(held) or any(wanted.get(key) != value for key, value in held)

    def training(self, run: Run, points: Sequence[Point], folder: Path) -> None:
        """A finished training: what is missing of its evaluations, its checkpoint, and last that it is whole."""
        self.evaluations(points)
        figures = {"time/train_seconds": run.train_seconds, "train/best_epoch": run.best_epoch}
        figures |= {f"train/best_{name}": value for name, value in run.chosen.items()}
        self.figures({key: value for key, value in figures.items() if value is not None})
        if run.checkpoint is not None:
            self._client.set_tag(self.run_id, "checkpoint", f"{run.checkpoint.path} {run.checkpoint.sha256}")
            self._client.set_tag(self.run_id, "vocabulary", run.checkpoint.vocabulary)
        self._client.log_artifacts(self.run_id, str(folder), "checkpoint")
        self.end_with(sha256(folder / RUN))

    def judged(self, found: Evaluation) -> None:
        """Parameters of an ensemble or a transfer, in the columns that trainings have too; its members, or whose weights it has."""
        if found.trained_on is not None:
            shown = ("data", "method", "seed", "profile", "parameters", "trained_on", "weights_of")
            values = {key: getattr(found, key) for key in shown}
            self.params({key: value for key, value in values.items() if value is not None})
            return
        members = {"members": ", ".join(found.members), "n_members": len(found.members)}
        if (mixing := found.mixing) is not None:
            weights = ", ".join(f"{weight:g}" for weight in mixing.weights) if mixing.chosen_on else "equal"
            members |= {"weights": weights, "scale": mixing.scale}
        self.params({"data": found.data, "method": "ensemble", "parameters": found.parameters, **members})

    def evaluation(self, folder: Path) -> None:
        """An evaluation's metrics and files, unless the run holds them."""
        result = read(folder / METRICS, Evaluation, f"judge@{folder.name}")
        done = sha256(folder / METRICS)
        if self._client.get_run(self.run_id).data.tags.get(EVALUATION) == done:
            self.missing_files(folder, "evaluation")
            return
        values = {f"{result.split}/{key}": value for key, value in result.metrics.model_dump().items()}
        values |= result.by_protocol
        times = ("encode_image_ms", "encode_caption_ms", "score_image_ms", "score_caption_ms")
        taken = {f"time/{key}": getattr(result, key) for key in times}
        if result.efficiency is not None:
            taken |= {f"time/{key}": value for key, value in result.efficiency.figures.items() if key.endswith("_ms")}
        self.figures(values | {key: value for key, value in taken.items() if value is not None})
        if result.members:
            self._client.set_tag(self.run_id, "members", ", ".join(result.members))
        self.versions(result)
        self._client.log_artifacts(self.run_id, str(folder), "evaluation")
        self._client.set_tag(self.run_id, EVALUATION, done)

    def missing_files(self, folder: Path, inside: str) -> None:
        """Log what the run does not hold of a folder's files: its own may have been left behind or lost."""
        for parent, _, names in os.walk(folder):
            target = str(PurePosixPath(inside, Path(parent).relative_to(folder).as_posix()))
            sizes = {Path(item.path).name: item.file_size for item in self._client.list_artifacts(self.run_id, target)}
            for path in (Path(parent, name) for name in names):
                if path.name not in sizes or sizes[path.name] not in (None, path.stat().st_size):
                    self._client.log_artifact(self.run_id, str(path), target)

    def said(self, log: Path | None) -> None:
        """Hold the file of all that the training said, as it is now."""
        if log is not None and log.exists():
            self._client.log_artifact(self.run_id, str(log))

    def end_with(self, result: str) -> None:
        """End the run: it holds the whole of this result."""
        self._client.set_tag(self.run_id, RESULT, result)
        self._client.set_terminated(self.run_id)

    def fail(self, log: Path | None = None) -> None:
        """End the run: its training failed. log: as for `said`"""
        self.said(log)
        self._client.set_terminated(self.run_id, "FAILED")


def _values(point: Point) -> dict[str, float]:
    values = {f"loss/{key}": value for key, value in point.losses.items()}
    values |= {f"dev/{key}": value for key, value in point.dev.model_dump().items()}
    if point.collapse is not None:
        signs = point.collapse.model_dump(exclude={"collapsed"}, exclude_none=True)
        values |= {f"collapse/{key}": value for key, value in signs.items()}
    values |= {f"inner/{key}": value for key, value in point.inner.items()}
    values |= {f"chosen/{key}": value for key, value in point.chosen.items()}
    return values | {f"train/{key}": getattr(point, key) for key in ("epoch", "learning_rate", "pairs_per_second")}


def is_evaluated(run_folder: Path, results: Path) -> bool:
    """Whether `results` are of the training or import in `run_folder`, not of an earlier one. `DataError` where one is damaged."""
    run = read(run_folder / RUN, Run, f"train@{run_folder.name}")
    found = read(results / METRICS, Evaluation, f"judge@{results.name}")
    return all(getattr(run, key) == getattr(found, key) for key in _TRAINING)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `model.text.dropout: 0.1`, as MLflow wants parameters."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
