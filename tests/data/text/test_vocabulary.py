"""The vocabulary: SCAN's rule, SCAN's JSON, and captions always tokenised the way their vocabulary was."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from itrcore.data import scan
from itrcore.data.text import punkt, vocabulary
from itrcore.data.text.tokens import PAD
from itrcore.data.text.vocabulary import END, SPECIAL, START, UNKNOWN, Vocabulary, WordSplitter, splitter_for
from itrcore.errors import DataError
from itrcore.settings.downloads import PunktSettings
from tests.support.scan_data import PUNKT_FILES, write_punkt_folder

CAPTIONS = [
    "A man rides. A dog runs after Mr. Smith.",
    "a Man's dog; the dog doesn't RUN.",
    "The dog, the man & the café!",
    "man dog man dog the the rides.",
    "<pad> <unk> the dog rides.",
]


def fetched(folder: Path, source: Path, files: list[str] | None = None) -> Path:
    """nltk's folder as the stage makes it from `source`."""
    inside = source / "tokenizers" / "punkt_tab" / "english"
    names = files or sorted(path.name for path in inside.iterdir())
    digests = {name: sha256((inside / name).read_bytes()).hexdigest() for name in names}
    punkt.fetch(PunktSettings(sources=[str(source)], sha256="0" * 64, files=digests, timeout=1.0), folder)
    return folder


@pytest.fixture
def with_data(tmp_path: Path) -> Path:
    return fetched(tmp_path / "with", write_punkt_folder(tmp_path / "nltk_data"))


@pytest.fixture
def without_data(tmp_path: Path) -> Path:
    punkt.fetch(PunktSettings(sources=[], sha256="0" * 64, files={}, timeout=1.0), tmp_path / "without")
    return tmp_path / "without"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A file as SCAN's code writes it: three keys, nothing on the splitter."""
    words = [*SPECIAL, "dog", "rides", "."]
    value = {"word2idx": {w: i for i, w in enumerate(words)}, "idx2word": dict(enumerate(words)), "idx": len(words)}
    path = tmp_path / "released.json"
    path.write_text(json.dumps(value))
    return path


def scan_rule(captions: list[str], min_count: int, splitter: WordSplitter) -> list[str]:
    """SCAN's vocab.py said slowly: every token in reading order, kept where it occurs often enough."""
    tokens = [token for caption in captions for token in splitter(caption)]
    words: list[str] = list(SPECIAL)
    for token in tokens:
        if tokens.count(token) >= min_count and token not in words:
            words.append(token)
    return words


# The rule


@pytest.mark.parametrize("min_count", [1, 2, 4])
@pytest.mark.parametrize("data", ["with_data", "without_data"])
def test_equals_scans_rule_said_slowly(min_count: int, data: str, request: pytest.FixtureRequest) -> None:
    splitter = splitter_for(request.getfixturevalue(data))
    built = Vocabulary.build(CAPTIONS, min_count, splitter)
    assert built.words == scan_rule(CAPTIONS, min_count, splitter)


def test_the_bound_is_inclusive_and_order_is_that_of_first_appearance() -> None:
    built = Vocabulary.build(["zebra apple zebra", "apple cat zebra apple cat apple zebra"], 4, WordSplitter(None))
    assert built.words == [*SPECIAL, "zebra", "apple"]


def test_special_tokens_have_scans_ids() -> None:
    assert SPECIAL == ("<pad>", "<start>", "<end>", "<unk>") and (PAD, START, END, UNKNOWN) == (0, 1, 2, 3)


def test_encodes_with_start_end_and_unknown() -> None:
    vocabulary = Vocabulary([*SPECIAL, "a", "dog", "."], WordSplitter(None))
    assert vocabulary.encode("A DOG flies.") == ([1, 4, 5, 3, 6, 2], [-1, 0, 1, 2, 3, -1])
    assert vocabulary.encode("") == ([1, 2], [-1, -1])


def test_captions_without_a_frequent_word_are_an_error() -> None:
    with pytest.raises(DataError, match=r"no word occurs 3 times .* lower vocabulary\.min_count"):
        Vocabulary.build(["a dog runs"], 3, WordSplitter(None))


@pytest.mark.parametrize("words", [["a", "b"], [*SPECIAL, "a", "a"], ["<start>", "<pad>", "<end>", "<unk>"]])
def test_words_without_the_special_ones_first_or_with_one_twice_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="starts with"):
        Vocabulary(words, WordSplitter(None))


def test_sentence_data_change_full_stops_inside_a_caption_only(with_data: Path, without_data: Path) -> None:
    split, whole = splitter_for(with_data), splitter_for(without_data)
    assert split("A man rides. A dog runs.") == ["a", "man", "rides", ".", "a", "dog", "runs", "."]
    assert whole("A man rides. A dog runs.") == ["a", "man", "rides.", "a", "dog", "runs", "."]
    assert split("with mr. smith, who isn't") == ["with", "mr.", "smith", ",", "who", "is", "n't"]  # a known short form
    assert split("One dog runs.") == whole("One dog runs.")


