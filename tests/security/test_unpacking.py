"""What is unpacked within the limits, and that the limits are those that the documentation states."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from itrcore import limits
from itrcore.files import WrongKind, parse_json, read_within
from itrcore.unpacking import gunzipped, is_tar, lines, members, opened_tar, opened_zip
from tests.security import hostile
from tests.support.fetch_server import tar_of, zip_of
from tests.support.project import ROOT

KINDS = ("w", "w:gz", "w:bz2", "w:xz")


def names(path: Path) -> list[str]:
    with opened_tar(path) as archive:
        return [member.name for member in members(archive, path.stat().st_size)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_tar_is_read_whole(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(tar_of({"b/c.txt": b"x" * 1000, "ö" * 60: b"", "d" * 150: b"y"}, kind))
    assert names(tmp_path / "a") == ["b/c.txt", "ö" * 60, "d" * 150] and is_tar(tmp_path / "a")


@pytest.mark.parametrize("name", hostile.tar_files())
def test_no_tar_loops_or_is_more_than_its_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(hostile.tar_files()[name])
    is_tar(path)  # whatever it says, it comes back
    with suppress(tarfile.TarError, ValueError, RecursionError):
        assert len(names(path)) < 10


def test_a_sparse_tar_of_gnu_tar_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("a sparse map without an end", "an old sparse file", "a sparse petabyte"):
        (tmp_path / "a.tar").write_bytes(hostile.tar_files()[name])
        with pytest.raises(tarfile.TarError, match="sparse file"):
            names(tmp_path / "a.tar")


def test_a_packed_file_may_be_much_larger_than_its_bytes_but_not_any_number_of_times(tmp_path: Path) -> None:
    text = b"a man rides a horse\n" * 700_000  # 14 MB from 34 kB
    (tmp_path / "small.gz").write_bytes(gzip.compress(text))
    with gunzipped(tmp_path / "small.gz", limits.TEXT) as unpacked:
        assert unpacked.read() == text
    (tmp_path / "large.gz").write_bytes(hostile.lines_gz(b"a man rides a horse\n", 100))
    with gunzipped(tmp_path / "large.gz", limits.TEXT) as unpacked, pytest.raises(WrongKind, match="unpacks to more"):
        unpacked.read()
    with gunzipped(tmp_path / "small.gz", 1000) as unpacked, pytest.raises(WrongKind, match=r"at most 1,000 bytes"):
        unpacked.read()


def test_archives_are_measured_by_their_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened_zip(io.BytesIO(zip_of({"a": b"x" * 10_000_000}))) as archive:  # below what is allowed at any ratio
        assert len(archive.read("a")) == 10_000_000
    with (
        pytest.raises(WrongKind, match=r"unpack to 209,715,200 or more"),
        opened_zip(io.BytesIO(hostile.zip_bomb("a", 200))),
    ):
        pass
    monkeypatch.setattr(limits, "ENTRIES", 2)
    with (
        pytest.raises(WrongKind, match="it holds 3 entries"),
        opened_zip(io.BytesIO(zip_of(dict.fromkeys("abc", b"")))),
    ):
        pass
    (tmp_path / "a.tar").write_bytes(tar_of(dict.fromkeys("abc", b"")))
    with pytest.raises(WrongKind, match="it holds 3 entries"):
        names(tmp_path / "a.tar")


def test_lines_keep_their_ends_and_have_a_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(lines(io.BytesIO(b"a\r\nb\n\nc"))) == [b"a\r\n", b"b\n", b"\n", b"c"]
    monkeypatch.setattr(limits, "LINE", 4)
    with pytest.raises(WrongKind, match="a longer line"):
        list(lines(io.BytesIO(b"abcde\n")))


def test_json_that_says_one_thing_is_read() -> None:
    assert parse_json(b"\xef\xbb\xbf" + '{"a": [1, -2.5e3, null, true, "é犬\\ud83d\\ude00"]}'.encode()) == {
        "a": [1, -2500.0, None, True, "é犬😀"]
    }
    assert parse_json(f"{'[' * 64}{']' * 64}") and parse_json(str(2**63 - 1)) == 2**63 - 1
    with pytest.raises(ValueError, match="more than 64 objects or lists"):
        parse_json("[" * 65 + "]" * 65)


@pytest.mark.parametrize(("name", "data"), [item for item in hostile.json_files(b'{"a": 1}') if item[0] in {
    *hostile.JSON_VALUES, *(f"{n}, alone" for n in hostile.JSON_VALUES), "empty", "spaces", "UTF-16", "NUL", "two objects"
}])  # fmt: skip
def test_json_that_says_nothing_or_two_things_is_one_kind_of_error(name: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_json(data)
    assert type(raised.value) in (ValueError, json.JSONDecodeError) and len(str(raised.value)) < 200


def test_a_file_beyond_its_limit_is_not_read(tmp_path: Path) -> None:
    path = hostile.big_file(tmp_path / "a.json", 1 << 40)
    with pytest.raises(ValueError, match=r"it has 1,099,511,627,776 bytes, more than 64,000,000"):
        read_within(path, limits.JSON)
    with pytest.raises(ValueError, match="it has 1,001 bytes"):
        read_within(Path("/dev/zero"), 1000)  # a device has no size


def test_the_documentation_states_the_limits() -> None:
    text = (ROOT / "docs/security.md").read_text()
    stated = {
        f"{limits.JSON // 10**6} MB; Karpathy's {limits.KARPATHY // 10**6} MB",
        f"in JSON and YAML | {limits.DEPTH} |",
        f"{limits.YAML:,} bytes; {limits.VALUES:,} values",
        f"{limits.TEXT // 10**9} GB unpacked, {limits.ROWS:,} rows",
        f"footer of a Parquet file | {limits.FOOTER // 10**6} MB",
        f"one line of text | {limits.LINE // 10**6} MB",
        f"word vectors | {limits.VECTORS // 10**9} GB",
        f"picture file | {limits.PICTURE // 10**6} MB",
        f"{limits.RATIO} times the packed size, from {limits.SMALL // 10**6} MB unpacked on; {limits.ENTRIES:,} entries",
        f"{limits.HEADER // 1024} KB",
        f"{limits.UNANNOUNCED // 10**9} GB, unless",
        f"{limits.NAME} bytes; with its folders {limits.PATH:,} characters",
    }
    assert not (lacking := [part for part in stated if part not in text]), lacking
