"""A new entry of params.yaml changes no other byte of it: byte order mark, line ends, comments and spacing stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from itrcore.errors import ConfigError
from itrcore.settings.edit import add
from itrcore.settings.load import load
from tests.support.project import ROOT
from tests.support.tiny_project import write_params

ENTRY = {"data": "tiny", "method": "gpo", "seed": 7}
LINE = "new: {data: tiny, method: gpo, seed: 7}"
BOM = b"\xef\xbb\xbf"


ODD = "# a comment  \n\nensembles :   {  }   # none\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_params(tmp_path, {"runs": {}, "ensembles": {}})
    return tmp_path / "params.yaml"


def with_runs(path: Path, runs: str) -> str:
    """A params.yaml whose section `runs` is this text, before a section that is written in an unusual way."""
    text = path.read_text("utf-8")
    assert "\nruns: {}\nensembles: {}\n" in text
    return "# first: 'Straße 犬'  \n" + text.replace("runs: {}\nensembles: {}\n", runs + ODD)


ONE = "one: {data: tiny,   method: esa, seed: 1}"


@pytest.mark.parametrize("mark", [b"", BOM], ids=["", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["Unix", "Windows"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"runs:\n  # one\n  {ONE} # x\n", f"runs:\n  {LINE}\n  # one\n  {ONE} # x\n"),
        (f"runs: # all\n     {ONE}\n", f"runs: # all\n     {LINE}\n     {ONE}\n"),
        ("runs: {}  # none yet\n", f"runs:  # none yet\n  {LINE}\n"),
        (f"runs: {{ {ONE} }}\n", f"runs: {{{LINE},  {ONE} }}\n"),
    ],
)  # fmt: skip
def test_only_the_entry_is_new(path: Path, old: str, new: str, end: str, mark: bytes) -> None:
    path.write_bytes(mark + with_runs(path, old).replace("\n", end).encode())
    before = path.read_bytes()
    add(path, "runs", "new", ENTRY)
    assert path.read_bytes() == before.replace(old.replace("\n", end).encode(), new.replace("\n", end).encode())
    assert load(path).runs["new"].seed == 7


def test_the_last_line_may_have_no_end(path: Path) -> None:
    text = with_runs(path, "") + "runs: {}"
    path.write_text(text, "utf-8")
    add(path, "runs", "new", ENTRY)
    assert path.read_text("utf-8") == text.removesuffix(" {}") + f"\n  {LINE}\n"


@pytest.mark.parametrize("params", ["params.yaml", "experiments/f30k/params.yaml", "experiments/coco/params.yaml"])
def test_the_shipped_files_keep_every_byte(params: str, tmp_path: Path) -> None:
    for link in ("recipes", "nltk.yaml"):
        (tmp_path / link).symlink_to(ROOT / link)
    folder = (tmp_path / params).parent
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / params).write_bytes((ROOT / params).read_bytes())
    data = next(iter(load(tmp_path / params).datasets.values())).model_dump(mode="json", exclude_none=True)
    add(tmp_path / params, "datasets", "mine", data)
    old, new = (ROOT / params).read_bytes(), (tmp_path / params).read_bytes()
    start = old.index(b"\ndatasets:") + len("\ndatasets:")
    start = old.index(b"\n", start) + 1
    assert new.startswith(old[:start] + b"  mine:") and new.endswith(old[start:])


def test_a_section_that_cannot_be_added_to_stays(path: Path) -> None:
    path.write_text(with_runs(path, "profiles: &all {}\nruns: *all\n").replace("profiles: {}\n", ""), "utf-8")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="nothing can be added"):
        add(path, "runs", "new", ENTRY)
    assert path.read_bytes() == before
