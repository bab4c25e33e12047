"""MLflow's store as one SQLite file, with the files of its runs beside it, wherever the two are moved or copied to."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock

_FILES = "mlartifacts"


class SQLiteStore:
    """The store in the file at `path`.

    lock: held by one process at a time; two first users of a fresh store would corrupt it, and two that record the same
    result would do it twice
    """

    def __init__(self, path: Path, address: str | None = None) -> None:
        """address: as its user named it; else it is made from `path`."""
        self.path, self.address = path, address or _address(path)
        self.lock = FileLock(f"{path}.lock")

    @classmethod
    def of(cls, uri: str) -> SQLiteStore | None:
        """The store of an address; None for a server."""
        kind, _, path = uri.partition(":///")
        return cls(Path(unquote(path.partition("?")[0])), uri) if kind.partition("+")[0] == "sqlite" else None

    def files(self, experiment: str) -> str:
        """Address of the folder for the files of an experiment's runs: MLflow's default depends on the caller's folder."""
        return (self.path.absolute().parent / _FILES / experiment).as_uri()

    def client(self) -> Any:
        """MLflow's client, once the store is known to open and its runs' files to be beside it. Hold the lock."""
        import mlflow
        from mlflow.tracking._tracking_service import utils

        # Where files of MLflow's own first experiment go. By default in the caller's folder, whose path it puts into SQL as it is,
        # with quotes and colons.
        os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        fresh = not self.path.exists() or not self.path.stat().st_size
        try:
            with closing(sqlite3.connect(self.path)) as database:
                database.execute(
                    "pragma schema_version"
                )  # MLflow would try for 100 seconds to open what cannot be opened
            client = mlflow.MlflowClient(tracking_uri=self.address)
        except Exception:
            if fresh:  # half made, as on a full disk, it could never be used
                self.path.resolve().unlink(missing_ok=True)
            raise
        if self.settle():
            utils._artifact_repos_cache.clear()  # where this process knew them
        return client

    def settle(self) -> bool:
        """Turn the runs of a store that was moved or copied to their files here.

        MLflow stores absolute addresses for good and has no call to change them. It would write into the folder of old.
        Returns whether there were any.
        """
        here, moved = self.files(""), False
        with closing(sqlite3.connect(self.path)) as database, database:
            for key, old in database.execute("select experiment_id, artifact_location from experiments").fetchall():
                folder, ours, name = (old or "").rpartition(f"/{_FILES}/")
                if ours and folder.startswith("file://") and (new := f"{here}/{name}") != old:
                    moved = True
                    database.execute("update experiments set artifact_location = ? where experiment_id = ?", (new, key))
                    database.execute(
                        "update runs set artifact_uri = ? || substr(artifact_uri, ?)"
                        " where experiment_id = ? and substr(artifact_uri, 1, ?) = ?",
                        (new, len(old) + 1, key, len(old) + 1, f"{old}/"),
                    )
        return moved

    def remedy(self, problem: str) -> str:
        """What to do about MLflow's error, where something is known."""
        if "schema" not in problem:
            return ""
        return (
            f"It is of another version of MLflow: copy it, then run: mlflow db upgrade {shlex.quote(self.address)} "
            "(where that fails, it is of a newer version: move it away)."
        )


def _address(path: Path) -> str:
    """The address as SQLAlchemy, with which MLflow opens it, reads it: %25 and %3F for `%` and `?`.

    With the driver's name: without it MLflow makes the folder once more, named as it stands in the address.
    """
    return "sqlite+pysqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")
