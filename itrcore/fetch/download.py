"""One file over HTTP(S): resumed where it stopped, verified, in place only when it is whole.

Beside the target lie, until it is whole, `<name>.part` and `<name>.part.json`: which version of the file on the server the
bytes are of (its ETag or Last-Modified). A download continues only where the server confirms that version (RFC 9110, 13.1.5),
or where the SHA-256 to be reached is known; bytes of two versions are never joined.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from itrcore import limits
from itrcore.errors import first_line
from itrcore.fetch.problems import SourceError, WrongContent, mismatch, require_room, room_on_disk, wrong_size
from itrcore.files import digest, read_json, write_json
from itrcore.progress import SILENT, Show, Watcher

TRIES = 4  # in a row without a byte more than before
WAIT = 0.5  # seconds before the second try; doubled before each further one
_BLOCK = 1 << 20
_LONGEST = 200  # bytes of a file's name, so that endings and a temporary name's beginning find room
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Downloaded:
    """A whole file: its size in bytes and its SHA-256."""

    bytes: int
    sha256: str


def download(
    url: str,
    target: Path,
    *,
    bytes: int | None = None,
    sha256: str | None = None,
    source: str = "params.yaml",
    timeout: float = 30.0,
    show: Show = SILENT.show,
    most: int | None = None,
) -> Downloaded:
    """Download `url` to `target`; a stalled or cut connection is taken up again, also by a later call after a kill.

    `bytes`, `sha256`: what the file must be, where known, and `source`: what says so, for messages
    `timeout`: seconds without a byte before a connection is given up
    `most`: bytes that the file may have; None: what the server announces, `limits.UNANNOUNCED` where it says nothing
    `show`: called with the file's name, the bytes that are there, and those of the whole file
    One process at a time may write a target; `locked` sees to it. Raises `SourceError` where the server cannot be had or
    gives up again and again (what came is kept for the next call), `WrongContent` where it serves something else, and
    `DataError` where the disk has no room.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    return _Download(url, target, bytes, sha256, source, timeout, show, most).run()


class _Interrupted(Exception):
    """A connection that ended early; `answered`: whether the server was reached."""

    def __init__(self, reason: str, answered: bool) -> None:
        super().__init__(reason)
        self.answered = answered


@dataclass(frozen=True)
class _Version:
    """Which version of the file the bytes so far are of."""

    validator: str | None = None
    total: int | None = None


