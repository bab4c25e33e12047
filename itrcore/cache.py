"""What DVC's cache holds; taking damaged files out of it. DVC is imported when this is used: it takes a second."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from itrcore.errors import ConfigError


def holds(target: str) -> bool:
    """Whether DVC has recorded the outputs of a stage as they are now, and its cache has them all."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            outs = [out for stage in repo.stage.collect(target) for out in stage.outs if out.use_cache]
            return all(out.hash_info and not out.changed_checksum() and not out.changed_cache() for out in outs)
    except DvcException:
        return False


def remove_damaged() -> list[Path]:
    """Remove files of the cache that are not what their names say, and outputs that are not as DVC recorded them.

    Every file is read. Returns what was removed. `ConfigError` where DVC cannot read the project.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(_wait_for_lock=True) as repo, repo.lock:
            return [*_damaged_objects(Path(repo.cache.local.path)), *_damaged_outputs(repo)]
    except DvcException as error:
        raise ConfigError(f"DVC cannot read this project: {error}") from error


def _damaged_objects(cache: Path) -> Iterator[Path]:
    """Remove files of the cache whose MD5 is not their name."""
    for path in sorted(cache.glob("??/*")):
        if path.is_file() and _md5(path) != path.parent.name + path.name.removesuffix(".dir"):
            path.unlink()
            yield path


def _damaged_outputs(repo: Any) -> Iterator[Path]:
    """Remove files of outputs whose MD5 is not the one that dvc.lock, or the cache's list of a folder, says."""
    for out in repo.index.outs:
        if not out.use_cache or out.persist or not out.hash_info:
            continue
        files = {Path(out.fs_path): out.hash_info.value}
        if out.hash_info.isdir:
            tree = out.get_obj()  # None where the cache has no list
            files = {Path(out.fs_path, *key): info.value for key, _, info in tree or ()}
        for path, wanted in files.items():
            if path.is_file() and _md5(path) != wanted:
                path.unlink()
                yield path


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
