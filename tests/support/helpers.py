"""What several test files build: tiny methods and batches, small enough to train in a second."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from itrcore.assets.clip import CLIPSource
from itrcore.assets.concepts import untrained
from itrcore.assets.pictures import Pictures
from itrcore.assets.pieces import BertSource
from itrcore.assets.regions import Regions
from itrcore.assets.towers import TowersSource
from itrcore.assets.words import BiGRUSource
from itrcore.data.concepts.concepts import Concepts
from itrcore.data.feeding.batches import Batch, ImageBatch, PixelBatch, RegionBatch, TextBatch
from itrcore.data.feeding.order import Views
from itrcore.data.text.tokens import TokenIds, Tokenised
from itrcore.layers.losses.contract import Losses
from itrcore.layers.progress import Progress
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.methods.objective import Objective
from itrcore.pretrained import bert, clip
from itrcore.settings.encoders import BertSettings, BertShape, CLIPSettings, TowersSettings
from itrcore.settings.methods import MethodSettings
from tests.support import dual_data

if TYPE_CHECKING:
    from transformers import BertModel

PICTURE = 16  # side of what the CLIP here sees
_TOWER = {"hidden": 16, "layers": 2, "heads": 2, "intermediate": 16}
_SCAN = {"kind": "scan", "softmax_scale": 9.0}
_LSE = {"kind": "lse", "scale": 6.0}
_ALIGNMENT = {"softmax_scale": 9.0, "alignment_dim": 8, "dropout": 0.0}
_GPO = {"kind": "gpo", "code_dim": 8, "hidden_dim": 8, "temperature": 0.1}
_MODELS: dict[str, dict[str, Any]] = {
    "coder": {"kind": "coder", "pooling": _GPO, "graph_dim": 12, "attention_scale": 10.0, "alpha": 0.9},
    "vse_pp": {"kind": "vse", "pooling": {"kind": "mean"}},
    "vse_infty": {"kind": "vse", "pooling": _GPO},
    "dual": {"kind": "dual"},
    "esa": {"kind": "esa", "views": 2},
    "esl_h": {"kind": "esl", "strategy": "heuristic", "levels": 2, "kernel": 2},
    "esl_a": {"kind": "esl", "strategy": "adaptive", "levels": 2, "kernel": 2},
    "scan_t2i_lse": {**_SCAN, "direction": "t2i", "pooling": _LSE},
    "scan_t2i_avg": {**_SCAN, "direction": "t2i", "pooling": {"kind": "mean"}},
    "scan_i2t_lse": {**_SCAN, "direction": "i2t", "pooling": _LSE},
    "scan_i2t_avg": {**_SCAN, "direction": "i2t", "pooling": {"kind": "mean"}},
    "sgr": {**_ALIGNMENT, "kind": "sgraf", "module": {"kind": "sgr", "steps": 2}},
    "saf": {**_ALIGNMENT, "kind": "sgraf", "module": {"kind": "saf"}},
    "lhsc": {**_ALIGNMENT, "kind": "lhsc", "layers": 2, "heads": 2, "padding": "masked"},
}
_TEXTS: dict[str, dict[str, Any]] = {
    "bigru": {"kind": "bigru", "word_dim": 8, "dropout": 0.0, "init": "random"},
    "bert": {
        "kind": "bert",
        "weights": "random",
        "shape": {"hidden": 16, "layers": 2, "heads": 2, "intermediate": 16, "positions": 32},
        "dropout": 0.0,
    },
    "clip": {
        "kind": "clip",
        "weights": "random",
        "shape": {
            "picture": PICTURE,
            "patch": 8,
            **{f"{tower}_{key}": size for tower in ("image", "text") for key, size in _TOWER.items()},
            "positions": 32,
        },
        "strip": "",
    },
    "towers": {"kind": "towers", "weights": "a small CLIP"},
}
CLUSTERS = {
    "number": 5, "update": 0.1, "sharpness": 0.05, "iterations": 3, "labels": "own", "temperature": 0.1, "weight": 0.5,
}  # fmt: skip
DIVERSITY = {"kind": "diversity", "scale": 90.0, "threshold": 0.5, "warmup_epochs": 1, "warmup_scale": 14.3}
MOMENTUM = {"kind": "momentum_contrast", "loss": DIVERSITY, "momentum": 0.9, "queue": 16, "batch_weight": 1.0}
_LOSSES = {
    "esa": {"kind": "self_expanding", "margin": 0.2, "warmup_epochs": 1},
    "esl_clip": {"kind": "symmetric", "max_scale": 100.0},
    "dual": {"kind": "symmetric", "max_scale": 100.0},
}
VECTOR_METHODS = [
    *(f"{model}_{text}" for text in ("bigru", "bert") for model in ("vse_pp", "vse_infty", "esa")),
    *("esl_h_clip", "esl_a_clip", "dual_towers", "coder_bigru"),
]
# Of SCAN's two directions one with each pooling, of its two encoders of captions one with each direction.
CROSS_METHODS = ["scan_t2i_lse_bigru", "scan_i2t_avg_bert", "sgr_bigru", "saf_bigru", "lhsc_bigru"]
SET_METHODS = ["esl_h_bert", "esl_a_bert", *CROSS_METHODS]
METHODS = VECTOR_METHODS + SET_METHODS
VIEWS = {"touch": 0.2, "mask": 0.5, "random": 0.1, "remove": 0.4}


def method_settings(name: str, dim: int = 16, loss: dict[str, Any] | None = None, **recipe: Any) -> MethodSettings:
    """Settings of a method at a tiny size, by its family's name; `recipe` changes the recipe's entries.

    loss: another one than its own
    """
    short, _, text = name.rpartition("_")
    model: dict[str, Any] = {**_MODELS[short], "dim": dim, "text": _TEXTS[text]}
    if text == "clip":
        model["kind"] = "esl_clip"
    elif text != "towers" and "softmax_scale" not in model:  # methods with cross attention have no views
        model |= {"region_drop": 0.2, "token_views": VIEWS}
    factors = ({text: 0.1} if text in ("bert", "clip") else {}) | ({"graph": 0.4} if short == "coder" else {})
    recipe = {"factors": factors, **recipe}
    return MethodSettings.model_validate(
        {
            "model": model,
            "loss": loss or _LOSSES.get(model["kind"], {"kind": "hinge", "margin": 0.2, "warmup_epochs": 1}),
            "recipe": {
                "optimiser": "adamw",
                "learning_rate": 5e-3,
                "weight_decay": 1e-4,
                "batch_size": 4,
                "epochs": 3,
                "evaluations": 1,
                "schedule": {"kind": "step", "epochs": [], "factor": 0.1},
                "clip_norm": 2.0,
                **recipe,
            },
        }
    )


def token_ids(n_words: int) -> TokenIds:
    """Ids below n_words, of which the last is the mask token's and the first four are special."""
    return TokenIds(n_words, n_words - 1, np.arange(4, n_words - 1))


