"""Checkpoints on grid features: the image encoder holds its ResNet, and has no MLP.

The released codes number a ResNet's parts as `base` (stem and three stages) and `top` (the last stage).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from torch import Tensor

from itrcore.errors import DataError
from itrcore.pretrained import backbone
from itrcore.pretrained.detector import released_name
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.rules import Rule
from itrcore.settings.encoders import GridSettings, ResNetShape

OURS, THEIRS = "regions.backbone.", "backbone."
COPY = "backbone.resnet."  # the same tensors once more, and a classifier's head
SOURCE = "backbone_source"  # the option that says which ResNet it is

_KINDS = ("convolution", "normalization")


def _rules() -> Iterable[Rule]:
    places = [f"stem.embedder.{kind}." for kind in _KINDS]
    for stage in range(4):
        layers = [f"layer.{number}" for number in range(3)] + ["shortcut"]
        places += [f"stages.{stage}.layers.#.{layer}.{kind}." for layer in layers for kind in _KINDS]
    for place in places:
        yield Rule(THEIRS + released_name(place + "x").removesuffix("x"), (OURS + place,))


RESNET: tuple[Rule, ...] = tuple(_rules())


def on_grid(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The image encoder's rules on grid features, from those on regions."""
    inner = (replace(rule, released=f"image_encoder.{rule.released}") for rule in rules)
    return (*RESNET, *(rule for rule in inner if not rule.released.startswith("image_encoder.mlp.")))


def architecture(checkpoint: Checkpoint, found: Mapping[str, Tensor], grid: GridSettings) -> dict[str, Any]:
    """The ResNet as the weights (under our names) have it, for `backbone.build`.

    `DataError` where the checkpoint says that it has another ResNet than the settings: strides are in no weight.
    """
    theirs = checkpoint.options.get(SOURCE, grid.backbone)
    if theirs != grid.backbone:
        raise DataError.at(
            checkpoint.path,
            f"its {SOURCE} is {theirs}",
            f"{grid.backbone}, as the method's model.grid.backbone",
            do="Lay a profile with its grid.backbone over the method, and name that with --profile.",
        )
    return backbone.random(grid, shape(found))


def shape(found: Mapping[str, Tensor]) -> ResNetShape:
    """The sizes of a ResNet; what is missing counts as the least, so that `weights` names it."""
    widths, depths = [], []
    for stage in range(4):
        start = f"{OURS}stages.{stage}.layers."
        widths.append(_rows(found, f"{start}0.layer.2.convolution.weight") or 4)
        depths.append(next(n for n in count() if f"{start}{n}.layer.2.convolution.weight" not in found) or 1)
    return ResNetShape(
        embedding=_rows(found, f"{OURS}stem.embedder.convolution.weight") or 1, widths=widths, depths=depths
    )


def _rows(found: Mapping[str, Tensor], name: str) -> int | None:
    return len(found[name]) if name in found and found[name].dim() else None
