"""Tokens out of their file are those that tokenising gives; a file of anything else is never used."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest

from itrcore import announce, code
from itrcore.data.feeding import kept_tokens
from itrcore.data.feeding.kept_tokens import tokens_of
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.text.clip_tokens import Stripped
from itrcore.data.text.tokens import Tokeniser
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.data.text.wordpieces import WordPieces
from tests.support.clip_data import CAPTIONS as CLIP_CAPTIONS
from tests.support.clip_data import small as clip_tokens
from tests.support.project import ROOT

CAPTIONS = [f"{caption} {number}" for number, caption in enumerate(CLIP_CAPTIONS)]


def words(captions: list[str] = CAPTIONS) -> Vocabulary:
    return Vocabulary.build(captions, 1, WordSplitter(None))


def pieces() -> WordPieces:
    return WordPieces.train(CAPTIONS, 60, 1)


TOKENISERS = {
    "words": words,
    "pieces": pieces,
    "pieces with a limit": lambda: pieces().limited(6),
    "clip": lambda: clip_tokens().limited(12),
    "clip, stripped": lambda: Stripped(clip_tokens(), "."),
}


def arrays(table: TokenTable) -> list[list[int]]:
    assert [array.dtype for array in (table.ids, table.words, table.starts)] == [np.int32, np.int32, np.int64]
    return [array.tolist() for array in (table.ids, table.words, table.starts)]


def truth(captions: list[str], tokeniser: Tokeniser) -> list[list[int]]:
    return arrays(TokenTable.of(map(tokeniser.encode, captions)))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "tokens" / "train-words.safetensors"


class Unused:
    """Raises where captions are tokenised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tokeniser: Tokeniser) -> None:
        monkeypatch.setattr(type(tokeniser), "encode", self.encode)

    def encode(self, caption: str) -> None:
        raise AssertionError(f"{caption!r} is tokenised again")


@pytest.mark.parametrize("name", TOKENISERS)
def test_the_same_tokens_come_from_the_file(name: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokeniser = TOKENISERS[name]()
    right = truth(CAPTIONS, tokeniser)
    assert arrays(tokens_of(CAPTIONS, tokeniser)) == right
    assert arrays(tokens_of(CAPTIONS, tokeniser, kept)) == right
    tokeniser = TOKENISERS[name]()  # another object of the same
    Unused(monkeypatch, tokeniser)
    table = tokens_of(CAPTIONS, tokeniser, kept)
    assert arrays(table) == right and table.ids.flags.writeable
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_what_decides_tokens_decides_whether_they_are_used(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change in turn; what it makes takes the place of what was there."""
    more = words([*CAPTIONS, "unseen words"])
    changes: list[tuple[list[str], Tokeniser]] = [
        (CAPTIONS, words()),
        ([*CAPTIONS[:-1], "A man rides."], words()),
        (CAPTIONS[::-1], words()),
        (CAPTIONS[:-1], words()),
        ([*CAPTIONS[:-2], CAPTIONS[-2] + CAPTIONS[-1], ""], words()),
        (CAPTIONS, Vocabulary([*more.words[:4], *more.words[:3:-1]], WordSplitter(None))),
        (CAPTIONS, pieces()),
        (CAPTIONS, pieces().limited(6)),
        (CAPTIONS, pieces().limited(5)),
        (CAPTIONS, clip_tokens()),
        (CAPTIONS, clip_tokens().limited(6)),
        (CAPTIONS, Stripped(clip_tokens(), "")),
        (CAPTIONS, Stripped(clip_tokens(), "0")),
        (CAPTIONS, words()),
    ]
    for captions, tokeniser in changes:
        before = kept.read_bytes() if kept.exists() else b""
        assert arrays(tokens_of(captions, tokeniser, kept)) == truth(captions, tokeniser)
        assert kept.read_bytes() != before
    assert len(list(kept.parent.iterdir())) == 1


@pytest.mark.parametrize("what", ["code", "nltk", "tokenizers"])
def test_other_code_and_other_libraries_tokenise_again(what: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens_of(CAPTIONS, words(), kept)
    before = kept.read_bytes()
    if what == "code":
        of = code.of
        monkeypatch.setattr(code, "of", lambda *entries: {**of(*entries), "itrcore.data.text.vocabulary": "0"})
        assert "itrcore.data.text.vocabulary" in of("itrcore.data.text.vocabulary")
    else:
        version = kept_tokens.version
        monkeypatch.setattr(kept_tokens, "version", lambda name: "0" if name == what else version(name))
    assert arrays(tokens_of(CAPTIONS, words(), kept)) == truth(CAPTIONS, words())
    assert kept.read_bytes() != before


def test_no_damaged_file_is_used(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = truth(CAPTIONS, words())
    tokens_of(CAPTIONS, words(), kept)
    whole, random = kept.read_bytes(), Random(0)
    damaged = {"nothing": b"", "text": b"captions", "half": whole[: len(whole) // 2], "longer": whole + b"\0"}
    for place in [*range(0, 600, 7), *range(600, len(whole), 53)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.randrange(8)
        damaged[f"bit of {place}"] = bytes(flipped)
    quiet = 0
    for what, data in damaged.items():
        kept.write_bytes(data)
        capsys.readouterr()
        assert arrays(tokens_of(CAPTIONS, words(), kept)) == right, what
        quiet += "damaged" not in capsys.readouterr().err
        assert kept.read_bytes() == whole, what
    assert not quiet


def test_what_takes_long_is_said(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(announce, "PATIENCE", 0.01)
    encode = Vocabulary.encode
    monkeypatch.setattr(Vocabulary, "encode", lambda self, caption: (time.sleep(0.02), encode(self, caption))[1])
    tokens_of(CAPTIONS, words(), kept)
    assert capsys.readouterr().out == "Splitting 9 captions into tokens\n"


def test_a_folder_in_its_place_does_not_stop_anything(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept.mkdir(parents=True)
    for _ in range(2):
        assert arrays(tokens_of(CAPTIONS, words(), kept)) == truth(CAPTIONS, words())
    kept.parent.joinpath("file").write_text("")
    below = kept.parent / "file" / kept.name
    capsys.readouterr()
    assert arrays(tokens_of(CAPTIONS, words(), below)) == truth(CAPTIONS, words())
    assert f"{below}: cannot be written" in capsys.readouterr().err


@contextmanager
def no_room(bytes_: int) -> Iterator[None]:
    """A file may have no more bytes."""
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_disk_without_room_is_a_warning(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with no_room(500):
        table = tokens_of(CAPTIONS, words(), kept)
    assert arrays(table) == truth(CAPTIONS, words())
    said = capsys.readouterr().err
    assert f"warning: {kept}: cannot be written" in said and len(said.splitlines()) == 1
    assert list(kept.parent.iterdir()) == []


_OFTEN = """
import sys
from pathlib import Path
from itrcore.data.feeding.kept_tokens import tokens_of
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter

captions = [f"the word {number} of {sys.argv[2]}" for number in range(50)]
vocabulary = Vocabulary.build(captions, 1, WordSplitter(None))
for _ in range(100):
    table = tokens_of(captions, vocabulary, Path(sys.argv[1]))
    assert [table.ids_of(row).tolist() for row in range(50)] == [vocabulary.encode(caption).ids for caption in captions]
"""


def test_processes_that_keep_other_tokens_in_one_file_each_get_their_own(kept: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", _OFTEN, str(kept), name], cwd=ROOT) for name in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
