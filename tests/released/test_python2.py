"""Checkpoints of SCAN's age: a file that Python 2 wrote is read without running anything, and what cannot be is said.

tests/support/python2/scan_t2i_lse.pth.tar was saved by Python 2.7.18 and torch 1.0.0 as SCAN's train.py saves one: the state
dicts of its encoders (img_dim 6, embed_size 4, word_dim 3, 9 words) and its parsed options. Files of other kinds are made
of it by changing single operations of its pickles, which stand in a stream without any offsets.
"""

from __future__ import annotations

import io
import pickletools
import re
from pathlib import Path

import pytest
import torch

from itrcore.data.text.vocabulary import SPECIAL, Vocabulary, WordSplitter
from itrcore.errors import DataError
from itrcore.methods.scan.settings import SCANSettings
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.importing import load
from tests.support.parity_fixtures import ROOT, import_file, published

REAL = ROOT / "tests" / "support" / "python2" / "scan_t2i_lse.pth.tar"
RSUM = b"G@z\xf333333"  # its best_rsum, 431.2
DAMAGED = "damaged, or not a torch file; expected a released checkpoint"
OF_PYTHON_2 = "damaged, or its options hold {}, written by Python 2; expected a released checkpoint"


def changed(path: Path, old: bytes, new: bytes, times: int = 1) -> Path:
    """The real file with `new` in place of `old`, a pattern; still five well-formed pickles and what follows them."""
    data, number = re.subn(old, lambda _: new, REAL.read_bytes(), flags=re.DOTALL)
    assert number == times
    stream = io.BytesIO(data)
    for _ in range(5):
        list(pickletools.genops(stream))
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        Checkpoint.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def test_the_file_is_python_2s() -> None:
    operations = {operation.name for operation, _, _ in pickletools.genops(REAL.read_bytes()[119:])}
    assert {"SHORT_BINSTRING", "LONG1", "BINPERSID", "NEWOBJ", "BUILD", "REDUCE"} <= operations
    assert not {"BINUNICODE", "SHORT_BINUNICODE"} & operations  # of Python 3's strings


def test_it_is_read_in_full() -> None:
    checkpoint = Checkpoint.read(REAL)
    assert (checkpoint.epoch, checkpoint.best_rsum, checkpoint.iterations) == (12, 431.2, 7254)
    told = checkpoint.options
    assert (told["cross_attn"], told["bi_gru"], told["lambda_lse"]) == ("t2i", True, 6.0)
    assert len(told) == 30 and {type(name) for name in told} == {str}
    images, texts = checkpoint.parts
    assert list(images) == ["fc.weight", "fc.bias"] and len(texts) == 9
    assert images["fc.weight"].shape == (4, 6) and texts["rnn.weight_ih_l0_reverse"].shape == (12, 3)
    row = torch.tensor([-0.4876, -0.1961, -0.3019, 0.6693, -0.5021, -0.3566])
    torch.testing.assert_close(images["fc.weight"][0], row, rtol=0, atol=5e-5)
    assert images["fc.bias"].tolist() == [0.0] * 4


def test_it_is_imported_with_the_scales_of_its_options() -> None:
    _, _, sizes = import_file(REAL, published("scan_t2i_lse_bigru"))
    model = sizes.settings.model
    assert isinstance(model, SCANSettings) and (model.dim, sizes.image.width, sizes.n_tokens) == (4, 6, 10)
    assert model.softmax_scale == 9.0 and model.pooling.model_dump() == {"kind": "lse", "scale": 6.0}


def test_an_import_says_the_scales_of_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # without any data
    Vocabulary([*SPECIAL, "a", "man", "on", "the", "bike"], WordSplitter(None)).save(tmp_path / "vocab.json")
    loaded = load(REAL, published("scan_t2i_lse_bigru"), tmp_path / "vocab.json", "f30k")
    assert loaded.summary() == [
        "image encoder: 2 entries used",
        "text encoder: 9 entries used",
        "dimensions 4, region features 6, tokens 10",
        "by its options: softmax_scale 9, pooling.scale 6",
        "saved after epoch 12, best dev rsum 431.2",
    ]


