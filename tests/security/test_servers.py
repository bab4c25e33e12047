"""Servers that answer whatever they like: a download ends soon, with one error, and leaves nothing that grows."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from itrcore import limits
from itrcore.errors import DataError, shown
from itrcore.fetch import download as downloading
from itrcore.fetch import parts
from itrcore.fetch.download import download, file_name
from itrcore.fetch.problems import SourceError, WrongContent
from itrcore.files import digest, nameable
from itrcore.settings.downloads import DownloadSettings
from tests.security import hostile
from tests.support.fetch_server import Served, serving


@contextmanager
def answering(*pieces: bytes, endless: bytes = b"") -> Iterator[str]:
    """The address of a server that answers every request with these bytes, and then with `endless` for as long as it is read."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                while endless:
                    connection.sendall(endless)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/f.bin"
    finally:
        listener.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "WAIT", 0.001)


OK = b"HTTP/1.1 200 OK\r\n"
BLOCK = b"x" * (1 << 16)


def test_an_endless_answer_ends_at_the_limit_and_takes_no_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNANNOUNCED", 5_000_000)
    with answering(OK, b"\r\n", endless=BLOCK) as url:
        with pytest.raises(WrongContent, match=r"goes on behind 5,000,000 bytes; give `bytes` in params\.yaml"):
            download(url, tmp_path / "f")
        with pytest.raises(WrongContent, match=r"goes on behind 1,000 bytes$"):
            download(url, tmp_path / "f", bytes=1000)
        with pytest.raises(WrongContent, match=r"goes on behind 2,000 bytes$"):
            download(url, tmp_path / "f", most=2000)
    assert not list(tmp_path.iterdir())


def test_an_announced_size_beyond_the_limit_is_refused_before_a_byte(tmp_path: Path) -> None:
    with answering(OK, b"Content-Length: 3000\r\n\r\n", endless=BLOCK) as url:
        with pytest.raises(WrongContent, match="has 3,000 bytes, more than 2,000"):
            download(url, tmp_path / "f", most=2000)
        assert download(url, tmp_path / "f").bytes == 3000  # what comes behind it is not read


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"X: y\r\n" * 1000 + b"\r\n",
        OK + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /f.bin\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 300 + b"/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a:99999999/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 \x1b[31m OK\r\n\r\n",
        b"HTTP/1.1 404 \x1b[31mred\r\nContent-Length: 0\r\n\r\n",
        b"\x00\x01\x02",
        b"",
    ],
)
def test_a_malformed_answer_is_an_error_of_the_source(tmp_path: Path, answer: bytes) -> None:
    started = time.monotonic()
    with answering(answer) as url, pytest.raises(SourceError) as raised:
        download(url, tmp_path / "f", timeout=1.0)
    assert time.monotonic() - started < 5 and "\n" not in str(raised.value) and len(str(raised.value)) < 1000
    assert "\x1b" not in shown(str(raised.value)) and not (tmp_path / "f").exists()


def test_lengths_that_are_no_numbers_are_not_taken_for_some(tmp_path: Path) -> None:
    for length in (b"-5", b"9" * 5000, "²".encode(), b"1e3"):
        with (
            answering(OK + b"Content-Length: " + length + b"\r\n\r\n" + b"abc") as url,
            suppress(SourceError, DataError),
        ):
            assert download(url, tmp_path / "f").bytes == 3


def test_a_server_that_announces_more_than_any_disk_has_is_refused(tmp_path: Path) -> None:
    with (
        answering(OK + b"Content-Length: 999999999999999999\r\n\r\nabc") as url,
        pytest.raises(DataError, match="bytes free"),
    ):
        download(url, tmp_path / "f")


@pytest.mark.parametrize(
    "path",
    ["%00", "a%00b.zip", "n" * 300, "n" * 300 + ".tar.gz", "%2e%2e", "..", ".", "", "%2Fetc%2Fpasswd", "a%5Cb", "%1b%5b31m",
     "%ff%fe", "a.part", "a.part.json", ".hidden", "CON:", "a%0Ab", "😀" * 100 + ".zip", "%ed%a0%80"],
)  # fmt: skip
def test_whatever_an_address_is_called_its_file_has_a_plain_name(path: str) -> None:
    name = file_name(f"http://a/{path}?x=../y#z")
    assert nameable(f"{name}.part.json") and not set(name) & set("/\\\0\x1b\n") and not name.startswith(".")
    assert not name.endswith((".part", ".part.json")) and (name.endswith(".zip") == path.endswith(".zip"))


def test_files_of_such_names_are_downloaded(tmp_path: Path) -> None:
    names = ["a%00b.txt", "n" * 300 + ".txt", "%1B%5B31mred.txt"]
    with serving(**{name: Served(b"text") for name in names}) as server:
        for number, name in enumerate(names):
            got = parts.fetch("d", {f"p{number}": DownloadSettings(sources=[server.url + name])}, tmp_path)
            ((file, _),) = got[f"p{number}"].items()
            assert (tmp_path / "d" / file).read_bytes() == b"text"


def test_a_note_of_a_download_that_is_not_its_own_is_not_believed(tmp_path: Path) -> None:
    with serving(**{"f.bin": Served(b"text")}) as server:
        for number, (name, data) in enumerate(hostile.json_files(b'{"of": "x", "version": {}}')):
            target = tmp_path / str(number)
            target.with_name(f"{number}.part.json").write_bytes(data)
            target.with_name(f"{number}.part").write_bytes(b"old")
            assert download(server.url + "f.bin", target).bytes == 4, name
        for version in ({"validator": 5, "total": "x"}, {"validator": ["a"]}, {"total": -1}, {"other": 1}, 5, None):
            target = tmp_path / "v"
            target.with_name("v.part.json").write_text(
                json.dumps({"of": digest(server.url + "f.bin"), "version": version})
            )
            target.with_name("v.part").write_bytes(b"old")
            assert download(server.url + "f.bin", target).bytes == 4, version
