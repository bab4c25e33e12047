"""Prefect's server for `itr up`: python -m uvicorn --factory flows.guard:server. It heeds who calls it, and by what name."""

from __future__ import annotations

import os
from collections.abc import Collection
from urllib.parse import urlsplit

from prefect.server.api.server import create_app
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.server import HOSTS


class Guard:
    """Refuses what calls the server by a name that is not its own, and what pages of other sites send.

    Prefect answers both. So a page that is open in a browser here could start deployments, which are programs: one of another
    site, or one whose own name is made to point to this machine (DNS rebinding). Pages open WebSockets to any site, too.
    hosts: names with ports, as the header Host has them
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan" or self._knows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            refused = PlainTextResponse("this server has another name, or the page that asks is another's", 403)
            await refused(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = [
            (key, value.decode("latin-1").lower()) for key, value in scope["headers"] if key in (b"host", b"origin")
        ]
        hosts = [value for key, value in given if key == b"host"]
        origins = [urlsplit(value).netloc for key, value in given if key == b"origin"]  # "null" has none
        return len(hosts) == 1 and self._hosts.issuperset([*hosts, *origins])


def server() -> Guard:
    """Prefect's server behind the guard."""
    return Guard(create_app(), os.environ[HOSTS].split(","))
