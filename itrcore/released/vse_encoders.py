"""The encoders of VSE∞'s code, which those of ESA and ESL took over: regions through an MLP, or a grid; words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from itrcore.assets.grid import Grid
from itrcore.released import resnet
from itrcore.released.contract import Layout, Part, Sizes, TextForm, Unused, axis, vocabulary_file
from itrcore.released.rules import Rule, plain

_SECOND_NORM = {
    f"mlp.bns.1.{name}": Unused("the MLP's second batch normalisation, which its forward never uses", like, value)
    for name, like, value in (
        ("weight", "mlp.layers.1.bias", 1.0),
        ("bias", "mlp.layers.1.bias", 0.0),
        ("running_mean", "mlp.layers.1.bias", 0.0),
        ("running_var", "mlp.layers.1.bias", 1.0),
        ("num_batches_tracked", "mlp.bns.0.num_batches_tracked", 0.0),
    )
}
_REGIONS = {
    "fc.": "regions.fc.",
    "mlp.layers.0.": "regions.hidden.",
    "mlp.layers.1.": "regions.out.",
    "mlp.bns.0.": "regions.norm.",
}
SIZES = {"dim": axis("regions.fc.weight", 0)}


def vocabulary(data: str) -> str:
    """What their evaluations open, whatever else a data set is called."""
    return vocabulary_file("coco" if "coco" in data else "f30k")


def images(*rules: Rule) -> Part:
    """The image encoder. rules: of what it has besides"""
    return Part("image encoder", (*plain(_REGIONS), *rules), _SECOND_NORM)


def texts(text: TextForm, *rules: Rule) -> Part:
    """The text encoder, of a kind. rules: of what it has besides"""
    return Part("text encoder", (*text.RULES, *rules), text.UNUSED)


def pooled(text: TextForm, theirs: str, ours: str) -> tuple[Part, Part]:
    """Both encoders with their pooling. theirs: its name there; ours: its name here, after `region_` or `word_`"""
    return images(Rule(theirs, (f"region_{ours}",))), texts(text, Rule(theirs, (f"word_{ours}",)))


def on_grid(layout: Layout, data_parallel: bool) -> Layout:
    """The same method on grid features: a ResNet and no MLP in its image encoder, and pixels in place of regions.

    data_parallel: as in `Layout`, on grid features
    """

    def options(model: Any, sizes: Sizes[Grid, Any], data: str) -> dict[str, Any]:
        return {**layout.options(model, sizes, data), **resnet.options(sizes)}

    encoder, *others = layout.parts
    rules = [replace(rule, released=f"image_encoder.{rule.released}") for rule in encoder.rules]
    kept = (rule for rule in rules if not rule.released.startswith("image_encoder.mlp."))
    return replace(
        layout,
        parts=(Part(encoder.name, (*resnet.RULES, *kept), resnet.UNUSED), *others),
        image=resnet.grid,
        options=options,
        data_parallel=data_parallel,
    )
