"""Reference rows: figures that others published for models that are not ours, for the end of a protocol's table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from ruamel.yaml import YAML

from itrcore.protocols import contract
from itrcore.registry import PROTOCOLS as NAMED
from itrcore.registry import WHOLE_SPLIT
from itrcore.report.published_figures import PROTOCOLS, Protocol
from itrcore.report.results import Results, not_real

HEADING = "Published by others, not measured here"

_Value = Annotated[float, Field(ge=0.0, le=600.0)] | None


class Block(BaseModel):
    """What one source has by one or more protocols: name of a model → its values of `figures`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    source: Annotated[str, Field(alias="from", min_length=1)]
    by: Annotated[tuple[str, ...], Field(min_length=1)]
    figures: Annotated[tuple[str, ...], Field(min_length=1)]
    rows: Annotated[dict[str, tuple[_Value, ...]], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> Block:
        for name in self.by:
            whole = name in get_args(Protocol)
            if not whole and name not in NAMED:
                raise ValueError(f"{name} is no protocol")
            known = {figure.key for figure in contract.protocol(WHOLE_SPLIT if whole else name).figures}
            if unknown := set(self.figures) - known:
                raise ValueError(f"{name} has no {', '.join(sorted(unknown))}")
        for name, values in self.rows.items():
            if len(values) != len(self.figures):
                raise ValueError(f"{name} has {len(values)} values for {len(self.figures)} figures")
        return self


@dataclass(frozen=True)
class Reference:
    """A model that others measured: its figures by key, without those that were not published."""

    name: str
    source: str
    figures: dict[str, float]


@cache
def published_by_others() -> tuple[Block, ...]:
    """Every block of references.yaml."""
    text = (files("itrcore.report") / "references.yaml").read_text("utf-8")
    # Through JSON: strict JSON mode takes lists where Python's strict mode insists on tuples.
    value = json.dumps(YAML(typ="safe", pure=True).load(text))
    return tuple(TypeAdapter(list[Block]).validate_json(value))


def references(results: Results, data: str, protocol: str = WHOLE_SPLIT) -> list[Reference]:
    """The reference rows of a data set's table, best first; none where it is no benchmark, or its features are not real.

    On features that are made up no figure of a real model says how far a method has come.
    """
    first = results.of(data)[0].evaluation
    benchmark = results.benchmarks.get(data)
    if benchmark is None or first.split != "test" or not_real(results.of(data)):
        return []
    by: str | None = protocol
    if protocol == WHOLE_SPLIT:
        by = PROTOCOLS.get((benchmark, first.n_images, first.n_captions))
        if by == "coco_1k":  # as such the one fold of 1,000 images; figures are published as means of five
            return []
    found = [
        Reference(
            name,
            block.source,
            {key: value for key, value in zip(block.figures, values, strict=True) if value is not None},
        )
        for block in published_by_others()
        if by in block.by
        for name, values in block.rows.items()
    ]
    return sorted(found, key=lambda each: -(each.figures.get("rsum") or sum(each.figures.values())))