def test_tensors_of_torch_before_0_4_are_read(tmp_path: Path) -> None:
    """`_rebuild_tensor(storage, offset, size, stride)`: without what says whether it needs a gradient, and its hooks."""
    changed(tmp_path / "a", rb"\x89h2\]q.\x85Rq.(?=t)", b"", 11)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "m.pth.tar").write_bytes(data.replace(b"_rebuild_tensor_v2\n", b"_rebuild_tensor\n"))
    assert b"_v2" not in (tmp_path / "m.pth.tar").read_bytes()
    assert_same(tmp_path / "m.pth.tar")


def test_a_file_saved_on_a_gpu_is_read_without_one(tmp_path: Path) -> None:
    changed(tmp_path / "a", rb"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    data = (tmp_path / "a").read_bytes()
    assert data.count(b"U\x03cpu") == 1  # once said, then remembered
    (tmp_path / "m.pth.tar").write_bytes(data.replace(b"U\x03cpu", b"U\x06cuda:0"))
    assert_same(tmp_path / "m.pth.tar")


def test_an_rsum_that_is_a_long_and_a_name_in_unicode_are_read(tmp_path: Path) -> None:
    assert Checkpoint.read(changed(tmp_path / "long", RSUM, b"\x8a\x02\xaf\x01")).best_rsum == 431
    named = changed(tmp_path / "name", rb"U\x07\./data/", b"X\x07\x00\x00\x00./\xc3\xa9t\xc3\xa9")
    assert Checkpoint.read(named).options["data_path"] == "./été"


def assert_same(path: Path) -> None:
    ours, real = Checkpoint.read(path), Checkpoint.read(REAL)
    assert ours.options == real.options
    for mine, theirs in zip(ours.parts, real.parts, strict=True):
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)
        assert {value.device.type for value in mine.values()} == {"cpu"}


def short(text: str) -> bytes:
    """A string as Python 2 writes it."""
    return b"U" + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize(
    ("kind", "named"),
    [("system", "posix.system"), ("eval", "eval"), ("reconstructor", "copyreg._reconstructor"), ("instance", None)],
)
def test_code_in_a_file_of_python_2_is_not_run(kind: str, named: str | None, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    code = {
        "system": b"cposix\nsystem\n" + short(f"touch {target}") + b"\x85R",
        "eval": b"c__builtin__\neval\n" + short(f"open('{target}', 'w')") + b"\x85R",
        "reconstructor": b"ccopy_reg\n_reconstructor\ncargparse\nNamespace\nc__builtin__\nobject\nN\x87R",
        "instance": b"(" + short(f"touch {target}") + b"iposix\nsystem\n",  # a class of the old style
    }
    path = changed(tmp_path / "m.pth.tar", re.escape(RSUM), code[kind])
    said = refusal(path)
    assert said.startswith(f"it wants {named} to be loaded, which could run code; nothing of it" if named else DAMAGED)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists() == (kind != "reconstructor")  # the file did hold it


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (rb"U\x07\./data/", b"T\x2c\x01\x00\x00" + 300 * b"x", OF_PYTHON_2.format("a string of more than 255 bytes")),
        (rb"U\x07\./data/", b"U\x03\xe9t\xe9", OF_PYTHON_2.format("a string that is not UTF-8")),
        (re.escape(RSUM), b"I1099511627776\n", OF_PYTHON_2.format("a whole number of more than 32 bits")),
        (
            re.escape(RSUM),
            b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + short("f8") + b"K\x00K\x01\x87R"
            b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb" + b"U\x0833333\xf3z@\x86R",
            "it wants numpy",
        ),
        (rb"cargparse\nNamespace\n", b"coptparse\nValues\n", "it wants optparse.Values to be loaded"),
    ],
    ids=["long string", "other encoding", "large number", "numpy's number", "another class"],
)  # fmt: skip
def test_what_is_not_read_is_said(old: bytes, new: bytes, said: str, tmp_path: Path) -> None:
    line = refusal(changed(tmp_path / "m.pth.tar", old, new))
    assert line.startswith(said)
    assert "save it again with its weights and plain options alone." in line
