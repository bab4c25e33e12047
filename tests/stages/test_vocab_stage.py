"""Stage vocab: the folder it leaves, what it says of GloVe, and that an error leaves the old folder as it was."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itrcore.data.text.glove import WordVectors
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.files import read_json, sha256
from stages import vocab
from tests.support.tiny_project import prepared, train_in, write_params

FOLDER = Path("data/tiny/vocab")
VOCABULARY = "datasets.tiny.vocabulary"
GLOVE = {"file": "glove.txt", "width": 4}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A project whose data set has captions and no vocabulary yet, as the current folder."""
    shutil.copytree(prepared() / "data", tmp_path / "data", ignore=shutil.ignore_patterns("*.jpg"))
    shutil.rmtree(tmp_path / FOLDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words() -> list[str]:
    return Vocabulary.load(FOLDER / "vocab.json", Path("data/nltk")).words


def write_glove(path: Path, known: list[str], width: int = 4) -> None:
    lines = [" ".join([word, *(str(i + value / 10) for value in range(width))]) for i, word in enumerate(known)]
    path.write_text("\n".join(lines) + "\n")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_what_is_asked_for_is_made(folder: Path, capsys: Any) -> None:
    vocab.main(write_params(folder, {VOCABULARY: {"min_count": 1}}), "tiny")
    assert set(content(FOLDER)) == {"vocab.json", "files.json"}
    assert capsys.readouterr().out == f"tiny: {len(words())} words, captions split without nltk's sentence data\n"


def test_word_pieces_are_those_of_the_captions_in_every_run(folder: Path, capsys: Any) -> None:
    params = write_params(folder)
    vocab.main(params, "tiny")
    first = content(FOLDER)
    pieces = WordPieces.read(FOLDER / "wordpieces.txt")
    assert f"tiny: {len(pieces)} word pieces" in capsys.readouterr().out.splitlines()
    assert len(pieces) <= 200 and "[UNK]" not in pieces.pieces[5:]
    unknown = pieces.pieces.index("[UNK]")
    assert not any(unknown in pieces.encode(word).ids for word in words()[4:])
    vocab.main(params, "tiny")
    assert content(FOLDER) == first
    vocab.main(write_params(folder, {f"{VOCABULARY}.word_pieces.pieces": 150}), "tiny")
    assert len(WordPieces.read(FOLDER / "wordpieces.txt")) <= 150 < len(pieces)


def test_glove_is_looked_up_for_the_words_and_its_hit_rate_is_told_and_kept(folder: Path, capsys: Any) -> None:
    vocab.main(write_params(folder), "tiny")
    known = [word for word in words()[4:] if word != "the"][:20]
    write_glove(Path("glove.txt"), [*known, "nowhere"])
    params = write_params(folder, {f"{VOCABULARY}.glove": GLOVE})
    capsys.readouterr()
    vocab.main(params, "tiny")
    vectors, n = WordVectors.load(FOLDER / "glove.safetensors"), len(words())
    assert vectors.vectors.shape == (n, 4)
    row = words().index(known[7])
    np.testing.assert_allclose(vectors.vectors[row], [7.0, 7.1, 7.2, 7.3], rtol=1e-6)
    record = read_json(FOLDER / "glove.json")
    assert (record["source"], record["sha256"]) == ("glove.txt", sha256(Path("glove.txt")))
    assert record["hit_rate"] == pytest.approx(20 / n)
    assert record["missing"] == [word for word in words() if word not in known]
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"tiny: 20 of {n} words ({100 * 20 / n:.1f} %) have a vector in glove.txt; data/tiny/vocab/glove.json lists the "
        "others"
    )


def test_a_training_starts_from_the_vectors_that_the_stage_found(folder: Path, monkeypatch: Any) -> None:
    vocab.main(write_params(folder), "tiny")
    known = words()[4:]
    write_glove(Path("glove.txt"), known)
    text = {"kind": "bigru", "word_dim": 4, "dropout": 0.0, "init": "glove"}
    frozen = {"learning_rate": 1e-12, "weight_decay": 0.0}  # so that what it ends with is what it began with
    changes = {f"methods.esa.recipe.{key}": value for key, value in frozen.items()}
    params = write_params(folder, {f"{VOCABULARY}.glove": GLOVE, "methods.esa.model.text": text, **changes})
    vocab.main(params, "tiny")
    run = train_in(folder, "one")
    from safetensors.numpy import load_file

    rows = load_file(run / "model.safetensors")["words.embed.weight"]
    np.testing.assert_allclose(rows[4 : 4 + len(known), 0], np.arange(len(known)), atol=1e-6)
    assert {path.name for path in (run / "text").iterdir()} == {"vocab.json"}  # vectors are in the weights


@pytest.mark.parametrize(
    ("glove", "says"),
    [
        (None, r"^glove\.txt: "),
        (["nothing", "here"], r"none of the \d+ words is in it"),
        (3, r"^glove\.txt, line 1: 3 values"),
    ],
    ids=["no file", "other words", "other width"],
)
def test_glove_that_cannot_be_used_leaves_the_old_folder_as_it_was(folder: Path, glove: Any, says: str) -> None:
    vocab.main(write_params(folder), "tiny")
    before = content(FOLDER)
    if glove is not None:
        write_glove(Path("glove.txt"), *([words()[4:], glove] if isinstance(glove, int) else [glove]))
    with pytest.raises(DataError, match=says):
        vocab.main(write_params(folder, {f"{VOCABULARY}.glove": GLOVE, f"{VOCABULARY}.min_count": 2}), "tiny")
    assert content(FOLDER) == before
    assert {path.name for path in FOLDER.parent.iterdir() if "vocab" in path.name} == {"vocab"}


def test_glove_no_longer_asked_for_is_gone(folder: Path) -> None:
    vocab.main(write_params(folder), "tiny")
    write_glove(Path("glove.txt"), words()[4:])
    vocab.main(write_params(folder, {f"{VOCABULARY}.glove": GLOVE}), "tiny")
    assert "glove.json" in content(FOLDER)
    vocab.main(write_params(folder), "tiny")
    assert set(content(FOLDER)) == {"vocab.json", "wordpieces.txt", "files.json"}


def test_a_killed_stage_leaves_the_old_folder(folder: Path, monkeypatch: Any) -> None:
    vocab.main(write_params(folder), "tiny")
    before = content(FOLDER)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WordPieces, "save_vocabulary", killed)
    with contextlib.suppress(KeyboardInterrupt):
        vocab.main(write_params(folder, {f"{VOCABULARY}.min_count": 3}), "tiny")
    assert content(FOLDER) == before
