"""Which concepts a caption names is found in any caption as it was in those of train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from itrcore.data.concepts.build import build
from itrcore.data.concepts.naming import named
from itrcore.errors import DataError
from tests.data.concepts.test_concepts import ALL, CAPTIONS
from tests.support.nltk_data import write_nltk_folder


@pytest.mark.parametrize("has_tagger", [True, False])
def test_captions_of_train_name_the_concepts_as_often_as_they_were_counted(tmp_path: Path, has_tagger: bool) -> None:
    folder = write_nltk_folder(tmp_path) if has_tagger else tmp_path / "nltk"
    concepts = build(CAPTIONS, ALL, 1, folder)
    names = named(concepts, CAPTIONS, folder)
    assert names.shape == (len(CAPTIONS), len(concepts)) and names.sum(0).tolist() == concepts.counts.tolist()
    with pytest.raises(DataError, match=r"parts of speech by .*; expected by another"):
        named(replace(concepts, tagger="another"), CAPTIONS, folder)


def test_other_captions_name_what_has_a_form_of_a_concept_as_its_kind_of_word(tmp_path: Path) -> None:
    nowhere = tmp_path / "nltk"
    concepts = build(CAPTIONS, ALL, 1, nowhere)
    captions = ["Two men .", "a cat that nobody knows", "an orange shirt"]  # the concept is the fruit
    for names, wanted in zip(named(concepts, captions, nowhere), (["man"], [], ["shirt"]), strict=True):
        assert [word for word, of in zip(concepts.words, names, strict=True) if of] == wanted
