"""What files and a database of MLflow say of the machine that made them: its folders, its user, its secrets."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

# MLflow itself keeps where an experiment's files lie; `itrcore/tracking/sqlite_store.py` settles that where a project is moved.
_PLACES = {("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location")}


def traces(folder: Path, words: list[str]) -> list[str]:
    """Each file in the folder and below it whose name or bytes hold one of the words, with that word."""
    found = []
    for path in sorted(folder.rglob("*")):
        data = f"{path.relative_to(folder)}\n".encode() + (path.read_bytes() if path.is_file() else b"")
        found += [f"{path}: {word}" for word in words if word.encode() in data]
    return found


def traces_in_store(path: Path, words: list[str]) -> list[str]:
    """Each column of a SQLite store of MLflow's that holds one of the words."""
    with closing(sqlite3.connect(path)) as store:
        return [
            f"{table}.{column}: {value}"
            for table, column in _columns(store)
            for (value,) in store.execute(f'select distinct "{column}" from "{table}"')
            if (table, column) not in _PLACES and any(word in str(value) for word in words)
        ]


def _columns(store: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for (table,) in store.execute("select name from sqlite_master where type = 'table'").fetchall():
        yield from ((table, column[1]) for column in store.execute(f'pragma table_info("{table}")').fetchall())
