"""A tiny CLIP and byte pairs of its own, as published ones are: small enough to build in a moment."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from itrcore.data.text.clip_tokens import END, START, CLIPTokens
from itrcore.pretrained import clip
from itrcore.settings.encoders import CLIPShape

if TYPE_CHECKING:
    from transformers import CLIPModel

CAPTIONS = ["A man rides a horse.", "Two dogs run, the man's dog swims.", "The horse runs on a snowy café terrace!"] * 3
SHAPE = CLIPShape(
    picture=32,
    patch=16,
    image_hidden=24,
    image_layers=2,
    image_heads=2,
    image_intermediate=32,
    text_hidden=16,
    text_layers=2,
    text_heads=4,
    text_intermediate=24,
    positions=12,
)
DIM = 32


def byte_characters() -> dict[int, str]:
    """OpenAI's printable character for each byte: itself where it is printable, else the next one from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def vocabulary(merges: list[tuple[str, str]]) -> list[str]:
    """Tokens by id as OpenAI orders them: bytes, bytes that end a word, merges, the two marks."""
    single = list(byte_characters().values())
    return [*single, *(f"{token}</w>" for token in single), *("".join(merge) for merge in merges), START, END]


@cache
def small() -> CLIPTokens:
    """Twenty byte pairs: each the most frequent one of what the earlier ones made of some captions' words."""
    characters, merges = byte_characters(), []
    words = [
        [*(characters[byte] for byte in word.encode()[:-1]), characters[word.encode()[-1]] + "</w>"]
        for caption in CAPTIONS
        for word in caption.lower().replace(".", " .").replace(",", " ,").split()
    ]
    for _ in range(20):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = max(sorted(pairs), key=pairs.__getitem__)
        merges.append(best)
        words = [merged(word, best) for word in words]
    return CLIPTokens(vocabulary(merges), merges)


def merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    """The word with every occurrence of the pair, from the left, as one token."""
    done: list[str] = []
    while word:
        taken = 2 if tuple(word[:2]) == pair else 1
        done.append("".join(word[:taken]))
        word = word[taken:]
    return done


def clip_folder(folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> CLIPModel:
    """A published CLIP as a folder holds one: config.json, model.safetensors, vocab.json, merges.txt. Returns the model."""
    torch.manual_seed(seed)
    tokens = small()
    config: Any = clip.config_of(SHAPE, len(tokens), DIM)
    config.text_config.eos_token_id = len(tokens) - 1
    model: Any = clip.configured(config)
    model.to(dtype)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens.tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in tokens.merges), "utf-8")
    written: CLIPModel = model
    return written
