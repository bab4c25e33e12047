"""The sizes of a published model, as far as its name tells them: for estimates, before its files are there."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from itrcore.files import read_json

# hidden, layers, heads, intermediate of a picture tower, by the word in the name
_IMAGE = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096), "so400m": (1152, 27, 16, 4304)}
_CLIP_TEXT = {"base": (512, 12, 8, 2048), "large": (768, 12, 12, 3072), "so400m": (1152, 27, 16, 4304)}


@dataclass(frozen=True)
class Tower:
    """A transformer."""

    hidden: int
    layers: int
    heads: int
    intermediate: int


@dataclass(frozen=True)
class Sizes:
    """Both towers.

    picture, patch: sides in pixels; positions: tokens of the longest caption; n_tokens: of the tokeniser
    filled: whether every caption is filled up to `positions`, as SigLIP's are
    """

    image: Tower
    text: Tower
    picture: int
    patch: int
    positions: int
    n_tokens: int
    filled: bool


@dataclass(frozen=True)
class BertSizes:
    """Of a BERT, bert-base's where nothing else is known. n_tokens: of the tokeniser"""

    hidden: int = 768
    layers: int = 12
    intermediate: int = 3072
    n_tokens: int = 30_522


def bert_sizes(name: str) -> BertSizes:
    """Of a BERT that lies in a folder of this name; else bert-base's."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # what is wrong is reported where the model itself is read
        config = read_json(Path(name) / "config.json")
        keys = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
        return BertSizes(*(int(config[key]) for key in keys))
    return BertSizes()


def sizes_of(name: str) -> Sizes:
    """Of a CLIP or SigLIP; what the name does not say is as in the base size with patches of 16 and pictures of 224."""
    name = name.lower()
    siglip = "siglip" in name
    size = next((size for size in _IMAGE if size in name or f"vit-{size[0]}-" in name), "base")
    patch = re.search(r"patch(\d+)|vit-\w-(\d+)", name)
    side = re.search(r"-(\d{3})$", name)
    return Sizes(
        image=Tower(*_IMAGE[size]),
        text=Tower(*(_IMAGE if siglip else _CLIP_TEXT)[size]),
        picture=int(side[1]) if side else 224,
        patch=int(patch[1] or patch[2]) if patch else 16,
        positions=64 if siglip else 77,
        n_tokens=(256_000 if "siglip2" in name else 32_000) if siglip else 49_408,
        filled=siglip,
    )
