"""Ensembles: means of the similarities of several runs, judged like a run's. No matrix of theirs is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from itrcore import layout
from itrcore.data import captions
from itrcore.errors import DataError
from itrcore.evaluation.mixing import Dev, mixed
from itrcore.files import replacing
from itrcore.protocols.contract import Judged
from itrcore.protocols.results import write_results
from itrcore.ranking import metrics
from itrcore.runs.folder import SCORES, SPLIT, read
from itrcore.runs.pairs import Pairs, open_pairs
from itrcore.runs.records import Evaluation, Measured, Metrics, Mixing, Scores
from itrcore.runs.scored import DEV, Scored, open_scores
from itrcore.settings.datasets import DatasetSettings
from itrcore.settings.params import Params
from itrcore.settings.runs import Scale, Weights

# What decides an ensemble's scores, and what its results say of each member.
_RECORDED = {
    "files", "family", "features", "selected_on", "parameters", "data_digest", "device", "code_version",
}  # fmt: skip


def scores_of(data: str, runs: Sequence[str], what: str) -> dict[str, Scores]:
    """The records of evaluated runs on a data set, by run. what: that needs them, for messages

    `DataError` where one is missing, or they are of different states of the data set.
    """
    scores = {run: read(layout.evaluation(data, run) / SCORES, Scores, f"evaluate@{run}") for run in runs}
    if len({(member.test_digest, member.dev_digest) for member in scores.values()}) > 1:
        raise DataError(f"{what}: its runs were evaluated on different states of {data}; run dvc repro to renew them")
    return scores


def members(params: Params, name: str) -> dict[str, Scores]:
    """The records of an ensemble's members, by run. `DataError` as for `scores_of`."""
    settings = params.ensemble(name)
    return scores_of(settings.data, settings.runs, f"ensembles.{name}")


def recorded(scores: dict[str, Scores]) -> dict[str, Any]:
    """What decides an ensemble of these members, as JSON values."""
    return {run: member.model_dump(mode="json", include=_RECORDED) for run, member in scores.items()}


def open_split_of(data: str, split: str, scores: dict[str, Scores]) -> dict[str, Scored]:
    """The stored scores of runs on a split. `DataError` where one is not what its run's evaluation.json describes."""
    return {
        run: open_scores(layout.evaluation(data, run), split, member.files, f"evaluate@{run}")
        for run, member in scores.items()
    }


def dev_of(data: str, scores: dict[str, Scores], scale: Scale) -> Dev:
    """What dev says of ensembles of these runs. `DataError` as for `open_split_of`, and where they differ in shape."""
    found = open_split_of(data, DEV, scores)
    shapes = {member.shape for member in found.values()}
    images = captions.read(layout.captions(data), DEV)
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    if len(shapes) > 1 or (size := shapes.pop())[1] > len(image_of):
        raise DataError(f"{data}: its runs were evaluated on different parts of dev; run dvc repro to renew them")
    return Dev.of(found, image_of[: size[1]], scale)


def evaluate_ensemble(params: Params, name: str) -> Evaluation:
    """Mix the stored similarities of its members, judge the mean, and write the same results as for a run.

    `DataError` where a member's scores are missing, damaged or of another state of the data set.
    """
    settings = params.ensemble(name)
    data, scores = settings.data, members(params, name)
    weights, dev_rsum = dev_of(data, scores, settings.scale).weights(settings.runs, settings.weights)
    mixing = Mixing(weights=weights, chosen_on=DEV if settings.weights == "dev" else None, scale=settings.scale)
    measured = _measured(name, list(scores.values()), mixing, dev_rsum)
    dataset = params.dataset(data)
    mean = judged(name, data, scores, mixing, dataset)
    with replacing(layout.result(data, name)) as results:
        return write_results(results, measured, None, None, mean, dataset.protocols, params.evaluation)


def judged(
    name: str, data: str, scores: dict[str, Scores], mixing: Mixing, dataset: DatasetSettings | None = None
) -> Judged:
    """The mixed similarities of members on test, for protocols; of a data set that is given also what else they read.

    Scores of pairs of captions cannot be mixed by a scale that is taken for each query.
    """
    found = open_split_of(data, SPLIT, scores)
    of_images, of_captions = mixed(list(found.values()), mixing.weights, mixing.scale, list(found))
    mean = Judged(name, of_images, captions.read(layout.captions(data), SPLIT), of_captions=of_captions)
    if dataset is None:
        return mean
    pairs = None
    if dataset.negatives is not None and mixing.scale == "none":
        of_members = [
            open_pairs(layout.evaluation(data, run), SPLIT, member.files, f"evaluate@{run}")
            for run, member in scores.items()
        ]
        pairs = Pairs.mixed(of_members, mixing.weights)
    return replace(mean, cxc=dataset.ratings, pairs=pairs)


def _measured(name: str, scores: Sequence[Scores], mixing: Mixing, dev_rsum: float) -> Measured:
    first = scores[0]
    return Measured(
        kind="ensemble",
        name=name,
        data=first.data,
        family="+".join(sorted({str(member.family) for member in scores})),
        members=tuple(member.name for member in scores),
        mixing=mixing,
        features=", ".join(dict.fromkeys(member.features for member in scores)),
        selected_on=", ".join(sorted({member.selected_on for member in scores})),
        dev_rsum=dev_rsum,
        parameters=sum(member.parameters for member in scores),
        device=first.device,
        code_version=", ".join(sorted({member.code_version for member in scores})),
        data_digest=first.data_digest,
        files={},
    )


@dataclass(frozen=True)
class Found:
    """An ensemble that a search on dev has found, or a single run.

    features: as `Measured` has them; metrics: on test, which had no part in the choice
    """

    runs: tuple[str, ...]
    weights: tuple[float, ...]
    dev_rsum: float
    features: str
    metrics: Metrics


def search(params: Params, data: str, size: int, weights: Weights, scale: Scale, top: int) -> list[Found]:
    """The best ensembles of `size` runs on a data set by rsum on dev, each then measured once on test; first the best single run.

    Among all runs of params.yaml that are evaluated. `DataError` where these are fewer than `size`, and as for `dev_of`.
    """
    evaluated = [
        run
        for run, each in params.runs.items()
        if each.data == data and (layout.evaluation(data, run) / SCORES).exists()
    ]
    if len(evaluated) < size:
        raise DataError(f"{data}: found {len(evaluated)} evaluated runs; expected at least {size}. Run: dvc repro")
    scores = scores_of(data, evaluated, "itr ensemble")
    dev = dev_of(data, scores, scale)
    chosen = [*dev.search(1, "equal")[:1], *dev.search(size, weights)[:top]]
    found = []
    for reached, runs, shares in chosen:
        mixing = Mixing(weights=shares, chosen_on=DEV if weights == "dev" else None, scale=scale)
        mean = judged("+".join(runs), data, {run: scores[run] for run in runs}, mixing)
        features = ", ".join(dict.fromkeys(scores[run].features for run in runs))
        found.append(Found(runs, shares, reached, features, Metrics(**metrics(mean.ranks))))
    return found