@dataclass
class _Download:
    """One download; size, digest: what the file must be, where known; see `download`."""

    url: str
    target: Path
    size: int | None
    digest: str | None
    source: str
    timeout: float
    show: Show
    most: int | None

    def __post_init__(self) -> None:
        self.part = self.target.with_name(f"{self.target.name}.part")
        self.note = self.target.with_name(f"{self.target.name}.part.json")
        self.version = self._noted()
        self.hash = hashlib.sha256()

    def run(self) -> Downloaded:
        tries, furthest, resumed = 0, self._have(), self._have() > 0
        while True:
            try:
                self._attempt()
                if resumed and self.digest not in (None, self.hash.hexdigest()):
                    resumed = False  # the bytes from an earlier call may be wrong: once more from the start
                    self._forget()
                    continue
                return self._finish()
            except _Interrupted as error:
                have = self._have()
                tries, furthest = (0, have) if have > furthest else (tries + 1, furthest)
                if tries >= TRIES or not (error.answered or furthest):
                    kept = f"; {have:,} bytes are kept, and the next run continues from them" if have else ""
                    raise SourceError(f"{error}{kept}") from error
                time.sleep(WAIT * 2 ** max(tries - 1, 0))

    def _attempt(self) -> None:
        """One request: from where the file ends to the end, or to where the connection breaks."""
        offset = self._resumable()
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self.version.validator:
                headers["If-Range"] = self.version.validator
        with self._answer(headers) as response:
            start = self._start(response, offset)
            if start is None:  # it ends where this file ends
                return
            total = _length(response, start)
            self._check_size(total)
            blocks = self._blocks(response)
            first = next(blocks, b"")
            self._refuse_page(response, first if start == 0 else b"")
            require_room(self.part.parent, (total or start) - start)
            if start == 0:
                self._begin(_Version(_validator(response), total))
            self._store(start, first, blocks, total)

    @contextmanager
    def _answer(self, headers: dict[str, str]) -> Iterator[Any]:
        import requests

        try:
            response = requests.get(self.url, headers=headers, stream=True, timeout=self.timeout)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise SourceError(first_line(error)) from error
        except requests.RequestException as error:
            answered = isinstance(error, requests.exceptions.ReadTimeout)
            raise _Interrupted(reason(error, self.timeout), answered) from error
        except ValueError as error:  # an address, here or in a redirection, that no part of the client takes
            raise SourceError(f"not an address ({first_line(error)})") from error
        with response:
            if response.status_code in _PASSING:
                raise _Interrupted(f"the server answers {response.status_code} {response.reason}", answered=True)
            yield response

    def _start(self, response: Any, offset: int) -> int | None:
        """Where the answer's bytes belong; None where the file was whole already."""
        status = response.status_code
        if status == 416 and offset:
            whole = response.headers.get("Content-Range", "").rpartition("/")[2]
            if whole == str(offset) and self.version.total in (None, offset):
                self._rehash()
                return None
        elif status == 206 and offset:
            unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
            begin, _, end = rest.partition("-")
            total = end.rpartition("/")[2]
            same = self.version.total is None or total in ("*", str(self.version.total))
            if unit == "bytes" and begin == str(offset) and same and self._same_version(response):
                self._rehash()
                return offset
        elif status == 200:
            return 0
        if status in (206, 416) and offset:  # another version, or a server that miscounts
            self._forget()
            raise _Interrupted("the server cannot go on where the download stopped", answered=True)
        login = "; user and password for it may stand in ~/.netrc" if status == 401 else ""
        raise SourceError(f"the server answers {status} {response.reason}{login}", status)

    def _same_version(self, response: Any) -> bool:
        """False where a server that ignored If-Range gives away that the file has changed."""
        now = _validator(response)
        return now is None or self.version.validator is None or now == self.version.validator

    def _blocks(self, response: Any) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            # Takes what has come without waiting for a whole block; raises where the end comes before Content-Length.
            while block := response.raw.read1(_BLOCK):
                yield block
        except (HTTPError, OSError) as error:
            raise _Interrupted(reason(error, self.timeout), answered=True) from error

    def _store(self, start: int, first: bytes, blocks: Iterator[bytes], total: int | None) -> None:
        """Append the blocks."""
        have, what, shown = start, self.target.name, time.monotonic()
        known = next((size for size in (self.size, self.most, total) if size is not None), None)
        limit = limits.UNANNOUNCED if known is None else known
        hint = f"; give `bytes` in {self.source} for a longer file" if known is None else ""
        with room_on_disk(self.part.parent), open(self.part, "r+b" if start else "wb", buffering=0) as out:
            out.seek(start)
            block: bytes | None = first
            while block:
                written = 0
                while written < len(block):  # a nearly full disk takes a part of it
                    written += out.write(block[written:])
                self.hash.update(block)
                have += len(block)
                if have > limit:
                    self._forget()
                    raise WrongContent(f"what it serves goes on behind {limit:,} bytes{hint}")
                if time.monotonic() - shown > 0.1:
                    self.show(what, have, total)
                    shown = time.monotonic()
                block = next(blocks, None)
        self.show(what, have, total)

    def _finish(self) -> Downloaded:
        have, digest = self._have(), self.hash.hexdigest()
        try:
            self._check_size(have)
            if self.digest not in (None, digest):
                raise mismatch(f"what it serves ({have:,} bytes)", digest, self.digest, self.source)
        except WrongContent:
            self._forget()
            raise
        with open(self.part, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(self.part, self.target)
        self.note.unlink(missing_ok=True)
        return Downloaded(have, digest)

    def _check_size(self, size: int | None) -> None:
        if self.most is not None and (size or 0) > self.most:
            raise WrongContent(f"what it serves has {size:,} bytes, more than {self.most:,}")
        if self.size is not None and size not in (None, self.size):
            raise wrong_size("what it serves", size or 0, self.size, self.source)

    def _refuse_page(self, response: Any, first: bytes) -> None:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        head = first.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
        if kind in ("text/html", "application/xhtml+xml") or head.startswith((b"<!doctype html", b"<html")):
            raise WrongContent(
                f"{response.url} is a web page (HTML), not the file: a log-in, a confirmation, or an error page. Open it in "
                "a browser to see which, and give the address of the file itself"
            )

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _resumable(self) -> int:
        """How many bytes are here from which the download may continue."""
        certain = self.version.validator is not None or self.digest is not None
        return self._have() if certain else 0

    def _rehash(self) -> None:
        with open(self.part, "rb") as handle:
            self.hash = hashlib.file_digest(handle, "sha256")

    def _noted(self) -> _Version:
        try:
            noted = read_json(self.note)
            version = _Version(**noted["version"])
        except (OSError, ValueError, TypeError, KeyError):
            return _Version()
        fits = isinstance(version.validator, str | None) and isinstance(version.total, int | None)
        return version if fits and noted.get("of") == self._address() else _Version()

    def _begin(self, version: _Version) -> None:
        # The note last: it must never speak for bytes of another version.
        self._forget()
        self.version, self.hash = version, hashlib.sha256()
        with room_on_disk(self.part.parent):
            self.part.touch()
            write_json(self.note, {"of": self._address(), "version": asdict(version)})

    def _address(self) -> str:
        return digest(self.url)  # not as it is: it may hold a password

    def _forget(self) -> None:
        self.note.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        self.version = _Version()


@contextmanager
def locked(path: Path, progress: Watcher) -> Iterator[None]:
    """Hold a lock; where another process has it, say so to `progress` and wait."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        progress.say("waiting for another fetch of the same")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_name(url: str) -> str:
    """The last part of an address's path as a file can have it, or `download` where it has none.

    Its end stays where it is too long: it says whether the file is an archive.
    """
    last = unquote(urlsplit(url).path, errors="replace").rpartition("/")[2]
    name = re.sub(r"[^\w .()+,=@~-]", "_", last).strip(" .").encode()[-_LONGEST:].decode(errors="ignore")
    return name if name and not name.endswith((".part", ".part.json")) else f"{name}download"


def _validator(response: Any) -> str | None:
    """What If-Range may carry: a strong ETag, else the date of the last change; nothing for bytes that were compressed."""
    if not _plain(response):
        return None
    tag: str | None = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    date: str | None = response.headers.get("Last-Modified")
    return date


def _length(response: Any, start: int) -> int | None:
    """Bytes of the whole file, where the answer says so."""
    length = response.headers.get("Content-Length", "")
    return start + int(length) if re.fullmatch("[0-9]{1,18}", length) and _plain(response) else None


def _plain(response: Any) -> bool:
    return response.headers.get("Content-Encoding", "").lower() in ("", "identity")


def reason(error: Exception, timeout: float | None = None) -> str:
    """Why a connection broke, in a few words; `timeout`: the seconds without a byte that were allowed, where known."""
    import requests

    if isinstance(error, requests.Timeout | TimeoutError) or "timed out" in str(error).lower():
        return "timed out" + (f": no byte for {timeout:g} seconds" if timeout else "")
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return f"the connection failed ({inner or type(inner).__name__})"
