"""Which concepts a caption names: the kind, the base form and the form of each of its words that is one.

With nltk's perceptron tagger and WordNet's forms of words, where stage `nltk` has both; else with the rules that the project
has for simulated features. This module loads nltk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from itrcore import limits
from itrcore.data.concepts.concepts import MOTION, OBJECT, PROPERTY
from itrcore.data.text import caption_concepts, punkt
from itrcore.data.text.nltk_parts import PerceptronTagger, WordNetCorpusReader
from itrcore.errors import DataError
from itrcore.files import read_json, read_within

_KINDS = {"N": OBJECT, "V": MOTION, "J": PROPERTY}  # by the first letter of Penn's tags
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
_NO_MOTION = frozenset({"be", "have", "do"})  # in nearly every caption, and nothing moves
# The least share of the most frequent form: a rarer one is a slip of the pen or of the rules. Captions seldom say a verb's base.
_USUAL = {OBJECT: 0.05, MOTION: 0.002, PROPERTY: 0.05}


class Found(NamedTuple):
    """A concept in a caption. key: the same for all forms of a word; form: what the caption has"""

    kind: str
    key: str
    form: str


class Tagger(Protocol):
    """Finds concepts."""

    name: str

    def __call__(self, words: Sequence[str]) -> Iterator[Found]:
        """The concepts among a caption's lower-cased words, in their order."""

    def word(self, kind: str, key: str, forms: Counter[str]) -> str:
        """The word that a concept is called by. forms: how often each was found"""


def tagger(nltk_folder: Path) -> Tagger:
    """nltk's tagger where the folder has its data and WordNet; else the project's rules. `DataError` where a file is damaged."""
    return NltkTagger(nltk_folder) if punkt.has_tagger(nltk_folder) else RuleTagger()


def _kind(tag: str, form: str) -> str | None:
    return _KINDS.get(tag[:1]) if len(form) > 1 and _WORD.fullmatch(form) else None


class NltkTagger:
    """nltk's averaged perceptron; base forms as WordNet has them."""

    name = "nltk"

    def __init__(self, folder: Path) -> None:
        """folder: as stage `nltk` makes it. `DataError` where its data is something else."""
        try:
            parts = (f"{punkt.TAGGER.name}.{part}.json" for part in ("weights", "tagdict", "classes"))
            self._tagger = PerceptronTagger(load=False)
            self._tagger.decode_json_params(read_json(folder / punkt.TAGGER / part) for part in parts)
            self._forms = _Forms(folder / punkt.WORDNET)
        except (OSError, TypeError, ValueError) as error:
            raise DataError.at(
                folder, f"not readable ({error})", "nltk's tagger and WordNet", do="Run: dvc repro nltk"
            ) from error
        self._base = lru_cache(maxsize=1 << 16)(self._forms.base)

    def __call__(self, words: Sequence[str]) -> Iterator[Found]:
        """As `Tagger`."""
        for form, tag in self._tagger.tag(list(words)):
            kind = _kind(tag, form)
            if kind == OBJECT and not self._base(form, OBJECT) and self._base(form, MOTION):
                kind = MOTION  # "sits" at the end of a clause, which the tagger takes for a plural
            base = (self._base(form, kind) or form) if kind else ""
            if kind and not (kind == MOTION and base in _NO_MOTION):
                yield Found(kind, base, form)

    def word(self, kind: str, key: str, forms: Counter[str]) -> str:
        """The base form."""
        return key


class _Forms(WordNetCorpusReader):  # type: ignore[misc]  # nltk says nothing of types
    """WordNet's words and irregular forms, and none of its meanings: those are 30 MB, and nltk's reader would want them."""

    _POS: Mapping[str, str] = {OBJECT: "n", MOTION: "v", PROPERTY: "a"}

    def __init__(self, folder: Path) -> None:
        self._lemma_pos_offset_map: dict[str, dict[str, object]] = {}
        self._exception_map: dict[str, dict[str, list[str]]] = {}
        for pos in self._POS.values():
            lines = {
                part: _lines(folder / part) for part in (f"index.{self._FILEMAP[pos]}", f"{self._FILEMAP[pos]}.exc")
            }
            words, irregular = lines.values()
            for line in words:
                if not line.startswith(" "):  # the licence
                    self._lemma_pos_offset_map.setdefault(line.partition(" ")[0], {})[pos] = ()
            self._exception_map[pos] = {form: bases for form, *bases in map(str.split, irregular) if bases}

    def base(self, form: str, kind: str) -> str:
        """men → man, walking → walk; a form that is a word of its own stays (glasses). Empty where WordNet has no such word."""
        pos = self._POS[kind]
        irregular = self._exception_map[pos].get(form)
        return irregular[0] if irregular else self.morphy(form, pos) or ""


def _lines(path: Path) -> list[str]:
    return read_within(path, limits.JSON).decode("utf-8").splitlines()


class RuleTagger:
    """The tags and stems of `itrcore/data/text/caption_concepts.py`; a concept is called by the shortest of its usual forms."""

    name = "rules"

    def __call__(self, words: Sequence[str]) -> Iterator[Found]:
        """As `Tagger`."""
        for form, tag in caption_concepts.tag_words(list(words)):
            kind = _kind(tag, form)
            if kind and form != "of":  # tagged as the noun before it
                yield Found(kind, caption_concepts.stem(form), form)

    def word(self, kind: str, key: str, forms: Counter[str]) -> str:
        """The shortest form without irregular ones; of equally long ones the most frequent."""
        counts: Counter[str] = Counter()
        for form, count in forms.items():
            counts[caption_concepts.regular(form)] += count
        usual = [form for form, count in counts.items() if count >= _USUAL[kind] * max(counts.values())]
        return min(usual, key=lambda form: (len(form), -counts[form], form))
