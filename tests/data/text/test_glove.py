"""GloVe look-up: the released rule, every packing of the file, and one clear error for what is wrong with it."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from itrcore.data.text.glove import WordVectors, look_up
from itrcore.errors import DataError
from itrcore.files import sha256

LINES = [
    ", 0.5 -0.25 1",
    "the 1 2 3",
    "tshirt 4 5 6",
    "black 7 8 9",
    ". . . 0.1 0.2 0.3",
    "at name@domain.com 0.4 0.5 0.6",
    "mr 1e-2 -1E1 .5",
]


def write(path: Path, lines: list[str] = LINES) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def complaint(path: Path, words: list[str], width: int = 3) -> str:
    with pytest.raises(DataError) as error:
        look_up(path, words, width)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_word_has_its_own_vector_and_one_that_is_not_there_zeros(tmp_path: Path) -> None:
    path = write(tmp_path / "glove.3d.txt")
    looked_up = look_up(path, ["the", "zebra", ",", "mr"], 3)
    assert looked_up.vectors.dtype == np.float32
    np.testing.assert_array_equal(
        looked_up.vectors, np.array([[1, 2, 3], [0, 0, 0], [0.5, -0.25, 1], [0.01, -10, 0.5]], np.float32)
    )
    assert looked_up.found.tolist() == [True, False, True, True]
    assert (looked_up.hit_rate, looked_up.missing(["the", "zebra", ",", "mr"])) == (0.75, ["zebra"])
    assert (looked_up.source, looked_up.sha256) == ("glove.3d.txt", sha256(path))


@pytest.mark.parametrize(
    ("word", "first_value"),
    [
        ("t-shirt", 4),
        ("t.shirt'", 4),
        ("black/white", 7),
        ("bl-ack/the/mr", 7),
        ("/the", 0),
        ("-", 0),
        ("white/black", 0),
    ],
)
def test_a_missing_word_is_tried_again_as_released(tmp_path: Path, word: str, first_value: float) -> None:
    assert look_up(write(tmp_path / "g.txt"), ["the", word], 3).vectors[1, 0] == first_value


def test_the_exact_word_comes_before_its_simplified_form(tmp_path: Path) -> None:
    path = write(tmp_path / "g.txt", ["t-shirt 1 1 1", "tshirt 2 2 2", "black/white 3 3 3"])
    assert look_up(path, ["t-shirt", "tshirt", "black/white"], 3).vectors[:, 0].tolist() == [1, 2, 3]


def test_the_last_of_several_lines_for_a_word_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "g.txt", ["dog 1 1 1", "cat 5 5 5", "dog 2 2 2"])
    assert look_up(path, ["dog"], 3).vectors[0].tolist() == [2, 2, 2]


def test_words_with_spaces_or_other_scripts_are_read_from_the_right(tmp_path: Path) -> None:
    path = write(tmp_path / "g.txt", [*LINES, "caf\u00e9 1 1 1", ".\u00a0. 2 2 2", "a\u0085b 3 3 3"])
    words = [". . .", "at name@domain.com", "caf\u00e9", ".\u00a0.", "a\u0085b"]
    assert look_up(path, words, 3).vectors[:, 0].tolist() == pytest.approx([0.1, 0.4, 1, 2, 3])


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "g.txt"
    path.write_bytes(b"\xff\xfe 1 2 3\ndog 4 5 6 \r\n")  # fastText ends its lines with a space, Windows with \r
    assert look_up(path, ["dog"], 3).vectors[0].tolist() == [4, 5, 6]


@pytest.mark.parametrize("packing", ["txt", "gz", "zip", "zip of several", "header"])
def test_every_packing_gives_the_same_vectors(tmp_path: Path, packing: str) -> None:
    plain = write(tmp_path / "glove.3d.txt")
    path = plain.with_suffix(".zip")
    if packing == "txt":
        path = plain
    elif packing == "gz":
        path = tmp_path / "glove.txt.gz"
        path.write_bytes(gzip.compress(plain.read_bytes()))
    elif packing == "header":
        path = write(tmp_path / "vectors.vec", [f"{len(LINES)} 3", *LINES])
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if packing == "zip of several":
                archive.writestr("glove.13d.txt", "the 1\n")
                archive.writestr("__MACOSX/glove.3d.txt", "x")
            archive.write(plain, "glove.3d.txt")
    words = ["the", "t-shirt", "zebra", ". . ."]
    assert np.array_equal(look_up(path, words, 3).vectors, look_up(plain, words, 3).vectors)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dog 1 2", "line 2: 2 values; expected a word and 3 numbers"),
        ("dog 1 2 3 4", "line 2: 4 values"),
        ("dog 1 two", "line 2: 2 values"),
        ("dog house 1 2 x", "line 2: 4 values"),
        ("", "line 2: 0 values"),
        ("dog 1 two 3", "line 2: could not convert string to float: b'two'"),
        ("dog 1 nan 3", "line 2: a value that is not finite"),
        ("dog 1 1e39 3", "line 2: a value that is not finite"),  # finite in float64 only
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    assert says in complaint(write(tmp_path / "g.txt", ["the 1 2 3", line, "cat 1 2 3"]), ["the", "dog"])


def test_another_width_than_asked_for_is_an_error_not_a_word_with_spaces(tmp_path: Path) -> None:
    path = write(tmp_path / "g.txt")
    assert "line 1: 3 values; expected a word and 2 numbers" in complaint(path, ["the"], 2)
    assert "line 1: 3 values; expected a word and 4 numbers" in complaint(path, ["the"], 4)
    assert "line 1: 3 values for each word" in complaint(write(tmp_path / "h.vec", ["7 3", *LINES]), ["the"], 4)


def test_a_file_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    assert "no such file" in complaint(tmp_path / "none.txt", ["the"])
    assert "none of the 2 words is in it" in complaint(write(tmp_path / "g.txt"), ["le", "chien"])
    gzipped = tmp_path / "cut.gz"
    gzipped.write_bytes(gzip.compress(random.Random(0).randbytes(10_000))[:5_000])
    complaint(gzipped, ["the"])
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress("".join(f"w{i} {i} 2 3\n" for i in range(9999)).encode())[:-9])
    assert "cannot be read past line" in complaint(cut, ["w1"])
    (tmp_path / "bad.zip").write_bytes(b"PK but no archive")
    assert "cannot be read past line 0" in complaint(tmp_path / "bad.zip", ["the"])
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.50d.txt", "x")
        archive.writestr("b.100d.txt", "x")
    assert "holds a.50d.txt, b.100d.txt" in complaint(tmp_path / "other.zip", ["the"])


def test_vectors_are_saved_to_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    looked_up = look_up(write(tmp_path / "g.txt"), ["the", "zebra"], 3)
    digests = set()
    for attempt in range(8):  # two keys of metadata would come in either order
        looked_up.save(tmp_path / f"{attempt}.safetensors")
        digests.add(sha256(tmp_path / f"{attempt}.safetensors"))
    assert len(digests) == 1
    back = WordVectors.load(tmp_path / "0.safetensors")
    assert np.array_equal(back.vectors, looked_up.vectors) and np.array_equal(back.found, looked_up.found)
    assert (back.source, back.sha256) == (looked_up.source, looked_up.sha256)


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_loading_anything_else_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "glove.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"glove\.safetensors: (no such file|not readable)"):
        WordVectors.load(path)


def test_safetensors_of_something_else_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"weights": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="not readable"):
        WordVectors.load(tmp_path / "model.safetensors")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    values = " ".join(["0.12345"] * 300)
    path = tmp_path / "g.txt"
    with open(path, "w") as file:
        file.writelines(f"w{i} {values}\n" for i in range(60_000))  # 144 MB; as floats 72 MB
    program = (
        "import resource, sys; from pathlib import Path; from itrcore.data.text.glove import look_up\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "look_up(Path(sys.argv[1]), ['w1', 'w59999'], 300)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert int(grown) < 30_000  # KiB


def released_rule(words: list[str], known: dict[str, np.ndarray], width: int) -> np.ndarray:
    rows = np.zeros((len(words), width), np.float32)
    for row, word in enumerate(words):
        if word not in known:
            word = word.replace("-", "").replace(".", "").replace("'", "")
            if "/" in word:
                word = word.split("/")[0]
        if word in known:
            rows[row] = known[word]
    return rows


@pytest.mark.parametrize("data", ["f30k", "coco"])
def test_a_released_vocabulary_gets_the_vectors_of_the_released_rule(
    tmp_path: Path, shared_data: Path, data: str
) -> None:
    words = list(
        json.loads((shared_data / "vocab" / f"{data}_precomp_vocab.SGRAF.json").read_text("utf-8"))["word2idx"]
    )
    concepts = json.loads((shared_data / "concepts" / f"{data}_concepts.json").read_text("utf-8"))["words"]
    vectors = np.load(shared_data / "concepts" / f"{data}_concepts.npz")["glove"]
    # The words whose simplified forms a real file has are too rare for 300 concepts: some concepts take their place.
    hyphened = sorted({word.replace("-", "") for word in words if "-" in word[1:-1]})[:50]
    chosen = [*concepts[:200], *hyphened]
    known = dict(zip(chosen, vectors[: len(chosen)], strict=True))
    assert len(set(known) - set(concepts[:200])) > 20
    lines = [f"{word} {' '.join(map(repr, row.tolist()))}" for word, row in known.items()]
    looked_up = look_up(write(tmp_path / "glove.840B.300d.txt", lines), words, 300)
    expected = released_rule(words, known, 300)
    assert np.array_equal(looked_up.vectors, expected) and np.array_equal(looked_up.found, expected.any(axis=1))
