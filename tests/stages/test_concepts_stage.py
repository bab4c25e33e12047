"""Stage `concepts`: of train alone, only where it is asked for, with GloVe's vectors or the captions' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from itrcore import layout
from itrcore.data import captions
from itrcore.data.concepts.concepts import Concepts
from itrcore.errors import DataError
from stages import concepts, vocab
from tests.support.nltk_data import write_nltk_folder
from tests.support.tiny_project import write_params

FOLDER = Path("data/tiny/concepts")
VOCABULARY = "datasets.tiny.vocabulary"
ASKED = {"min_count": 1, "concepts": {"objects": 20, "motions": 10, "properties": 10}}
CAPTIONS = {
    "train": ("a man in a red shirt rides a horse", "a small dog is running on a beach"),
    "dev": ("a purple lighthouse is standing on a cliff",),
    "test": ("a zebra is sleeping under a green umbrella",),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose data set has captions, as the current folder."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"image_id": 0, "file_name": None, "split": split, "position": position, "caption_id": position, "text": text}
        for split, texts in CAPTIONS.items()
        for position, text in enumerate(texts)
    ]
    layout.captions("tiny").parent.mkdir(parents=True)
    captions.write(pa.Table.from_pylist(rows, captions.SCHEMA), layout.captions("tiny"))
    return tmp_path


def content() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FOLDER.iterdir()}


def test_words_that_only_dev_or_test_has_are_no_concepts(folder: Path, capsys: Any) -> None:
    params = write_params(folder, {VOCABULARY: ASKED})
    concepts.main(params, "tiny")
    found = Concepts.load(FOLDER)
    assert set(found.words) == {"man", "shirt", "horse", "dog", "beach", "red", "small", "rides", "running"}
    assert capsys.readouterr().out == (
        "tiny: 9 concepts (5 objects, 2 motions, 2 properties), 32 edges; parts of speech by rules of this project, as nltk's "
        "tagger or WordNet is not there; vectors from the captions themselves\n"
    )
    first = content()
    concepts.main(params, "tiny")
    assert content() == first


def test_other_captions_of_dev_and_test_change_nothing(folder: Path) -> None:
    params = write_params(folder, {VOCABULARY: ASKED})
    concepts.main(params, "tiny")
    first = content()
    rows = captions.read_table(layout.captions("tiny")).to_pylist()
    for row in rows:
        row["text"] = row["text"] if row["split"] == "train" else "a man rides a blue horse"
    captions.write(pa.Table.from_pylist(rows, captions.SCHEMA), layout.captions("tiny"))
    concepts.main(params, "tiny")
    assert content() == first


def test_where_none_are_asked_for_that_is_recorded(folder: Path, capsys: Any) -> None:
    concepts.main(write_params(folder, {VOCABULARY: {"min_count": 1}}), "tiny")
    assert set(content()) == {"files.json"}
    assert capsys.readouterr().out == "tiny: no concepts; datasets.tiny.vocabulary.concepts asks for some\n"
    with pytest.raises(DataError, match="this data set has no concepts"):
        Concepts.load(FOLDER)


def test_vectors_are_gloves_where_the_vocabulary_has_them(folder: Path, capsys: Any) -> None:
    Path("glove.txt").write_text("man 1 2\nhorse 3 4\nzebra 5 6\nriding 9 9\nrides 7 8\n")
    params = write_params(folder, {VOCABULARY: ASKED | {"glove": {"file": "glove.txt", "width": 2}}})
    vocab.main(params, "tiny")
    concepts.main(params, "tiny")
    found = Concepts.load(FOLDER)
    vectors = dict(zip(found.words, found.vectors.tolist(), strict=True))
    assert found.source == "glove"
    assert (
        vectors["man"] == [1, 2]
        and vectors["horse"] == [3, 4]
        and vectors["rides"] == [7, 8]
        and vectors["dog"] == [0, 0]
    )
    assert capsys.readouterr().out.endswith("vectors from GloVe, 6 without one\n")


def test_nltks_tagger_tells_parts_of_speech_where_it_is_there(folder: Path, capsys: Any) -> None:
    write_nltk_folder(layout.NLTK)
    concepts.main(write_params(folder, {VOCABULARY: ASKED}), "tiny")
    assert Concepts.load(FOLDER).tagger == "nltk"
    assert "parts of speech by nltk's tagger and WordNet;" in capsys.readouterr().out


def test_a_damaged_tagger_is_refused_and_old_concepts_stay(folder: Path) -> None:
    params = write_params(folder, {VOCABULARY: ASKED})
    concepts.main(params, "tiny")
    first = content()
    write_nltk_folder(layout.NLTK)
    (layout.NLTK / "corpora/wordnet/noun.exc").write_bytes(b"")
    with pytest.raises(DataError, match=r"data/nltk/corpora/wordnet/noun\.exc: this file is damaged"):
        concepts.main(params, "tiny")
    assert content() == first
    np.testing.assert_array_equal(Concepts.load(FOLDER).graph.sum(1).round(6), 1)
