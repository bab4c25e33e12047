"""Who may reach the servers of `itr up`: where they listen, what they may be called, and the password that they ask for."""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import psutil

from flows.server import reached_at
from itrcore.errors import ConfigError

USER = "itr"  # who has the password


class Access:
    """host: the address to listen on; names: others by which this machine is called; folder: where the password lies

    auth: whether they ask for it; None: if others can reach them. `ConfigError` where host is no address.
    """

    def __init__(self, host: str, names: Sequence[str], auth: bool | None, folder: Path) -> None:
        self.host, self._names, self._folder = host, [name.lower() for name in names], folder
        try:
            self.beyond = not (host == "localhost" or ipaddress.ip_address(host).is_loopback)
        except ValueError:
            raise ConfigError(f"--host: {host!r} is no address, such as 0.0.0.0; names are for --name") from None
        self.auth = self.beyond if auth is None else auth

    @cached_property
    def password(self) -> str | None:
        """Made at the first use; only the user can read it."""
        path = self._folder / "password"
        if not self.auth:
            return None
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(secrets.token_urlsafe())
        return path.read_text("utf-8").strip()

    @property
    def for_prefect(self) -> str | None:
        """User and password, as Prefect's settings have them: the user's own where they are not `itr up`'s."""
        return f"{USER}:{self.password}" if self.password else os.environ.get("PREFECT_SERVER_API_AUTH_STRING")

    @property
    def header(self) -> dict[str, str]:
        """What tells Prefect's server."""
        known = self.for_prefect
        return {"Authorization": f"Basic {base64.b64encode(known.encode()).decode()}"} if known else {}

    def hosts(self, port: int) -> list[str]:
        """What a server may be called, as the header Host has it; names that the user gives also without the port."""
        own = {"127.0.0.1", "localhost", reached_at(self.host), *self._names}
        if self.beyond:
            own.add(socket.gethostname().lower())
        if self.host in ("0.0.0.0", "::"):
            families = (socket.AF_INET, socket.AF_INET6)
            every = [each for addresses in psutil.net_if_addrs().values() for each in addresses]
            own |= {reached_at(each.address.partition("%")[0]) for each in every if each.family in families}
        return [*sorted(f"{name}:{port}" for name in own), *self._names]

    def warning(self) -> str | None:
        """What the user has to know, if others can reach the servers."""
        if not self.beyond:
            return None
        if self.auth:
            return "the password crosses the network as it is: put a server with TLS in front, or use a network that you trust"
        return (
            "whoever reaches this machine can start programs as you, through Prefect, and change what MLflow shows: leave out "
            "--no-auth, unless something in front asks who they are"
        )
