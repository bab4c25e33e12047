"""Similarities of images and captions made from the captions' words: what stands in for methods where none can be trained.

An image shows the words of its captions, all of them as often as they say so. A rare word counts more than a frequent one
(its inverse document frequency). So images and captions that speak of the same things are alike, whether or not a data set
has them as a pair; seeded noise makes them less so. No picture is looked at, and no figure of these says anything of a method.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Captions = Sequence[Sequence[str]]  # of each image
_WORD = re.compile(r"[a-z0-9']+")


@dataclass(frozen=True)
class Oracle:
    """One pretended run.

    width: of its vectors; None: no vectors, but a similarity of each word with each image, as cross attention has
    noise: of vectors, its length in that of the signal; of similarities, its deviation
    """

    name: str
    seed: int
    width: int | None
    noise: float


@dataclass(frozen=True)
class Words:
    """All words of a data set in order, as places, and the weight of each. weight: (n_words,) float32"""

    place: dict[str, int]
    weight: np.ndarray

    @classmethod
    def of(cls, captions: Captions) -> Words:
        """Of all captions, whatever their split."""
        texts = [set(_WORD.findall(text.lower())) for of_image in captions for text in of_image]
        count = Counter(word for words in texts for word in words)
        place = {word: number for number, word in enumerate(sorted(count))}
        return cls(place, np.log(len(texts) / np.array([count[word] for word in place], np.float32)).astype(np.float32))

    def places(self, text: str) -> list[int]:
        """Those of a caption, each once, in order."""
        return sorted({self.place[word] for word in _WORD.findall(text.lower())})


def vectors(oracle: Oracle, captions: Captions, words: Words) -> tuple[np.ndarray, np.ndarray]:
    """(n_images, width) and (n_captions, width) float32 of length 1: weighted sums of a random vector for each word, and noise."""
    assert oracle.width is not None
    rng = np.random.default_rng(oracle.seed)
    of_word = words.weight[:, None] * rng.standard_normal((len(words.weight), oracle.width), np.float32)
    of_caption = _unit(np.stack([of_word[words.places(text)].sum(axis=0) for group in captions for text in group]))
    starts = np.cumsum([0, *(len(group) for group in captions)])[:-1]
    of_image = _unit(np.add.reduceat(of_caption, starts))
    return _noisy(rng, of_image, oracle.noise), _noisy(rng, of_caption, oracle.noise)


def similarity(oracle: Oracle, captions: Captions, words: Words) -> np.ndarray:
    """(n_images, n_captions) float32: the weighted share of a caption's words that an image shows, and noise of each pair."""
    rng = np.random.default_rng(oracle.seed)
    shown = np.zeros((len(words.weight), len(captions)), np.float32)  # the share of an image's captions that say a word
    for image, group in enumerate(captions):
        for text in group:
            shown[words.places(text), image] += 1 / len(group)
    texts = [text for group in captions for text in group]
    of_captions = np.empty((len(texts), len(captions)), np.float32)
    for row, text in zip(of_captions, texts, strict=True):
        said = words.places(text)
        weights = words.weight[said]
        row[:] = weights @ shown[said] / max(float(weights.sum()), 1e-6)
        row += oracle.noise * rng.standard_normal(len(row), np.float32)
    return np.ascontiguousarray(of_captions.T)


def _noisy(rng: np.random.Generator, signal: np.ndarray, noise: float) -> np.ndarray:
    return _unit(signal + noise * _unit(rng.standard_normal(signal.shape, np.float32)))


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, np.float32(1e-6))).astype(np.float32)
