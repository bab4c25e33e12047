"""Published figures, and which of them may stand beside a run or an ensemble of this project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from ruamel.yaml import YAML

from itrcore.registry import WHOLE_SPLIT
from itrcore.runs.records import Evaluation
from itrcore.settings.datasets import Benchmark

FIGURES = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
Protocol = Literal["f30k", "coco_1k", "coco_5k"]
Kind = Literal["single", "ensemble", "reported"]
KINDS: dict[Kind, str] = {
    "single": "one model",
    "ensemble": "ensemble of two models",
    "reported": "one model or an ensemble, which is not said",
}
# What is evaluated decides the protocol: benchmark, images and captions of the test split.
PROTOCOLS: dict[tuple[Benchmark, int, int], Protocol] = {
    ("f30k", 1000, 5000): "f30k",
    ("coco", 1000, 5000): "coco_1k",
    ("coco", 5000, 25000): "coco_5k",
}
# Protocols beside the split as a whole that others publish figures for.
_NAMED: dict[str, Protocol] = {"coco_1k": "coco_1k"}
_ONE_FOLD = "1K figures are published as means of five folds, ours are of one"

Recall = Annotated[float, Field(ge=0.0, le=100.0)] | None
Rsum = Annotated[float, Field(ge=0.0, le=600.0)] | None


class Published(BaseModel):
    """One method with one text encoder: per protocol and kind the values of `FIGURES`, null where not published.

    features: what of images it was given, as `Measured.features` says it
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    source: Annotated[str, Field(alias="from", min_length=1)]
    features: Literal["bottom-up attention", "pixels"] = "bottom-up attention"
    f30k: dict[Kind, tuple[Recall, Recall, Recall, Recall, Recall, Recall, Rsum]] = {}
    coco_1k: dict[Kind, tuple[Recall, Recall, Recall, Recall, Recall, Recall, Rsum]] = {}
    coco_5k: dict[Kind, tuple[Recall, Recall, Recall, Recall, Recall, Recall, Rsum]] = {}


@dataclass(frozen=True)
class Comparison:
    """Published figures beside ours; what was not published is absent from both mappings."""

    kind: Kind
    source: str
    figures: dict[str, float]  # recalls in percent
    difference: dict[str, float]  # ours minus published


@cache
def published() -> Mapping[str, Published]:
    """Every published row by its family (method and text encoder); by two, joined by +, for an ensemble of two families."""
    text = (files("itrcore.report") / "published.yaml").read_text("utf-8")
    # Through JSON: strict JSON mode takes lists where Python's strict mode insists on tuples.
    value = json.dumps(YAML(typ="safe", pure=True).load(text))
    return TypeAdapter(dict[str, Published]).validate_json(value)


def beside(
    evaluation: Evaluation, benchmark: Benchmark | None, ours: Mapping[str, float], protocol: str = WHOLE_SPLIT
) -> Comparison | None:
    """What was published for the same family, protocol and number of models; `None` where nothing was.

    ours: values of `FIGURES` by this protocol, of one evaluation or means over seeds
    """
    if benchmark is None or evaluation.split != "test":
        return None
    size = (benchmark, evaluation.n_images, evaluation.n_captions)
    known = PROTOCOLS.get(size) if protocol == WHOLE_SPLIT else _NAMED.get(protocol)
    row = published().get(evaluation.family or "")
    # Beside figures on other features than its own a row would not compare methods alone.
    if known is None or row is None or row.features != evaluation.features:
        return None
    kinds: dict[Kind, tuple[float | None, ...]] = {**getattr(row, known)}
    # Published ensembles are of two models; where the source does not say, its figures may stand beside either.
    fitting: dict[int, Kind] = {1: "single", 2: "ensemble"}
    kind = fitting.get(len(evaluation.members) if evaluation.kind == "ensemble" else 1)
    if kind is not None and kind not in kinds:
        kind = "reported"
    if kind is None or kind not in kinds:
        return None
    figures = {key: value for key, value in zip(FIGURES, kinds[kind], strict=True) if value is not None}
    source = f"{row.source}; {_ONE_FOLD}" if (protocol, known) == (WHOLE_SPLIT, "coco_1k") else row.source
    return Comparison(kind, source, figures, {key: ours[key] - value for key, value in figures.items()})
