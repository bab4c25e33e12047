"""The Prefect server that a flow reports to: the one that the user's settings name, or one of its own.

Its own is started here and not by Prefect. Prefect's temporary server uses the user's own store, is looked for through a
proxy, gets the terminal's Ctrl-C before the flow has finished with it, and stays where the flow is killed.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, redirect_stderr, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from flows.guardian import end
from flows.targets import guardian
from itrcore.errors import ConfigError, ITRError, first_line
from itrcore.files import remove
from itrcore.terminal import warn

if TYPE_CHECKING:
    from prefect.settings import Settings

_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
HOSTS = "ITR_ALLOWED_HOSTS"  # the variable that names them for flows.guard, with commas
STORE = ".prefect"  # of the server, in a folder that has flows
_PATIENCE = 10.0  # seconds for an answer of the user's server


class Server:
    """The server for a flow. `ITRError` where the one that the user's settings name does not answer."""

    def __init__(self) -> None:
        self._settings = _settings()
        self._process: subprocess.Popen[bytes] | None = None
        if self._settings.api.url is not None:
            _reach(self._settings.api.url)

    @property
    def own(self) -> bool:
        """Whether the settings name none."""
        return self._settings.api.url is None

    def start(self, folder: Path) -> None:
        """Start one that ends with this process, its store in `folder`, if the settings name none. `ITRError` where it does not."""
        if not self.own:
            return
        chosen = self._settings.to_environment_variables(exclude_unset=True)  # in a profile or a file too
        seconds = self._settings.server.ephemeral.startup_timeout_seconds
        # Else a web page that is open in the user's browser could start deployments there.
        password = chosen.setdefault("PREFECT_SERVER_API_AUTH_STRING", f"flow:{secrets.token_urlsafe()}")
        chosen |= {"PREFECT_SERVER_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
        self._process, url = started(folder / STORE, chosen, seconds)
        for name in [name for name in os.environ if name.lower() in _PROXIES]:
            del os.environ[name]  # of this process alone: targets have an environment of their own
        _set(PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=password)

    @property
    def lost(self) -> bool:
        """Whether it was started here and has ended."""
        return self._process is not None and self._process.poll() is not None


def _settings() -> Settings:
    try:
        with redirect_stderr(io.StringIO()):  # wrong ones are told on many lines
            from prefect.settings import get_current_settings  # here, as it takes a second

            return get_current_settings()
    except ValueError as error:
        raise ConfigError(
            f"Prefect does not take its settings (variables PREFECT_…, its profile): {' '.join(str(error).split())}"
        ) from None


def _reach(url: str) -> None:
    """Hand the password over apart from the address, which Prefect prints, and see whether the server answers."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ConfigError("PREFECT_API_URL is not the address of a server, which begins with http:// or https://")
    user, _, host = parts.netloc.rpartition("@")
    if user:
        url = urlunsplit(parts._replace(netloc=host))
        given = os.environ.get("PREFECT_API_AUTH_STRING") or unquote(user if ":" in user else f"{user}:")
        _set(PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=given)
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": _PATIENCE}) as client,
        ):
            error = client.api_healthcheck()
    except Exception as broken:  # whatever is wrong with the address or the proxies
        error = broken
    if error is not None:
        raise ITRError(
            f"Prefect's server at {url} does not answer ({first_line(error)}). Start it, or unset PREFECT_API_URL "
            "(prefect config unset PREFECT_API_URL): the flow then starts a server of its own."
        )


def started(
    store: Path,
    chosen: Mapping[str, str],
    seconds: float,
    app: str = "prefect.server.api.server:create_app",
    address: tuple[str, int] = ("127.0.0.1", 0),
) -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and the address of its API.

    chosen: the user's settings; seconds: how long it may take; app: makes it; address: where it listens, and at which port
    """
    log = store / "server.log"
    for settings in ({"PREFECT_HOME": str(store), **chosen}, {**chosen, "PREFECT_HOME": str(store)}):
        store.mkdir(exist_ok=True)
        old = "PREFECT_HOME" in chosen or (store / "prefect.db").exists()
        process, url = _start(settings, log, app, address)
        if answers(process, f"{url}/health", seconds):
            return process, url
        _stop(process)
        if not old or "PREFECT_SERVER_DATABASE_CONNECTION_URL" in chosen:
            break
        # Perhaps another version of Prefect made the store, or it is damaged. No result depends on it: a new one does.
        warn(
            f"Prefect's server did not start ({said(log.read_text('utf-8', errors='replace'))}): it begins with an empty store."
        )
        aside = store.with_name(".prefect.old")
        remove(aside)
        store.rename(aside)
    raise ITRError(
        f"Prefect's server did not start ({said(log.read_text('utf-8', errors='replace'))}). All that it said is in {log}"
    )


def said(text: str) -> str:
    """The last error in what a process wrote, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ([line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)] or lines or ["nothing"])[-1]


def _start(
    settings: Mapping[str, str], log: Path, app: str, address: tuple[str, int]
) -> tuple[subprocess.Popen[bytes], str]:
    """As Prefect starts its temporary server, but away from the terminal, and on a port that is ours before it runs."""
    command = [sys.executable, "-m", "uvicorn", "--factory", app]
    with listen(*address) as listening, open(log, "wb") as output:
        process = subprocess.Popen(
            [*command, "--fd", str(listening.fileno()), "--log-level", "error", "--lifespan", "on"],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
        guardian().watch(process.pid)
        return process, f"http://{reached_at(address[0])}:{listening.getsockname()[1]}/api"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. `ConfigError` where none can."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(f"{host}, port {port}: {error.strerror}; choose another port") from error


def reached_at(host: str) -> str:
    """Where this machine reaches what listens at a host, as it stands in an address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def answers(
    process: subprocess.Popen[bytes], url: str, seconds: float, headers: Mapping[str, str] | None = None
) -> bool:
    """Whether there is an answer in this time, as long as a process that is needed for it runs. headers: of the request"""
    address, deadline = urlsplit(url), time.monotonic() + seconds
    while process.poll() is None and (left := deadline - time.monotonic()) > 0:
        connection = HTTPConnection(address.netloc, timeout=left)  # heeds no proxy
        with closing(connection), suppress(OSError, HTTPException):
            connection.request("GET", address.path, headers=dict(headers or {}))
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.1)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    end([process.pid], process.poll)
    guardian().release(process.pid)


def _set(**settings: str) -> None:
    from prefect.context import refresh_global_settings_context

    os.environ.update(settings)
    refresh_global_settings_context()
