"""BiGRU in released checkpoints: word embeddings and a GRU, and the vocabulary of their words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from itrcore import layout
from itrcore.assets.words import BiGRUSource, Words
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Shape, Size, Sizes, Unused, Weights, axis
from itrcore.released.rules import Rule, plain
from itrcore.released.text.vocabularies import check_size, of_data
from itrcore.settings.encoders import BiGRUSettings

RULES: tuple[Rule, ...] = plain({"embed.": "words.embed.", "rnn.": "words.gru."})
UNUSED: Mapping[str, Unused] = {}
BUILT: Mapping[str, Shape] = {}
N_TOKENS: Size = axis("words.embed.weight", 0)
_WORD_DIM = axis("words.embed.weight", 1)


def own_config(settings: BiGRUSettings) -> None:
    """It has none."""


def source(
    checkpoint: Checkpoint, weights: Weights, settings: BiGRUSettings, config: None, n_tokens: int, dim: int
) -> BiGRUSource:
    """An embedding of as many dimensions as the weights have."""
    return BiGRUSource(settings.model_copy(update={"word_dim": _WORD_DIM(weights) or settings.word_dim}), n_tokens)


def side(sizes: Sizes[Any, BiGRUSource], vocabulary: Path | None, data: str) -> Words:
    """With the words of a given vocabulary (SCAN's JSON), else of the data set's. `DataError` where it does not fit."""
    path = vocabulary or of_data(data, layout.WORDS)
    words = Vocabulary.load(path, layout.NLTK)
    check_size(path, words.token_ids.size, sizes.n_tokens)
    return Words(sizes.source.settings, words)


def own_vocabulary(settings: BiGRUSettings, data: str) -> str:
    """The data set's."""
    return f"the vocabulary of {data}"


def options(source: BiGRUSource) -> dict[str, Any]:
    """Its width."""
    return {"word_dim": source.settings.word_dim}


def other_values(text: Words, data: str) -> Iterator[str]:
    """Everything shows in the weights' shapes."""
    return iter(())
