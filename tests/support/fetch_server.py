"""A real HTTP server on this machine that can stall, cut, lie, forget ranges and change its file; it counts what it sends."""

from __future__ import annotations

import io
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


def content(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def digest_of(data: bytes) -> str:
    return sha256(data).hexdigest()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def tar_of(files: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Served:
    """One file and how it is served.

    if_range: honour it, as a server must
    cut_at: the connection ends at this byte, as often as `faults`; stall_at: it falls silent there instead
    announced: a Content-Length that is not true; slow: seconds between blocks of 4 kB
    """

    data: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    if_range: bool = True
    status: int = 200
    kind: str = "application/octet-stream"
    cut_at: int | None = None
    stall_at: int | None = None
    faults: int = 10**9
    announced: int | None = None
    slow: float = 0.0
    chunked: bool = False


@dataclass
class Server:
    """Its address, its files by name, and what it was asked: (name, Range header, bytes sent)."""

    url: str
    files: dict[str, Served]
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    before: Callable[[str], None] = lambda _: None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.lstrip("/").partition("?")[0]
        self.before(name)
        wanted = handler.headers.get("Range")
        self.asked.append((name, wanted))
        served = self.files.get(name)
        if served is None or served.status != 200:
            handler.send_response(404 if served is None else served.status)
            handler.send_header("Content-Length", "4")
            handler.end_headers()
            handler.wfile.write(b"gone")
            return
        data, start = served.data, 0
        condition = handler.headers.get("If-Range")
        if wanted and served.ranges and (condition in (None, served.etag) or not served.if_range):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(data)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Type", served.kind)
        if served.etag:
            handler.send_header("ETag", served.etag)
        if served.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            length = len(data) if served.announced is None else served.announced
            handler.send_header("Content-Length", str(length - start))
        handler.end_headers()
        self._body(handler, served, start)

    def _body(self, handler: BaseHTTPRequestHandler, served: Served, start: int) -> None:
        fault = served.cut_at if served.cut_at is not None else served.stall_at
        end = len(served.data)
        if fault is not None and served.faults > 0 and start <= fault:
            served.faults -= 1
            end = fault
        block = 4096 if served.slow else 1 << 16
        for at in range(start, end, block):
            piece = served.data[at : min(at + block, end)]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if served.chunked else piece)
            self.sent += len(piece)
            time.sleep(served.slow)
        if end < len(served.data) and served.stall_at is not None:
            self.release.wait(20)
        elif served.chunked and end == len(served.data):
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True


@contextmanager
def serving(**files: Served) -> Iterator[Server]:
    """A server of the files, `data_zip` under /data.zip and so on."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                state.answer(self)
            except OSError:
                self.close_connection = True  # the client went away

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Server(
        f"http://127.0.0.1:{server.server_port}/", {name.replace("_", "."): served for name, served in files.items()}
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        server.server_close()
