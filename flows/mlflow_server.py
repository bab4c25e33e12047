"""How `itr up` starts MLflow's server."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from flows.access import USER, Access
from flows.plan import PROJECT
from itrcore.tracking.sqlite_store import SQLiteStore


def command(port: int, backend: str | None, access: Access, folder: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    """Its command and variables.

    backend: the database's address, else mlflow.db; folder: for accounts, where it asks for a password
    """
    hosts = access.hosts(port)
    environment = {
        **os.environ,
        # Not among the arguments, which every user of the machine sees.
        "MLFLOW_BACKEND_STORE_URI": backend or SQLiteStore(PROJECT / "mlflow.db").address,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten processes for language models
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    options = {
        "--host": access.host,
        "--port": str(port),
        "--workers": "1",
        "--artifacts-destination": str(PROJECT / "mlartifacts"),
        "--allowed-hosts": ",".join(hosts),
        "--cors-allowed-origins": ",".join(f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts),
    }
    if access.password:
        accounts = folder / "mlflow_accounts.ini"
        address = SQLiteStore(folder / "mlflow_accounts.db").address.replace("%", "%%")
        accounts.write_text(f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {address}\n", "utf-8")
        options["--app-name"] = "basic-auth"
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
            "MLFLOW_AUTH_ADMIN_USERNAME": USER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": access.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(),
        }
    return [sys.executable, "-m", "mlflow", "server", *chain.from_iterable(options.items())], environment
