"""Small models of transformers with weights drawn at random, written as folders with their processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import ResNetConfig

from itrcore.settings.features import DetrSettings, PatchSettings

SIDE, PATCH, WIDTH, QUERIES = 32, 8, 16, 7
_VIT = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
_RESNET: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, WIDTH], "depths": [1, 1]}


def _detr() -> Any:
    small = {f"{side}_{part}": 1 for side in ("encoder", "decoder") for part in ("layers", "attention_heads")}
    return transformers.DetrConfig(
        use_timm_backbone=False,
        backbone=None,
        backbone_config=ResNetConfig(**_RESNET, out_features=["stage2"]),
        d_model=WIDTH,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=QUERIES,
        **small,
    )


_SQUARE = {"height": SIDE, "width": SIDE}
# Kind → model class, its configuration, processor class and its options: each kind frames pictures in another way.
MODELS: dict[str, tuple[str, Any, str, dict[str, Any]]] = {
    "clip": ("CLIPVisionModel", lambda: transformers.CLIPVisionConfig(**_VIT), "CLIPImageProcessorPil",
             {"size": {"shortest_edge": SIDE}, "crop_size": _SQUARE}),
    "siglip": ("SiglipVisionModel", lambda: transformers.SiglipVisionConfig(**_VIT), "SiglipImageProcessorPil", {"size": _SQUARE}),
    "dinov2": ("Dinov2Model", lambda: transformers.Dinov2Config(**_VIT), "BitImageProcessorPil",
               {"size": {"shortest_edge": 40}, "crop_size": _SQUARE}),
    "resnet": ("ResNetModel", lambda: ResNetConfig(**_RESNET), "ConvNextImageProcessorPil", {"size": {"shortest_edge": SIDE}}),
    "detr": ("DetrForObjectDetection", _detr, "DetrImageProcessorPil", {"size": {"shortest_edge": 40, "longest_edge": 60}}),
}  # fmt: skip


def write(folder: Path, kind: str) -> tuple[Any, Any]:
    """A model and its processor, written into a folder; the same each time."""
    model, config, processor, options = MODELS[kind]
    torch.manual_seed(3)
    made, prepare = getattr(transformers, model)(config()).eval(), getattr(transformers, processor)(**options)
    made.save_pretrained(folder)
    prepare.save_pretrained(folder)
    return made, prepare


def settings_of(kind: str, folder: Path, framing: Any = "published") -> PatchSettings | DetrSettings:
    if kind == "detr":
        return DetrSettings(kind="detr", weights=str(folder), regions=5)
    known: Any = kind
    return PatchSettings(kind=known, weights=str(folder), framing=framing)
