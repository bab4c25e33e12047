"""The parts of nltk that this project uses, imported without scipy and scikit-learn. Import this module only where words are split.

`import nltk` imports every part of nltk, and two of them look for scipy.stats and scikit-learn, which MLflow brings along:
four fifths of the time that nltk takes. Here the two seem not to be installed, a case that nltk provides for: a significance
test and two of its parsers and classifiers then do without them. Packages that are imported already stay.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "NLTKWordTokenizer",
    "PerceptronTagger",
    "PunktTokenizer",
    "RegexpParser",
    "RegexpTagger",
    "SnowballStemmer",
    "Tree",
    "UnigramTagger",
    "WordNetCorpusReader",
    "data",
]


@contextmanager
def _not_installed(*names: str) -> Iterator[None]:
    """Inside, importing these packages fails as if they were not installed; those that are imported already stay."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is Python's way to say that there is none
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


with _not_installed("scipy", "scipy.stats", "sklearn"):
    from nltk import data
    from nltk.chunk import RegexpParser
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.stem.snowball import SnowballStemmer
    from nltk.tag import PerceptronTagger, RegexpTagger, UnigramTagger
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktTokenizer
    from nltk.tree import Tree
