"""SCAN's vocabulary: lower-cased words as nltk splits them, those that are frequent enough, in order of first appearance.

Stored as the JSON that SCAN's readers take (`word2idx`, `idx2word`, `idx`) with one more key, `tokenizer`, that says how
captions were split into words; captions are always split the way their vocabulary was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from itrcore.cores import cores
from itrcore.data.text import punkt
from itrcore.data.text.tokens import TokenIds, Tokenised
from itrcore.errors import DataError
from itrcore.files import WrongKind, read_json, text_of, write_json
from itrcore.pool import pool

SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
START, END, UNKNOWN = range(1, 4)  # after PAD

_PART = 4096  # captions counted at once
_PARALLEL_FROM = 5  # parts; below, starting processes takes longer than they save


class WordSplitter:
    """Lower-cased words by nltk: with sentence splitting as `nltk.word_tokenize` does, or without it.

    Without it a full stop inside a caption stays on its word ("rides." in "A man rides. A dog runs."), which is the only
    difference. The sentence data is identified by its digest.
    """

    def __init__(self, sentence_data: str | None, nltk_folder: Path | None = None) -> None:
        """`sentence_data`: digest of the data to split sentences with, found in `nltk_folder`; None: no splitting."""
        from itrcore.data.text.nltk_parts import NLTKWordTokenizer  # here: importing nltk takes long

        self.sentence_data, self.nltk_folder = sentence_data, nltk_folder
        self._split_words = NLTKWordTokenizer().tokenize
        self._split_sentences = _load_punkt(nltk_folder, sentence_data) if sentence_data else None

    @property
    def description(self) -> dict[str, Any]:
        """What is stored with a vocabulary."""
        name = "nltk.word_tokenize" if self.sentence_data else "nltk.NLTKWordTokenizer"
        return {
            "name": name,
            "lower": True,
            "sentence_split": bool(self.sentence_data),
            "sentence_data": self.sentence_data,
        }

    def save_data(self, folder: Path) -> None:
        """Copy the sentence data, if it splits with some, into a folder as `nltk_folder` is."""
        if self.sentence_data is not None and self.nltk_folder is not None:
            punkt.copy(self.nltk_folder, folder)

    def __call__(self, caption: str) -> list[str]:
        """The caption's words, lower-cased."""
        text = caption.lower()
        # Without a full stop, question or exclamation mark followed by more text there is one sentence: skip the search.
        if self._split_sentences is None or not any(mark in text[:-1] for mark in ".?!"):
            return list(self._split_words(text))
        return [word for sentence in self._split_sentences(text) for word in self._split_words(sentence)]


class Vocabulary:
    """Words ↔ ids, and the splitter the ids were made with."""

    kind = "words"

    def __init__(self, words: Sequence[str], splitter: WordSplitter) -> None:
        """`words[i]` has id i; the four special tokens come first."""
        if tuple(words[:4]) != SPECIAL or len(set(words)) != len(words):
            raise ValueError(f"a vocabulary starts with {SPECIAL} and lists every word once")
        self.words = list(words)
        self.splitter = splitter

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word → id."""
        return {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    @property
    def token_ids(self) -> TokenIds:
        """With the mask token, which follows the last word and is in no caption."""
        return TokenIds(len(self) + 1, len(self), np.arange(len(SPECIAL), len(self)))

    @property
    def decides(self) -> list[Any]:
        """The words, and how captions are split into them."""
        return [self.words, self.splitter.description]

    def encode(self, caption: str) -> Tokenised:
        """`<start>`, the ids of the caption's words (`<unk>` for unknown ones), `<end>`."""
        words = self.splitter(caption)
        ids = [START, *(self.ids.get(word, UNKNOWN) for word in words), END]
        return Tokenised(ids, [-1, *range(len(words)), -1])

    def token_texts(self, caption: str) -> list[str]:
        """The text of each token of `encode`; a word that the vocabulary lacks is `<unk>` here too."""
        return [self.words[i] for i in self.encode(caption).ids]

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int, splitter: WordSplitter) -> Vocabulary:
        """Words with at least `min_count` occurrences, in order of first appearance, after the special tokens.

        `DataError` where no word is that frequent.
        """
        counts: Counter[str] = Counter()
        for part in _count_words(list(captions), splitter):
            counts.update(part)  # in the captions' order, so that words keep that of their first appearance
        words = [word for word, count in counts.items() if count >= min_count and word not in SPECIAL]
        if not words:
            raise DataError(
                f"no word occurs {min_count} times in the captions of train and dev; lower vocabulary.min_count"
            )
        return cls([*SPECIAL, *words], splitter)

    def save(self, path: Path) -> None:
        """Write the JSON described in this module's docstring."""
        value = {
            "word2idx": self.ids,
            "idx2word": {str(i): word for i, word in enumerate(self.words)},
            "idx": len(self.words),
            "tokenizer": self.splitter.description,
        }
        write_json(path, value)

    @classmethod
    def load(cls, path: Path, nltk_folder: Path) -> Vocabulary:
        """Read ours or a released SCAN vocabulary (which was made with `nltk.word_tokenize`).

        `DataError` where the file is not a vocabulary, or was made with sentence data that `nltk_folder` lacks.
        """
        try:
            data = read_json(path)
            ids, idx2word = data["word2idx"], data["idx2word"]
            words = [text_of(idx2word[str(i)], f"word {i} of idx2word") for i in range(len(idx2word))]
            numbers = [ids.get(word) for word in words]
            if numbers != list(range(len(ids))) or any(type(number) is not int for number in numbers):
                raise ValueError("word2idx and idx2word disagree")
            described = "tokenizer" in data
            split, wanted = _sentences(data["tokenizer"]) if described else (True, None)
        except FileNotFoundError:
            raise DataError.at(path, "no such file", "a vocabulary", do="Run: dvc repro") from None
        except WrongKind as error:
            do = "Take the file as it was published or written; dvc repro --force writes ours again."
            raise DataError.at(path, error.found, error.expected, do=do) from error
        except (AttributeError, KeyError, ValueError, TypeError) as error:
            raise DataError.at(path, f"not a vocabulary ({error!r})", "SCAN's JSON: word2idx, idx2word, idx") from error
        available = punkt.data_digest(nltk_folder)
        wanted = wanted if described else available
        if split and (available is None or available != wanted):
            raise DataError.at(
                path,
                "this vocabulary was made with nltk's sentence splitting, and its sentence data is "
                + ("missing" if available is None else "another one")
                + f" in {nltk_folder}",
                "the same data, or the same words would get other ids",
                do="Put punkt_tab where sources in nltk.yaml says, then: dvc repro --force --single-item nltk",
            )
        try:
            return cls(words, WordSplitter(wanted, nltk_folder))
        except ValueError as error:
            raise DataError.at(path, "its first words are not the special tokens", str(SPECIAL)) from error


