"""Text files as other systems write them: a byte order mark and Windows' line ends change nothing of what is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itrcore.data import karpathy, scan
from itrcore.data.text import glove
from itrcore.data.text.vocabulary import SPECIAL, Vocabulary, WordSplitter
from itrcore.data.text.wordpieces import WordPieces
from itrcore.own_data import captions as own
from itrcore.settings.load import load
from tests.support.tiny_project import write_params

BOM = b"\xef\xbb\xbf"
KARPATHY = {
    "images": [{"imgid": 0, "filename": "a.jpg", "split": "train", "sentences": [{"sentid": 0, "raw": "a dög"}]}],
    "dataset": "x",
}


def scan_captions(path: Path) -> Any:
    (path.parent / "train_ids.txt").write_bytes(path.read_bytes() and b"0\r\n1\r\n")
    return scan.read_captions(path.parent, "train")


def settings(path: Path) -> Any:
    """What an experiment's files say, each written like `path`."""
    write_params(path.parent)
    like = path.read_bytes()
    for file in (path.parent / "params.yaml", path.parent / "nltk.yaml", *(path.parent / "recipes").iterdir()):
        text = file.read_bytes().replace(b"\n", b"\r\n" if b"\r\n" in like else b"\n")
        file.write_bytes((BOM if like.startswith(BOM) else b"") + text)
    params = load(path.parent / "params.yaml")
    return params.model_dump(), params.nltk, params.method_of("one")


WORDS = [*SPECIAL, "dög"]
VOCABULARY = {
    "word2idx": {word: number for number, word in enumerate(WORDS)},
    "idx2word": dict(enumerate(WORDS)),
    "idx": len(WORDS),
    "tokenizer": WordSplitter(None).description,
}
WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dög", "犬"]
READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "captions": ("train_caps.txt", "a dög\nzwei Hunde\n", scan_captions),
    "own captions": ("c.csv", "image,caption\na.jpg,a dög\nb.jpg,\"two\ndogs\"\n", lambda path: list(own.read(path))),
    "own captions with tabs": ("c.tsv", "image\tcaption\na.jpg\ta dög\n", lambda path: list(own.read(path))),
    "Karpathy's JSON": ("dataset_x.json", json.dumps(KARPATHY, indent=1), karpathy.read),
    "id_mapping": ("id_mapping.json", '{\n"0": "ä.jpg"\n}\n', scan.read_id_mapping),
    "GloVe": ("g.txt", "dög 1 2\n犬 3 4\n", lambda path: glove.look_up(path, ["dög", "犬"], 2).vectors.tolist()),
    "GloVe with a header": ("g.txt", "2 2\ndög 1 2\n犬 3 4\n", lambda path: glove.look_up(path, ["dög"], 2).vectors.tolist()),
    "word pieces": ("vocab.txt", "".join(f"{piece}\n" for piece in WORD_PIECES), lambda path: WordPieces.read(path).pieces),
    "vocabulary": ("v.json", json.dumps(VOCABULARY, indent=1), lambda path: Vocabulary.load(path, Path("nowhere")).words),
    "settings": ("like.txt", "a\n", settings),
}  # fmt: skip


@pytest.mark.parametrize("mark", [b"", BOM], ids=["", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["Unix", "Windows"])
@pytest.mark.parametrize("what", READERS)
def test_what_is_read_is_the_same(what: str, end: bytes, mark: bytes, tmp_path: Path) -> None:
    name, text, read = READERS[what]
    read_of = []
    for folder, content in (("plain", text.encode()), ("other", mark + text.encode().replace(b"\n", end))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
        read_of.append(str(read(tmp_path / folder / name)).replace(r"\r\n", r"\n").replace("/plain", "/other"))
    assert read_of[0] == read_of[1]
