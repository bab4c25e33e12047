"""DVC's remote: what machines hand each other. DVC is imported when this is used: it takes a second.

DVC's own `push --run-cache` and `fetch --run-cache` copy the records of all stages that have ever run, one after the other. Here a
stage has its own alone: a lab's object storage holds thousands.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from itrcore.errors import ConfigError, first_line

_BUSY_SECONDS = 2.0
_RECORDS = {"command": "the records of stages", "hash_name": "md5-dos2unix"}  # where in a remote DVC's run cache lies


def default() -> str | None:
    """The name of the default remote of the project in the working directory."""
    with _repo("know its default remote") as repo:
        name: str | None = repo.config["core"].get("remote")
        return name


def outputs(targets: Sequence[str]) -> dict[str, str]:
    """What stages made, as DVC has recorded it: path → digest, of all that its cache keeps."""
    with _repo("read what stages made") as repo, repo.lock:
        stages = [repo.stage.collect(target)[0] for target in targets]
        return {
            out.def_path: out.hash_info.value
            for stage in stages
            for out in stage.outs
            if out.use_cache and out.hash_info
        }


def send(targets: Sequence[str]) -> None:
    """Put what stages made, and the records of what they read and wrote, into the default remote, where that lacks it.

    `ConfigError` where there is no such remote, it does not take something, or the cache lacks it.
    """
    with _repo(f"send {', '.join(targets)} to its remote") as repo:
        for target in targets:
            (stage,) = repo.stage.collect(target)
            if not stage.outs_cached():
                raise ConfigError(f"{target}: DVC's cache has not all that it made; run: dvc commit -f {target}")
            failed = [each for objs in stage.get_used_objs().values() for each in repo.cloud.push(objs).failed]
            if failed:
                raise ConfigError(f"{target}: {len(failed)} files could not be sent to DVC's remote; is it full?")
            _copy_records(stage, repo.cache.legacy, repo.cloud.get_remote_odb(None, **_RECORDS))


def fetched(targets: Sequence[str], remote: str | None = None) -> set[str]:
    """Get the outputs of stages that any machine has run with the inputs that are here, and sent; those until one is not found.

    targets: in their order, each with inputs that are there or are outputs of those before; remote: its name; None: DVC's default
    `ConfigError` where there is no such remote, or DVC cannot read the project.
    """
    from dvc.stage.cache import RunCacheNotFoundError

    found = set[str]()
    with _repo(f"get {', '.join(targets)} from its remote", remote) as repo:
        for target in targets:
            (stage,) = repo.stage.collect(target)
            with repo.lock:
                stage.save_deps()
            _copy_records(stage, repo.cloud.get_remote_odb(remote, **_RECORDS), repo.cache.legacy)
            try:
                with repo.lock:
                    repo.stage_cache.restore(stage, pull=True)
            except RunCacheNotFoundError:
                break
            found.add(target)
    return found


def take(given: Mapping[str, str]) -> None:
    """Put outputs of stages that another machine has sent where they belong; what is there already stays untouched.

    given: as `outputs` gives it there
    Waits while a process of DVC reads what is to be replaced. `ConfigError` where the remote has not all of it.
    """
    from dvc.lock import LockError

    with _repo("take what another machine has sent") as repo:
        stage = _stage(repo, given)
        for objs in stage.get_used_objs().values():
            repo.cloud.pull(objs)
        if not stage.outs_cached():
            raise ConfigError(
                f"DVC's remote has not all of {', '.join(given)}; is it the one that the other machine sends to?"
            )
        while True:
            try:
                with repo.lock:
                    other = {
                        out.def_path: given[out.def_path]
                        for out in stage.outs
                        if not out.exists or out.changed_checksum()
                    }
                    if other and (failed := _stage(repo, other).checkout(force=True).get("failed")):
                        raise ConfigError(f"DVC cannot put {', '.join(failed)} in place")
                return
            except LockError:
                time.sleep(_BUSY_SECONDS)


@contextmanager
def _repo(what: str, remote: str | None = None) -> Iterator[Any]:
    """The project in the working directory. what: it is used for; remote: the default one instead of the project's"""
    from dvc.repo import Repo

    try:
        with Repo(config={"core": {"remote": remote}} if remote else None, _wait_for_lock=True) as repo:
            yield repo
    except ConfigError:
        raise
    except Exception as error:  # each kind of remote has its own
        raise ConfigError(f"DVC cannot {what}: {first_line(error)}") from error


def _stage(repo: Any, given: Mapping[str, str]) -> Any:
    """A stage that has made these outputs, as DVC makes one of a record to get what a stage made elsewhere."""
    outs = [{"path": path, "md5": digest, "hash": "md5"} for path, digest in given.items()]
    return repo.stage_cache._create_stage({"cmd": "elsewhere", "deps": [], "outs": outs})


def _copy_records(stage: Any, source: Any, target: Any) -> None:
    """Those of a stage with its inputs as they are, from one store to another."""
    from dvc.fs import generic
    from dvc.stage.cache import _can_hash, _get_stage_hash

    if not _can_hash(stage):  # such as one that is always run
        return
    key = _get_stage_hash(stage)
    folder = ("runs", key[:2], key)
    for path in source.fs.find(source.fs.join(source.path, *folder)):
        copy = target.fs.join(target.path, *folder, source.fs.name(path))
        if not target.fs.exists(copy):
            generic.copy(source.fs, path, target.fs, copy)