# The file


def test_scans_reader_accepts_the_file(with_data: Path, tmp_path: Path) -> None:
    """SCAN's deserialize_vocab takes word2idx, idx2word and idx; its models ask for len(word2idx)."""
    built = Vocabulary.build(CAPTIONS, 2, splitter_for(with_data))
    built.save(tmp_path / "vocab.json")
    data = json.loads((tmp_path / "vocab.json").read_text("utf-8"))
    assert data["idx"] == len(data["word2idx"]) == len(data["idx2word"]) == len(built)
    assert all(data["idx2word"][str(i)] == word for word, i in data["word2idx"].items())
    assert [data["word2idx"].get(token, 3) for token in ("<start>", "dog", "zzz", "<end>")] == [
        1, built.ids["dog"], 3, 2,
    ]  # fmt: skip


@pytest.mark.parametrize("data", ["with_data", "without_data"])
def test_reads_back_what_it_saved(data: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(data)
    built = Vocabulary.build(CAPTIONS, 1, splitter_for(folder))
    built.save(tmp_path / "vocab.json")
    loaded = Vocabulary.load(tmp_path / "vocab.json", folder)
    assert loaded.words == built.words and loaded.splitter.description == built.splitter.description
    assert [loaded.encode(caption) for caption in CAPTIONS] == [built.encode(caption) for caption in CAPTIONS]
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "vocab.json").read_bytes()


def test_a_released_file_is_read_and_tokenised_with_sentence_data(released: Path, with_data: Path) -> None:
    vocabulary = Vocabulary.load(released, with_data)
    assert len(vocabulary) == 7
    assert vocabulary.encode("Dog rides. Dog rides.").ids == [1, 4, 5, 6, 4, 5, 6, 2]
    assert vocabulary.splitter.description["sentence_data"] == punkt.data_digest(with_data)


def test_a_released_file_without_sentence_data_is_an_error(released: Path, without_data: Path) -> None:
    with pytest.raises(DataError, match=r"released\.json: this vocabulary was made with nltk's sentence splitting, .*"):
        Vocabulary.load(released, without_data)


def test_built_without_sentence_data_says_so_and_stays_so_when_data_appear(
    without_data: Path, with_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "vocab.json"
    built = Vocabulary.build(CAPTIONS, 1, splitter_for(without_data))
    built.save(path)
    described = json.loads(path.read_text("utf-8"))["tokenizer"]
    assert described == {
        "name": "nltk.NLTKWordTokenizer", "lower": True, "sentence_split": False, "sentence_data": None,
    }  # fmt: skip
    later = Vocabulary.load(path, with_data)
    assert later.splitter(CAPTIONS[0]) == built.splitter(CAPTIONS[0]) and "rides." in later.splitter(CAPTIONS[0])


def test_missing_sentence_data_are_an_error_that_says_what_to_do(
    with_data: Path, without_data: Path, tmp_path: Path
) -> None:
    Vocabulary.build(CAPTIONS, 1, splitter_for(with_data)).save(tmp_path / "vocab.json")
    for folder in (without_data, tmp_path / "absent"):
        with pytest.raises(DataError, match=rf"sentence data is missing in {folder}.*sources in nltk\.yaml"):
            Vocabulary.load(tmp_path / "vocab.json", folder)


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_sentence_data_that_dvc_linked_into_its_cache_are_read(
    with_data: Path, tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    """As it takes outputs out of its cache; nltk itself refuses files that have a second name."""
    before = splitter_for(with_data)(CAPTIONS[0])
    (tmp_path / "cache").mkdir()
    for path in [path for path in with_data.rglob("*") if path.is_file()]:
        kept = path.rename(tmp_path / "cache" / path.name)
        link(kept, path)
    assert splitter_for(with_data)(CAPTIONS[0]) == before


def test_other_sentence_data_are_an_error(with_data: Path, tmp_path: Path) -> None:
    Vocabulary.build(CAPTIONS, 1, splitter_for(with_data)).save(tmp_path / "vocab.json")
    files = {**PUNKT_FILES, "abbrev_types.txt": b"dr\nmr\nrides\n"}
    other = fetched(tmp_path / "other", write_punkt_folder(tmp_path / "nltk_other", files))
    with pytest.raises(DataError, match="its sentence data is another one"):
        Vocabulary.load(tmp_path / "vocab.json", other)


def test_incomplete_sentence_data_are_an_error_of_ours(with_data: Path) -> None:
    for path in (with_data / "tokenizers").rglob("*.t*"):
        path.unlink()
    (with_data / "tokenizers" / "punkt_tab" / "english").rmdir()
    with pytest.raises(DataError, match="incomplete"):
        splitter_for(with_data)


@pytest.mark.parametrize(
    "change",
    [
        {"word2idx": None},
        {"idx2word": {"0": "<pad>"}},
        {"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "dog": 5, "rides": 4, ".": 6}},
        {"tokenizer": {"name": "mine"}},
        {"tokenizer": "nltk"},
    ],
)
def test_a_file_that_contradicts_itself_is_named(released: Path, with_data: Path, change: dict[str, Any]) -> None:
    released.write_text(json.dumps({**json.loads(released.read_text()), **change}))
    with pytest.raises(DataError, match=r"released\.json: not a vocabulary"):
        Vocabulary.load(released, with_data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"idx2word": {"0": "<pad>", "1": None}}, "word 1 of idx2word is null; expected text. Take the file"),
        ({"idx2word": {"0": 5}}, "word 0 of idx2word is 5; expected text"),
        ({"word2idx": {"<pad>": 0, "<start>": True, "<end>": 2, "<unk>": 3, "dog": 4, "rides": 5, ".": 6}}, "disagree"),
        (
            {"tokenizer": {"sentence_split": None, "sentence_data": None}},
            "sentence_split of tokenizer is None; expected",
        ),
        (
            {"tokenizer": {"sentence_split": False, "sentence_data": 5}},
            "sentence_data of tokenizer is 5; expected text",
        ),
        ({"tokenizer": None}, "not a vocabulary"),
        ({"tokenizer": []}, "not a vocabulary"),
    ],
)
def test_null_or_a_number_is_never_taken_for_text(
    released: Path, with_data: Path, change: dict[str, Any], message: str
) -> None:
    released.write_text(json.dumps({**json.loads(released.read_text()), **change}))
    with pytest.raises(DataError, match=rf"released\.json: .*{message}"):
        Vocabulary.load(released, with_data)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'"word2idx"'])
