"""Tiny backbones of grid features: settings, random ones, and a ResNet's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import ResNetConfig, ResNetForImageClassification

from itrcore.pretrained import backbone
from itrcore.settings.encoders import GridSettings

SHAPE = {"embedding": 8, "widths": [16, 24, 32, 40], "depths": [1, 2, 1, 2]}


def grid(kind: str = "imagenet_res152", weights: str = "random", **changes: Any) -> GridSettings:
    """Settings of a tiny backbone."""
    return GridSettings.model_validate(
        {
            "backbone": kind,
            "weights": weights,
            "shape": SHAPE if weights == "random" else None,
            "picture": 64,
            "random_crop": 0.6,
            "flip": True,
            "warmup_epochs": 2,
            "stage_epochs": 5,
            **changes,
        }
    )


def random_backbone(settings: GridSettings, seed: int = 0) -> backbone.Backbone:
    assert settings.shape is not None
    torch.manual_seed(seed)
    return backbone.build(settings, backbone.random(settings, settings.shape))


def resnet_folder(folder: Path, **changes: Any) -> ResNetForImageClassification:
    """A published ResNet as a folder holds one, with its head."""
    torch.manual_seed(1)
    sizes = {"embedding_size": 8, "hidden_sizes": [16, 24, 32, 40], "depths": [1, 2, 1, 2]}
    model = ResNetForImageClassification(ResNetConfig(**{**sizes, **changes}))
    model.save_pretrained(folder)
    return model.eval()