def _sentences(described: Any) -> tuple[bool, str | None]:
    """Whether a vocabulary's captions were split into sentences, and the digest of the data for it."""
    split, data = described["sentence_split"], described["sentence_data"]
    if not isinstance(split, bool):
        raise WrongKind(f"sentence_split of tokenizer is {split!r}", "true or false")
    return split, None if data is None else text_of(data, "sentence_data of tokenizer")


def _count_words(captions: Sequence[str], splitter: WordSplitter) -> Iterator[Counter[str]]:
    """Counts of the words of the captions, part by part; of many captions in parallel processes."""
    parts = [captions[start : start + _PART] for start in range(0, len(captions), _PART)]
    if len(parts) < _PARALLEL_FROM:
        yield from (_count(part, splitter) for part in parts)
        return
    with pool(cores(), _prepare, splitter.sentence_data, splitter.nltk_folder) as workers:
        yield from workers.map(_count_prepared, parts)


def _count(captions: Sequence[str], splitter: WordSplitter) -> Counter[str]:
    return Counter(word for caption in captions for word in splitter(caption))


_prepared: list[WordSplitter] = []  # of a worker process, which makes it once


def _prepare(sentence_data: str | None, nltk_folder: Path | None) -> None:
    _prepared.append(WordSplitter(sentence_data, nltk_folder))


def _count_prepared(captions: Sequence[str]) -> Counter[str]:
    return _count(captions, _prepared[0])


def splitter_for(nltk_folder: Path) -> WordSplitter:
    """The splitter for new vocabularies: with sentence splitting where `nltk_folder` has its data."""
    return WordSplitter(punkt.data_digest(nltk_folder), nltk_folder)


def _load_punkt(folder: Path | None, sentence_data: str) -> Any:
    from itrcore.data.text import nltk_parts

    if folder is None or punkt.data_digest(folder) != sentence_data:
        raise DataError.at(
            str(folder), "nltk's sentence data is missing or another one", f"the data of digest {sentence_data}"
        )
    before = list(nltk_parts.data.path)
    try:
        with tempfile.TemporaryDirectory() as copy:
            # nltk refuses files with several names, and DVC links what it takes out of its cache.
            shutil.copytree(folder / "tokenizers", Path(copy, "tokenizers"))
            nltk_parts.data.path[:] = [copy]  # this folder and no other: data elsewhere may differ
            return nltk_parts.PunktTokenizer("english").tokenize
    except (LookupError, OSError) as error:
        raise DataError.at(
            folder, "nltk's sentence data is incomplete", "the output of stage nltk", do="Remove it and run: dvc repro"
        ) from error
    finally:
        nltk_parts.data.path[:] = before