def text_source(settings: MethodSettings, n_words: int) -> BiGRUSource | BertSource | CLIPSource | TowersSource:
    """What a text encoder for ids below n_words is built from; a BERT has no dropout."""
    text = settings.model.text
    if isinstance(text, TowersSettings):
        return dual_data.source(text, n_words, settings.model.dim, PICTURE)
    if isinstance(text, CLIPSettings):
        assert text.shape is not None
        return CLIPSource(text, clip.config_of(text.shape, n_words, settings.model.dim))
    if isinstance(text, BertSettings):
        assert text.shape is not None
        config = bert.config_of(text.shape, n_words)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        return BertSource(text, config)
    return BiGRUSource(text, n_words)


def method_of(settings: MethodSettings, width: int, n_words: int, seed: int = 0) -> Any:
    """A method on region features of a width, or on pictures where it reads these; ids are below n_words."""
    image = Pictures() if settings.model.reads_pixels else Regions(width)
    return build(settings, image, text_source(settings, n_words), seed, concepts_of(settings))


def concepts_of(settings: MethodSettings) -> Concepts | None:
    """A few concepts for a method that reads them."""
    return untrained(6, 4) if settings.model.concepts else None


def loss_of(settings: MethodSettings, method: Method[Any, Any], batch: Batch, progress: Progress) -> Losses:
    """The method's loss, as a training of these settings has it."""
    losses: Losses = Objective.of(settings, method)(batch, progress)
    return losses


def views_of(settings: MethodSettings, n_words: int) -> Views:
    """How a training of these settings changes captions."""
    touched = settings.model.touched
    return Views(settings.model.n_views, None if touched is None else (touched, token_ids(n_words)))


def words(captions: Sequence[Sequence[int]]) -> list[Tokenised]:
    """Captions given as ids: the first and the last token are special, every other one a word of its own."""
    return [Tokenised(list(ids), [-1, *range(len(ids) - 2), -1]) for ids in captions]


def image_batch(lengths: list[int], width: int, seed: int = 0) -> RegionBatch:
    """Images of the given numbers of regions, zero-padded to the longest."""
    regions = torch.randn(len(lengths), max(lengths), width, generator=torch.Generator().manual_seed(seed))
    for row, length in enumerate(lengths):
        regions[row, length:] = 0
    return RegionBatch(regions, torch.tensor(lengths))


def regions_of(images: ImageBatch) -> RegionBatch:
    """A batch that is one of regions."""
    assert isinstance(images, RegionBatch)
    return images


def pixel_batch(n: int, seed: int = 0) -> PixelBatch:
    """Pictures for the CLIP here."""
    return PixelBatch(torch.randn(n, 3, PICTURE, PICTURE, generator=torch.Generator().manual_seed(seed)))


def text_batch(lengths: list[int], n_words: int, seed: int = 0) -> TextBatch:
    """Random captions of the given lengths, ids from 1 to n_words − 1."""
    rng = np.random.default_rng(seed)
    return TextBatch.pad([rng.integers(1, n_words, length) for length in lengths])


def pair_batch(n: int, views: int, width: int | None, n_words: int, seed: int = 0) -> Batch:
    """n images with a caption of their own each, repeated for each view. width: of the regions; None: pictures"""
    rng = np.random.default_rng(seed)
    captions = [rng.integers(1, n_words, int(rng.integers(4, 9))) for _ in range(n)]
    texts = TextBatch.pad([caption for caption in captions for _ in range(views)])
    lengths = [int(length) for length in rng.integers(2, 6, n)]
    images: ImageBatch = pixel_batch(n, seed) if width is None else image_batch(lengths, width, seed)
    return Batch(images, texts, list(range(n)), list(range(n)))


def bert_folder(folder: Path, pieces: Sequence[str], seed: int = 0, dtype: torch.dtype = torch.float32) -> BertModel:
    """A published BERT as a folder holds one: config.json, model.safetensors, vocab.txt. Returns what is in it."""
    torch.manual_seed(seed)
    size = BertShape(hidden=16, layers=1, heads=2, intermediate=16, positions=12)
    model = bert.configured(bert.config_of(size, len(pieces))).to(dtype)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
    return model


def released_file(path: Path) -> dict[str, Any]:
    """What a released checkpoint's file holds, as it stands there; no code that it might hold is run."""
    with torch.serialization.safe_globals([Namespace]):
        content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def offline(program: str, home: Path) -> list[str]:
    """The lines that a Python program prints in a process without network; `home` holds the hub's cache."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.splitlines()
