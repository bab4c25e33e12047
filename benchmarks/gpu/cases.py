"""Recipes with weights and data drawn at random, at published sizes or tiny ones, and trainers of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, Literal

import numpy as np
import torch
from accelerate.state import AcceleratorState

from benchmarks.untrained import ROOT
from itrcore.assets import assets
from itrcore.assets.towers import TowersSource
from itrcore.data.feeding.batches import Batch
from itrcore.data.feeding.crossing import on_device, ready
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.random_captions import F30K_IDS, PIECES, WORDS, captions
from itrcore.data.feeding.random_images import random_images
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.device import make_accelerator
from itrcore.errors import ConfigError
from itrcore.methods.build import build
from itrcore.methods.objective import Objective
from itrcore.settings.encoders import BertSettings, BertShape, BiGRUSettings, CLIPSettings, CLIPShape, ResNetShape
from itrcore.settings.load import load
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params
from itrcore.settings.training import SelectionSettings, TrainingSettings
from itrcore.training.loop import Trainer

Precision = Literal["auto", "float32", "tf32", "bf16"]
Features = Literal["auto", "host", "device"]

# Families first, then the other recipes of each.
FIRST = (
    "esa_bigru",
    "vse_infty_bert",
    "scan_t2i_lse_bigru",
    "sgr_bigru",
    "saf_bigru",
    "lhsc_bigru",
    "esl_h_bert",
    "esl_h_clip",
)
SEED = 1
_EVALUATION_BATCH = 256
_BERT = BertShape(hidden=32, layers=1, heads=2, intermediate=32, positions=64)
_CLIP = CLIPShape(
    picture=32, patch=16, positions=64,
    image_hidden=32, image_layers=1, image_heads=2, image_intermediate=32,
    text_hidden=32, text_layers=1, text_heads=2, text_intermediate=32,
)  # fmt: skip
_RESNET = ResNetShape(embedding=8, widths=[16, 32, 64, 128], depths=[1, 1, 1, 1])


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    batch, tiny_dim: None: as published; regions, width: of an image's features; picture: of a picture, width and height
    images, each: of a training split, and captions of each; different: images that differ
    """

    batch: int | None
    tiny_dim: int | None
    regions: int
    width: int
    picture: tuple[int, int]
    images: int
    each: int = 5
    different: int = 256


def device_here() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


@cache
def settings() -> Params:
    """Of the checkout."""
    return load(ROOT / "params.yaml")


def recipes() -> list[str]:
    """Of recipes/, the first of each family before all others."""
    return [*FIRST, *(name for name in settings().recipes if name not in FIRST)]


def computing_in(precision: Precision, features: Features = "auto", compiled: bool = False) -> TrainingSettings:
    """Settings of a training in this precision; what torch computes in from now on, too, outside autocast.

    `ConfigError` where the device has no such precision.
    """
    update = {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "precision": precision,
        "features": features,
        "compile": compiled,
        "selection": SelectionSettings(captions=2**31),
    }
    training = settings().training.model_copy(update=update)
    AcceleratorState._reset_state()  # accelerate allows a process one precision
    make_accelerator(training)
    return training


@cache
def precisions() -> list[Precision]:
    """Those that the device has."""
    there: list[Precision] = []
    for precision in ("float32", "tf32", "bf16"):
        with suppress(ConfigError):
            computing_in(precision)
            there.append(precision)
    return there


class Case:
    """A recipe with random weights, and random training pairs for it."""

    def __init__(self, recipe: str, sizes: Sizes) -> None:
        """`DataError` where a package is missing that a backbone needs."""
        self.sizes, self.tile = sizes, settings().evaluation.tile
        self.settings = fitted(settings().recipes[recipe].settings, sizes)
        model = self.settings.model
        image, text, concepts = assets.untrained(model, sizes.width, F30K_IDS.size)
        self._text = text
        if sizes.tiny_dim is not None and isinstance(text.source, TowersSource):
            _shrink(text.source.config, sizes.tiny_dim)
        with device_here():  # where it takes no time
            self.objective = Objective.of(self.settings, build(self.settings, image, text.source, SEED, concepts))
        touched = model.touched
        self.views = Views(model.n_views, None if touched is None else (touched, text.token_ids))
        self.split = self.split_of(sizes.images, sizes.each)

    def split_of(self, images: int, each: int) -> Split:
        """So many images, and captions of each, as long as Flickr30K's."""
        lengths = self._text.lengths(WORDS if isinstance(self.settings.model.text, BiGRUSettings) else PIECES)
        method, sizes = self.objective.method, self.sizes
        made = captions(images * each, self._text.token_ids, lengths, np.random.default_rng(0))
        regions = (sizes.regions, sizes.width)
        read = random_images(method.input, images, regions, sizes.picture, min(sizes.different, images))
        return Split(read, range(images * each), TokenTable.of(made), np.repeat(np.arange(images), each))

    def trainer(
        self, precision: Precision, features: Features, dev: Split | None = None, compiled: bool = False
    ) -> Trainer:
        """A trainer of a copy of the objective, to be used before another one is made. See `computing_in`."""
        training = computing_in(precision, features, compiled)
        batches = TrainingBatches(self.split, self.settings.recipe.batch_size, SEED, self.views)
        objective, dev = deepcopy(self.objective), self.split if dev is None else dev
        return Trainer(objective, self.settings, training, SEED, batches, dev, _EVALUATION_BATCH, self.tile)


def fed(trainer: Trainer) -> Iterator[Batch]:
    """Batches on its device, epoch after epoch, as a training has them."""
    for epoch in count():
        yield from on_device(
            trainer.batches.epoch(epoch, 0, lambda batch: ready(batch, trainer.device)), trainer.device
        )


def fitted(settings: MethodSettings, sizes: Sizes) -> MethodSettings:
    """The published settings at these sizes."""
    recipe = settings.recipe.model_copy(update={"batch_size": sizes.batch or settings.recipe.batch_size})
    return settings.model_copy(update={"recipe": recipe, "model": _fitted_model(settings.model, sizes.tiny_dim)})


def _fitted_model(model: Any, dim: int | None) -> Any:
    if dim is None:
        return model
    changed: dict[str, Any] = {"dim": dim}
    if hasattr(model, "levels"):
        changed["levels"] = min(model.levels, dim.bit_length() - 2)
    if hasattr(model, "alignment_dim"):
        changed["alignment_dim"] = dim // 2
    if isinstance(model.text, BertSettings):
        changed["text"] = model.text.model_copy(update={"weights": "random", "shape": _BERT})
    if isinstance(model.text, CLIPSettings):
        changed["text"] = model.text.model_copy(update={"weights": "random", "shape": _CLIP})
    if (grid := getattr(model, "grid", None)) is not None:
        update = {"backbone": "detector", "weights": "random", "shape": _RESNET, "picture": 64}
        changed["grid"] = grid.model_copy(update=update)
    return model.model_copy(update=changed)


def _shrink(config: Any, dim: int) -> None:
    """Make towers of published sizes small: their settings have no shape."""
    for tower in (config.text_config, config.vision_config):
        tower.update({"hidden_size": dim, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32})
    config.text_config.update({"projection_size": dim})
    config.update({"projection_dim": dim})


def freed() -> None:
    """Give back what nothing uses any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
