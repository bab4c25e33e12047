"""What every request passes: who may ask, limits before a body is read, headers of every answer, one form of errors, the log."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext, suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from itrcore.serving.desk import Desk, Refused
from itrcore.serving.limits import JSON, RETRY, Limits

_JSON = "application/json"
_ALWAYS = {
    # Nothing but what this server sends is loaded; pictures that are dropped on the page are shown from the browser's memory.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_DRAINED = 2.0  # seconds for which a body that is too large is thrown away, so that its sender reads why


class Gate:
    """The application behind it, with limits.

    hosts: names that it may be called by, besides addresses and localhost
    log: told of each request as one line of JSON; it quotes no text that was searched
    """

    def __init__(
        self,
        app: ASGIApp,
        desk: Desk,
        limits: Limits,
        hosts: Collection[str] = (),
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._app, self._desk, self._limits, self._log = app, desk, limits, log
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; whatever goes wrong, it is answered, unless its answer has begun."""
        if scope["type"] != "http":
            return
        began, status, size = time.perf_counter(), 0, 0

        async def answer(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            size += len(message.get("body", b""))
            await send(message)

        client = scope["client"][0] if scope.get("client") else "?"
        try:
            await self._pass(scope, receive, answer, client)
        except Refused as refused:
            await problem(refused)(scope, receive, answer)
        except TimeoutError:
            if not status:
                late = Refused(
                    503, f"it took longer than {self._limits.seconds:g} seconds, which is this server's limit", True
                )
                await problem(late)(scope, receive, answer)
        except asyncio.CancelledError:  # whoever had time left has none any more
            if not status:
                await problem(Refused(503, "the server is stopping", True))(scope, receive, answer)
        except ConnectionError:
            pass  # the client is gone
        finally:
            if self._log:
                milliseconds = round(1000 * (time.perf_counter() - began), 1)
                line = {
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "client": client, "method": scope["method"],
                    "path": scope["path"][:200], "status": status, "bytes": size, "milliseconds": milliseconds,
                }  # fmt: skip
                self._log(json.dumps(line))

    async def _pass(self, scope: Scope, receive: Receive, answer: Send, client: str) -> None:
        headers = Headers(scope=scope)
        self._check_origin(headers)
        with self._desk.place(client) if scope["path"].startswith("/api/") else nullcontext():
            async with asyncio.timeout(self._limits.seconds):
                body = await self._body(headers, receive)
                sent = False

                async def replay() -> Message:
                    nonlocal sent
                    if sent:
                        return await receive()
                    sent = True
                    return {"type": "http.request", "body": body, "more_body": False}

                await self._app(scope, replay, answer)

    def _check_origin(self, headers: Headers) -> None:
        """Against pages of other sites that are open in the same browser: they reach a server on 127.0.0.1 too."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Refused(
                421, "this server is not called by that name; open it by its address, or start it with --name"
            )
        origin = headers.get("origin")
        if headers.get("sec-fetch-site") == "cross-site" or (origin and urlsplit(origin).netloc != host):
            raise Refused(403, "pages of other sites may not ask this server")

    def _is_ours(self, host: str) -> bool:
        # A name of a foreign page that was made to point here is none of ours, and no address can be made so (DNS rebinding).
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._hosts:
                return True
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return False

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """All of it. `Refused` where it is too large, by what its header says or by what comes."""
        picture = headers.get("content-type", _JSON).partition(";")[0].strip().lower() != _JSON
        limit = self._limits.upload if picture else JSON
        body, more = bytearray(), True
        declared = headers.get("content-length", "")
        while more and len(body) <= limit and not (declared.isdecimal() and int(declared[:20]) > limit):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if not more and len(body) <= limit:
            return bytes(body)
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAINED):
                while more:
                    message = await receive()
                    more = message.get("more_body", False)
        raise Refused(413, f"too large: more than {limit:,} bytes")


def problem(refused: Refused) -> JSONResponse:
    """The one form of every error."""
    headers = {"retry-after": str(RETRY)} if refused.retry else None
    return JSONResponse({"status": refused.status, "error": refused.why}, refused.status, headers)
