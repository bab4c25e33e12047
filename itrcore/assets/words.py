"""The text side of a run with BiGRU: the words of a vocabulary, and the vectors from which their embeddings start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itrcore import layout
from itrcore.assets.text import UntrainedText
from itrcore.data.text.glove import WordVectors
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.files import digest
from itrcore.layers.text_encoders import BiGRUEncoder
from itrcore.settings.encoders import BiGRUSettings


@dataclass(frozen=True)
class BiGRUSource:
    """What a BiGRU encoder is built from. n_tokens: number of token ids; vectors: to start from, one row for each word"""

    settings: BiGRUSettings
    n_tokens: int
    vectors: WordVectors | None = None

    def encoder(self, dim: int) -> BiGRUEncoder:
        """An encoder to `dim` dimensions, its weights drawn at random except for words that have a vector."""
        return BiGRUEncoder(self.n_tokens, dim, self.settings, self.vectors)


class Words:
    """Words of a vocabulary, for BiGRU."""

    def __init__(self, settings: BiGRUSettings, vocabulary: Vocabulary, vectors: WordVectors | None = None) -> None:
        self.settings, self.tokeniser, self.vectors = settings, vocabulary, vectors

    @property
    def source(self) -> BiGRUSource:
        """The number of the embedding's rows and, with GloVe, the vectors from which they start."""
        return BiGRUSource(self.settings, self.tokeniser.token_ids.size, self.vectors)

    @property
    def digest(self) -> str:
        """Of the words, how captions are split, and the vectors."""
        vectors = self.vectors.sha256 if self.vectors else None
        return digest([self.tokeniser.words, self.tokeniser.splitter.description, vectors])

    def save(self, folder: Path) -> None:
        """The vocabulary, and what its captions are split into sentences with; the vectors are in the weights."""
        self.tokeniser.save(folder / layout.WORDS)
        self.tokeniser.splitter.save_data(folder / layout.SENTENCES)


def prepare(settings: BiGRUSettings, dim: int, vocabulary: Path, nltk_folder: Path) -> Words:
    """For a new run. vocabulary: the data set's folder with vocab.json and, where asked for, GloVe vectors"""
    words = Vocabulary.load(vocabulary / layout.WORDS, nltk_folder)
    vectors = _vectors(vocabulary / layout.VECTORS, words, settings) if settings.init == "glove" else None
    return Words(settings, words, vectors)


def restore(settings: BiGRUSettings, folder: Path) -> Words:
    """Of a finished run."""
    return Words(settings, Vocabulary.load(folder / layout.WORDS, folder / layout.SENTENCES))


def untrained(settings: BiGRUSettings, dim: int, n_tokens: int) -> UntrainedText:
    """For measuring. n_tokens: words of the vocabulary, special ones and the mask included"""
    return UntrainedText(BiGRUSource(settings, n_tokens), n_tokens)


def _vectors(path: Path, words: Vocabulary, settings: BiGRUSettings) -> WordVectors:
    if not path.exists():
        raise DataError.at(
            path,
            "no such file",
            "GloVe vectors, as text.init is glove",
            do="Set vocabulary.glove of the data set to a GloVe text file, then: dvc repro. Or set text.init: random.",
        )
    vectors = WordVectors.load(path)
    if vectors.vectors.shape != (len(words), settings.word_dim):
        raise DataError.at(
            path,
            f"vectors of shape {vectors.vectors.shape}",
            f"({len(words)}, {settings.word_dim}): the vocabulary's words × text.word_dim",
        )
    return vectors
