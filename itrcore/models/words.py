"""The text side of a run with BiGRU: the words of a vocabulary, and vectors that their embeddings start from."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.data.glove import WordVectors
from itrcore.data.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.files import digest
from itrcore.models.encoder_settings import BiGRUSettings
from itrcore.models.settings import ModelSettings
from itrcore.models.text import TextInputs


class Words:
    """Words of a vocabulary, for BiGRU."""

    def __init__(self, vocabulary: Vocabulary, vectors: WordVectors | None = None) -> None:
        self.tokeniser, self.vectors = vocabulary, vectors

    @property
    def inputs(self) -> TextInputs:
        """The embedding's rows and, with GloVe, what they start from."""
        return TextInputs(self.tokeniser.token_ids, self.vectors)

    @property
    def digest(self) -> str:
        """Of the words, how captions are split, and the vectors."""
        vectors = self.vectors.sha256 if self.vectors else None
        return digest([self.tokeniser.words, self.tokeniser.tokenizer.description, vectors])

    def save(self, folder: Path) -> None:
        """The vocabulary; vectors have gone into the weights."""
        self.tokeniser.save(folder / layout.WORDS)


def prepare(model: ModelSettings, vocabulary: Path, nltk_folder: Path) -> Words:
    """For a new run. vocabulary: the data set's folder with vocab.json and, where asked for, GloVe vectors"""
    settings = model.text
    assert isinstance(settings, BiGRUSettings)
    words = Vocabulary.load(vocabulary / layout.WORDS, nltk_folder)
    return Words(words, _vectors(vocabulary / layout.VECTORS, words, settings) if settings.init == "glove" else None)


def restore(model: ModelSettings, folder: Path, nltk_folder: Path) -> Words:
    """Of a finished run."""
    return Words(Vocabulary.load(folder / layout.WORDS, nltk_folder))


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
