"""One file over HTTP: resumed, verified, never glued together from two versions, never a web page in its place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from itrcore.errors import DataError
from itrcore.fetch import download as module
from itrcore.fetch.download import download
from itrcore.fetch.problems import SourceError, WrongContent
from tests.conftest import ROOT
from tests.support.fetch_server import Served, content, digest_of, serving

DATA, OTHER = content(300_000), content(300_000, seed=1)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_whole_file_arrives_with_its_size_digest_and_progress(tmp_path: Path) -> None:
    seen: list[tuple[object, ...]] = []
    with serving(data_bin=Served(DATA)) as server:
        done = download(
            f"{server.url}data.bin",
            tmp_path / "x",
            sha256=digest_of(DATA),
            bytes=len(DATA),
            show=lambda *shown: seen.append(shown),
        )
    assert (tmp_path / "x").read_bytes() == DATA
    assert (done.bytes, done.sha256) == (len(DATA), digest_of(DATA))
    assert seen[-1] == ("x", len(DATA), len(DATA))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("fault", [{"cut_at": 120_000}, {"stall_at": 120_000}])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_or_stalled_connection_goes_on_where_it_stopped(
    tmp_path: Path, fault: dict[str, int], chunked: bool
) -> None:
    with serving(data_bin=Served(DATA, faults=1, chunked=chunked, **fault)) as server:
        download(f"{server.url}data.bin", tmp_path / "x", timeout=0.5)
        assert (tmp_path / "x").read_bytes() == DATA
        assert server.asked[0][1] is None and server.asked[1][1] is not None
        assert server.sent < len(DATA) + 20_000


def test_a_server_that_cuts_again_and_again_is_read_to_the_end_while_it_gives_more(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA)) as server:

        def cut_further_on(_: str) -> None:
            server.files["data.bin"].cut_at = 30_000 * (len(server.asked) + 1)

        server.before = cut_further_on
        download(f"{server.url}data.bin", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA and len(server.asked) > module.TRIES


def test_a_server_that_gives_up_at_one_place_is_given_up_and_its_bytes_are_kept(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA, cut_at=131_072)) as server:
        with pytest.raises(SourceError, match=r"ended|failed.*kept"):
            download(f"{server.url}data.bin", tmp_path / "x")
        assert not (tmp_path / "x").exists()
        server.files["data.bin"].cut_at = None
        server.asked.clear()
        download(f"{server.url}data.bin", tmp_path / "x")
        assert server.asked == [("data.bin", "bytes=131072-")]
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_server_without_ranges_is_read_from_the_start_again(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA, ranges=False, cut_at=120_000, faults=1)) as server:
        download(f"{server.url}data.bin", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("tag", ['"2"', 'W/"2"', None])
def test_a_file_that_changes_between_two_tries_is_never_glued_together(tmp_path: Path, tag: str | None) -> None:
    with serving(data_bin=Served(DATA, cut_at=120_000)) as server:
        with pytest.raises(SourceError):
            download(f"{server.url}data.bin", tmp_path / "x")
        server.files["data.bin"] = Served(OTHER, etag=tag)
        download(f"{server.url}data.bin", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == OTHER


def test_a_server_that_ignores_if_range_gives_itself_away_by_its_etag(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA, cut_at=120_000)) as server:
        with pytest.raises(SourceError):
            download(f"{server.url}data.bin", tmp_path / "x")
        server.files["data.bin"] = Served(OTHER, etag='"2"', if_range=False)
        download(f"{server.url}data.bin", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == OTHER


def test_without_a_version_to_compare_it_is_read_from_the_start(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA, etag=None, cut_at=120_000)) as server:
        with pytest.raises(SourceError):
            download(f"{server.url}data.bin", tmp_path / "x")
        server.files["data.bin"] = Served(OTHER, etag=None)
        download(f"{server.url}data.bin", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == OTHER


def test_bytes_that_were_damaged_on_this_disk_are_found_by_the_digest_and_fetched_anew(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA, cut_at=120_000)) as server:
        with pytest.raises(SourceError):
            download(f"{server.url}data.bin", tmp_path / "x", sha256=digest_of(DATA))
        part = tmp_path / "x.part"
        part.write_bytes(b"?" + part.read_bytes()[1:])
        server.files["data.bin"].cut_at = None
        download(f"{server.url}data.bin", tmp_path / "x", sha256=digest_of(DATA))
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_file_that_was_whole_but_for_its_name_needs_no_byte_more(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA, cut_at=120_000)) as server:
        with pytest.raises(SourceError):
            download(f"{server.url}data.bin", tmp_path / "x")
        (tmp_path / "x.part").write_bytes(DATA)
        sent = server.sent
        assert download(f"{server.url}data.bin", tmp_path / "x").sha256 == digest_of(DATA)
        assert server.sent == sent


def test_a_server_that_promises_more_than_it_has_is_given_up(tmp_path: Path) -> None:
    with serving(data_bin=Served(DATA, announced=400_000)) as server, pytest.raises(SourceError):
        download(f"{server.url}data.bin", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("announced", [200_000, 300_000])
def test_wrong_bytes_and_wrong_lengths_are_refused_and_not_kept(tmp_path: Path, announced: int) -> None:
    with (
        serving(data_bin=Served(OTHER, announced=announced)) as server,
        pytest.raises(WrongContent, match=r"300,000|sha256"),
    ):
        download(f"{server.url}data.bin", tmp_path / "x", bytes=len(DATA), sha256=digest_of(DATA))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("page", "kind"),
    [(b"<p>Sign in</p>", "text/html; charset=utf-8"), (b"\xef\xbb\xbf\n<!DOCTYPE HTML><html>", "application/zip")],
)
def test_a_web_page_in_place_of_the_file_is_named(tmp_path: Path, page: bytes, kind: str) -> None:
    with serving(data_zip=Served(DATA, cut_at=120_000)) as server:
        with pytest.raises(SourceError):
            download(f"{server.url}data.zip", tmp_path / "x")
        kept = (tmp_path / "x.part").stat().st_size
        server.files["data.zip"] = Served(page, kind=kind, etag=None)
        with pytest.raises(WrongContent, match=r"http://127.*data\.zip is a web page"):
            download(f"{server.url}data.zip", tmp_path / "x")
    assert (tmp_path / "x.part").stat().st_size == kept > 0


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, module.TRIES), (429, module.TRIES)])
def test_an_error_is_asked_again_only_where_it_may_pass(tmp_path: Path, status: int, requests: int) -> None:
    with serving(data_bin=Served(DATA, status=status)) as server:
        with pytest.raises(SourceError, match=str(status)):
            download(f"{server.url}data.bin", tmp_path / "x")
        assert len(server.asked) == requests


def test_a_dead_server_is_given_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 60.0)
    with serving() as server:
        url = server.url
    start = time.monotonic()
    with pytest.raises(SourceError, match="refused"):
        download(f"{url}data.bin", tmp_path / "x", timeout=60)
    assert time.monotonic() - start < 30


def test_a_killed_download_goes_on_where_it_was(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from itrcore.fetch.download import download; "
    code += "download(sys.argv[1], Path(sys.argv[2]))"
    with serving(data_bin=Served(content(2_000_000), slow=0.01)) as server:
        command = [sys.executable, "-c", code, f"{server.url}data.bin", str(tmp_path / "x")]
        process = subprocess.Popen(command, cwd=ROOT)
        while not (tmp_path / "x.part").exists() or (tmp_path / "x.part").stat().st_size < 200_000:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = (tmp_path / "x.part").stat().st_size
        server.files["data.bin"].slow = 0
        server.asked.clear()
        download(f"{server.url}data.bin", tmp_path / "x")
        assert server.asked == [("data.bin", f"bytes={kept}-")]
    assert (tmp_path / "x").read_bytes() == content(2_000_000)


def test_a_file_too_large_for_the_disk_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    too_much = pytest.raises(DataError, match=r"bytes free; expected 1,000,000,000,000,000")
    with serving(data_bin=Served(DATA, announced=10**15)) as server, too_much:
        download(f"{server.url}data.bin", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_is_one_clear_error_and_what_came_is_kept(tmp_path: Path) -> None:
    """The file size limit of a process gives the kernel's refusal in the middle of a write, on any machine."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from itrcore.errors import DataError; "
        "from itrcore.fetch.download import download; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: download(sys.argv[1], Path(sys.argv[2]))\n"
        "except DataError as error: print(error)"
    )
    with serving(data_bin=Served(DATA)) as server:
        done = subprocess.run(
            [sys.executable, "-c", code, f"{server.url}data.bin", str(tmp_path / "x")],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert "the disk is full" in done.stdout and "Make room" in done.stdout, done.stderr
        assert (tmp_path / "x.part").stat().st_size == 100_000
        server.asked.clear()
        download(f"{server.url}data.bin", tmp_path / "x")
        assert server.asked == [("data.bin", "bytes=100000-")]
    assert (tmp_path / "x").read_bytes() == DATA
