"""The server: listens, answers until Ctrl-C, and then is gone within seconds."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from itrcore.errors import ConfigError
from itrcore.serving.desk import Desk
from itrcore.serving.limits import CONNECTIONS, HEADERS
from itrcore.terminal import remark

_ENDING = 2.0  # seconds that requests have to end, and then what threads compute


class _Protocol(H11Protocol):
    """Closes connections that send no whole request: uvicorn itself waits for ever, and a few hundred would fill the server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._await_headers()

    def _await_headers(self) -> None:
        before = self.cycle
        self.loop.call_later(HEADERS, lambda: self.transport.close() if self.cycle is before else None)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. `ConfigError` where the port is taken or the address is none of this machine."""
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{host}, port {port}: cannot listen there ({why}); choose another with --port") from None
    return bound


def address(bound: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def _is_an_error(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Cancel ")  # requests that Ctrl-C ends: they are told


def configuration(app: ASGIApp) -> uvicorn.Config:
    """How it is served."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)  # it warns of every request that is not HTTP
    logger.addFilter(_is_an_error)
    return uvicorn.Config(
        app, http=_Protocol, ws="none", lifespan="off", limit_concurrency=CONNECTIONS, timeout_keep_alive=HEADERS,
        # A client could say any address in a header; behind a proxy all clients are one.
        proxy_headers=False, server_header=False, access_log=False, log_config=None,
        timeout_graceful_shutdown=round(_ENDING),
    )  # fmt: skip


def serve(app: ASGIApp, desk: Desk, bound: socket.socket) -> None:
    """Answer until Ctrl-C, and say that it has ended."""
    with suppress(KeyboardInterrupt):
        uvicorn.Server(configuration(app)).run(sockets=[bound])
    desk.close()
    end = time.monotonic() + _ENDING
    while not desk.empty and time.monotonic() < end:
        time.sleep(0.02)
    remark("stopped")
    if not desk.empty:  # nothing stops a thread, and Python would wait for it
        os._exit(0)
