"""Which of a data set's concepts captions name, also those of other splits than the one that the concepts are from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from itrcore.data.concepts.build import tagged
from itrcore.data.concepts.concepts import Concepts
from itrcore.data.concepts.tagging import RuleTagger, tagger
from itrcore.data.text.caption_concepts import stem
from itrcore.errors import DataError


def named(concepts: Concepts, captions: Sequence[str], nltk_folder: Path) -> np.ndarray:
    """(n_captions, n_concepts) bool, found as stage `concepts` found them in the captions of train.

    nltk_folder: what stage `nltk` made. `DataError` where the concepts were found with another tagger than is there now.
    """
    here = tagger(nltk_folder)
    if here.name != concepts.tagger:
        found, expected = f"parts of speech by {here.name}", f"by {concepts.tagger}, as those of the concepts are"
        raise DataError.at(nltk_folder, found, expected, do="Run: dvc repro")
    # Rules know a concept by the stem of its word, nltk by the word itself.
    keys = [stem(word) if here.name == RuleTagger.name else word for word in concepts.words]
    place_of = {concept: place for place, concept in enumerate(zip(concepts.kinds, keys, strict=True))}
    names = np.zeros((len(captions), len(concepts)), bool)
    for row, found_here in enumerate(tagged(captions, nltk_folder, here)):
        names[row, [place_of[kind, key] for kind, key, _ in found_here if (kind, key) in place_of]] = True
    return names
