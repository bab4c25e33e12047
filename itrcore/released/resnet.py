"""Grid features: the ResNet of an image encoder by its released names, and its sizes by its weights.

They number a ResNet's parts as `base` (stem and three stages) and `top` (the last stage).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from itrcore.assets.grid import Grid
from itrcore.errors import DataError
from itrcore.pretrained import backbone
from itrcore.pretrained.detector import released_name
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes, Unused, Weights
from itrcore.released.rules import Rule
from itrcore.settings.encoders import GridSettings, ResNetShape

_OURS, _THEIRS = "regions.backbone.", "backbone."
_SOURCE = "backbone_source"  # the option that says which ResNet it is
_PICTURE = 256  # side in pixels where `input_scale_factor` is 1
_KINDS = ("convolution", "normalization")


def _rules() -> Iterable[Rule]:
    places = [f"stem.embedder.{kind}." for kind in _KINDS]
    for stage in range(4):
        layers = [f"layer.{number}" for number in range(3)] + ["shortcut"]
        places += [f"stages.{stage}.layers.#.{layer}.{kind}." for layer in layers for kind in _KINDS]
    for place in places:
        yield Rule(_THEIRS + released_name(place + "x").removesuffix("x"), (_OURS + place,))


RULES: tuple[Rule, ...] = tuple(_rules())
UNUSED = {f"{_THEIRS}resnet.": Unused("the ResNet once more, with the classifier that it came with")}


def grid(checkpoint: Checkpoint, weights: Weights, grid: GridSettings) -> Grid:
    """The image side, with a ResNet of the weights' sizes.

    `DataError` where the checkpoint's options name another ResNet than the settings: no weight tells the strides.
    """
    theirs = checkpoint.options.get(_SOURCE, grid.backbone)
    if theirs != grid.backbone:
        raise DataError.at(
            checkpoint.path,
            f"its {_SOURCE} is {theirs}",
            f"{grid.backbone}, as the method's model.grid.backbone",
            do="Lay a profile with its grid.backbone over the method, and name that with --profile.",
        )
    shape = _shape(weights)
    sized = grid if grid.shape is None else grid.model_copy(update={"shape": shape})
    return Grid(sized, backbone.random(grid, shape))


def options(sizes: Sizes[Grid, Any]) -> dict[str, Any]:
    """What an exported file's options say of the ResNet."""
    return {
        "precomp_enc_type": "backbone",
        "img_dim": sizes.image.architecture["hidden_sizes"][-1],
        _SOURCE: sizes.image.settings.backbone,
        "backbone_lr_factor": sizes.settings.recipe.factors["backbone"],
        "input_scale_factor": sizes.image.settings.picture / _PICTURE,
    }


def _shape(weights: Weights) -> ResNetShape:
    """The sizes of a ResNet. For a missing entry it is the least, so that `convert.weights` names that entry."""
    widths, depths = [], []
    for stage in range(4):
        start = f"{_OURS}stages.{stage}.layers."
        widths.append(_rows(weights, f"{start}0.layer.2.convolution.weight") or 4)
        depths.append(next(n for n in count() if f"{start}{n}.layer.2.convolution.weight" not in weights) or 1)
    return ResNetShape(
        embedding=_rows(weights, f"{_OURS}stem.embedder.convolution.weight") or 1, widths=widths, depths=depths
    )


def _rows(weights: Weights, name: str) -> int | None:
    return len(weights[name]) if name in weights and weights[name].dim() else None