def test_a_file_that_is_no_vocabulary_is_named(tmp_path: Path, with_data: Path, content: bytes) -> None:
    (tmp_path / "vocab.json").write_bytes(content)
    with pytest.raises(DataError, match=r"vocab\.json: not a vocabulary"):
        Vocabulary.load(tmp_path / "vocab.json", with_data)
    with pytest.raises(DataError, match="no such file"):
        Vocabulary.load(tmp_path / "absent.json", with_data)


def test_a_file_whose_first_words_are_not_the_special_ones_is_named(released: Path, with_data: Path) -> None:
    words = ["dog", *SPECIAL]
    released.write_text(
        json.dumps({"word2idx": {w: i for i, w in enumerate(words)}, "idx2word": dict(enumerate(words))})
    )
    with pytest.raises(DataError, match=r"released\.json: its first words are not the special tokens"):
        Vocabulary.load(released, with_data)


# Real captions


@pytest.fixture
def real_nltk(shared_data: Path, tmp_path: Path) -> Path:
    return fetched(tmp_path / "nltk", shared_data / "tokenizers" / "nltk_data")


def real_captions(shared_data: Path, split: str) -> list[str]:
    return [caption for group in scan.read_captions(shared_data / "f30k_scan", split)[1] for caption in group]


def test_tokens_of_real_captions_are_those_of_nltks_word_tokenize(
    shared_data: Path, real_nltk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nltk

    splitter = splitter_for(real_nltk)
    monkeypatch.setattr(nltk.data, "path", [str(shared_data / "tokenizers" / "nltk_data")])
    captions = [caption for split in ("dev", "test") for caption in real_captions(shared_data, split)]
    # All with a mark that could end a sentence inside (where the two could differ), and some of the rest.
    several = [caption for caption in captions if any(mark in caption[:-1] for mark in ".?!")]
    assert len(several) > 20
    for caption in [*several, *captions[::20]]:
        assert splitter(caption) == nltk.word_tokenize(caption.lower())


@pytest.mark.slow
def test_flickr30ks_vocabulary_is_the_released_one(shared_data: Path, real_nltk: Path) -> None:
    """It differs from either released copy by no other words than those in which the two copies differ themselves."""
    captions = [*real_captions(shared_data, "train"), *real_captions(shared_data, "dev")]
    built = set(Vocabulary.build(captions, 4, splitter_for(real_nltk)).words)
    first, second = (
        set(Vocabulary.load(path, real_nltk).words)
        for path in sorted((shared_data / "vocab").glob("f30k_precomp_vocab.*.json"))
    )
    assert built ^ first <= first ^ second and built ^ second <= first ^ second
    assert len(first ^ second) <= 3


def test_many_captions_are_counted_in_processes_as_a_few_are_in_this_one(
    with_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order of first appearance included: ids follow from it."""
    rng = random.Random(3)
    captions = [" ".join(rng.choices([f"w{i}" for i in range(300)], k=6)) + ". End" for _ in range(200)]
    plain = Vocabulary.build(captions, 2, splitter_for(with_data)).words
    monkeypatch.setattr(vocabulary, "_PART", 40)
    assert Vocabulary.build(captions, 2, splitter_for(with_data)).words == plain
