"""What `datasets.<name>.features` in params.yaml may say: region features computed from the pictures by a pretrained model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.strict import Count, Settings


class Lite0Settings(Settings):
    """EfficientNet-Lite0 of the extra `lite`, whose weights are in a package: 7 × 7 cells, 1,280 wide.

    framing: `published`: the centre of the picture, as the model was trained; `whole`: the whole picture, stretched to a square
    """

    kind: Literal["lite0"]
    framing: Literal["published", "whole"]


class PatchSettings(Settings):
    """Patches of CLIP, SigLIP or DINOv2 or the cells of a ResNet: models of transformers.

    weights: a name on the Hugging Face hub, or a folder; revision: of the hub's repository
    framing: as of `Lite0Settings`; published: as the model's own preprocessor_config.json says
    """

    kind: Literal["clip", "siglip", "dinov2", "resnet"]
    weights: str
    revision: str | None = None
    framing: Literal["published", "whole"]


class DetrSettings(Settings):
    """Object queries of a DETR, with the boxes that it predicts; it sees whole pictures.

    weights, revision: as of `PatchSettings`; regions: how many queries are kept, the surest first
    """

    kind: Literal["detr"]
    weights: str
    revision: str | None = None
    regions: Count


ExtractorSettings = Annotated[Lite0Settings | PatchSettings | DetrSettings, Field(discriminator="kind")]


class FeatureSettings(Settings):
    """Which model computes the features, and how these are stored."""

    extractor: ExtractorSettings
    dtype: Literal["float16", "float32"]
    samples_per_shard: Count  # what a kill loses at most, for each process


# What results say of the features, by the extractor's kind.
LABELS = {
    "lite0": "EfficientNet-Lite0 grid",
    "clip": "CLIP patches",
    "siglip": "SigLIP patches",
    "dinov2": "DINOv2 patches",
    "resnet": "ResNet grid",
    "detr": "DETR queries",
}
