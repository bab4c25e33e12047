"""Writing samples into shards: in parallel processes, each shard once, the same bytes every time.

A shard is a plain tar as webdataset writes and streams it. Finished shards lie in a work folder outside the output, so
that after a kill only the missing ones are written: DVC removes outputs before it runs a stage again.

    regions-<digest>/shards/     what is made: train-00000.tar, …, train.arrow, …, shards.json
    regions-<digest>/records/    beside each finished shard its size, SHA-256 and rows of the index
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from itrcore.cores import cores
from itrcore.errors import DataError
from itrcore.files import digest, read_json, remove, replacing, sha256, write_sealed
from itrcore.pool import pool
from itrcore.progress import Count

_VERSION = 1  # raise it when the same samples would give other bytes: then unfinished older work is not used
_PARALLEL_FROM = 200  # samples; below, starting processes takes longer than they save


@dataclass(frozen=True)
class Sample:
    """What one sample puts into its shard.

    key: of its names in the tar, `{key}.{ending}`
    members: ending → content in pieces, anything with the buffer interface
    indexed: the ending of the member that the index's `offset` points to: to the first byte of its last piece
    row: the sample's row of the index but for `key`, `shard` and `offset`, JSON values
    """

    key: str
    members: Mapping[str, Sequence[Any]]
    indexed: str
    row: Mapping[str, Any]


class Samples(Protocol):
    """All samples of a data set, split by split, numbered from 0."""

    def shard(self, split: str, rows: range) -> Iterable[Sample]:
        """The samples of one shard, in order.

        What is returned is pickled and iterated over in another process. A sample's buffers need to last until the next
        sample is asked for. Bad input raises `DataError`, also where reading fails: an `OSError` is taken for one of writing.
        """
        ...


def write(
    work: Path,
    identity: Mapping[str, Any],
    splits: Mapping[str, int],
    samples_per_shard: int,
    samples: Samples,
    schema: pa.Schema,
    describe: Callable[[Mapping[str, pa.Table]], Mapping[str, Any]],
    progress: Count | None = None,
    processes: int | None = None,
) -> Path:
    """Write shards, indexes and `shards.json`; returns their folder, for `move`.

    work: the work folder's path up to its digest; those of other digests are removed
    identity: everything that decides the bytes, as JSON: settings, and what tells the sources from changed ones
    splits: split → number of samples
    schema: of the indexes: key, shard, offset (bytes from the start of the shard) and the columns of `Sample.row`
    describe: indexes → what `shards.json` says besides counts, sizes and digests
    progress: called with samples done, samples in all, after each shard
    processes: 1: this process; by default that for a few samples, else as many as it has cores, at most 8
    `DataError` of a sample, or where a process was killed or the disk is full. Finished shards stay.
    """
    decides = {"version": _VERSION, "splits": dict(splits), "per_shard": samples_per_shard, **identity}
    folder = work.with_name(f"{work.name}-{digest(decides)[:16]}")
    for other in work.parent.glob(f"{work.name}-*"):
        if other != folder:
            remove(other)
    for name in ("shards", "records"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    jobs = [
        _Job(folder, split, number, range(start, min(start + samples_per_shard, size)))
        for split, size in splits.items()
        for number, start in enumerate(range(0, size, samples_per_shard))
    ]
    missing = [job for job in jobs if not job.is_done()]
    total = sum(splits.values())
    done = total - sum(len(job.rows) for job in missing)

    def count(samples_done: int) -> None:
        nonlocal done
        done += samples_done
        if progress:
            progress(done, total)

    count(0)
    if processes is None:
        processes = 1 if total - done < _PARALLEL_FROM else cores()
    _run(missing, samples, min(processes, len(missing)), count)
    _finish(folder / "shards", list(splits), jobs, schema, describe)
    return folder / "shards"


def move(finished: Path, folder: Path) -> None:
    """Move what `write` made to `folder`, which must not exist, and remove the work folder."""
    with replacing(folder) as temporary:
        shutil.move(finished, temporary)  # a copy, if `folder` is on another disk
    remove(finished.parent)


@dataclass(frozen=True)
class _Job:
    """One shard to write."""

    folder: Path
    split: str
    number: int
    rows: range

    @property
    def path(self) -> Path:
        return self.folder / "shards" / f"{self.split}-{self.number:05d}.tar"

    @property
    def record(self) -> Path:
        return self.folder / "records" / f"{self.split}-{self.number:05d}.json"

    def is_done(self) -> bool:
        try:
            record = read_json(self.record)
            return bool(self.path.stat().st_size == record["bytes"]) and "index" in record
        except (OSError, KeyError, TypeError, ValueError):  # not there, or damaged: it is written again
            return False

    def write(self, samples: Iterable[Sample]) -> None:
        self.record.unlink(missing_ok=True)
        index = []
        try:
            with replacing(self.path) as temporary, open(temporary, "wb") as handle:
                tar = _Tar(handle)
                for sample in samples:
                    offset = tar.add(sample)
                    index.append({"key": sample.key, "shard": self.number, "offset": offset, **sample.row})
                tar.close()
            value = {"file": self.path.name, "samples": len(index), "bytes": tar.size, "sha256": tar.hash.hexdigest()}
            with replacing(self.record) as temporary:
                temporary.write_text(json.dumps({**value, "index": index}), "utf-8")
        except OSError as error:
            raise DataError.at(
                self.path,
                f"cannot be written ({error.strerror or error})",
                "room and permission to write",
                do="Mend that and run it again: finished shards are kept.",
            ) from error


class _Tar:
    """A tar as webdataset's TarWriter writes it, hashed on the way, without its copies of every member."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.size = 0
        self.hash = hashlib.sha256()

    def add(self, sample: Sample) -> int:
        """Write the sample's members in the order of their names; returns the offset for the index."""
        indexed = 0
        for ending, pieces in sorted(sample.members.items()):
            info = tarfile.TarInfo(f"{sample.key}.{ending}")
            info.size = sum(memoryview(piece).nbytes for piece in pieces)
            info.mode, info.uname, info.gname = 0o444, "bigdata", "bigdata"
            self._write(info.tobuf(tarfile.USTAR_FORMAT))
            for piece in pieces:
                offset = self.size
                self._write(piece)
            self._fill(tarfile.BLOCKSIZE)
            if ending == sample.indexed:
                indexed = offset
        return indexed

    def close(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._fill(tarfile.RECORDSIZE)

    def _fill(self, multiple: int) -> None:
        self._write(bytes(-self.size % multiple))

    def _write(self, piece: Any) -> None:
        self._handle.write(piece)
        self.hash.update(piece)
        self.size += memoryview(piece).nbytes


def _run(jobs: Sequence[_Job], samples: Samples, processes: int, count: Callable[[int], None]) -> None:
    """Do the jobs, waiting for them in order: of several errors the first shard's is raised."""
    if processes <= 1:
        for job in jobs:
            job.write(samples.shard(job.split, job.rows))
            count(len(job.rows))
        return
    running: deque[tuple[_Job, Future[None]]] = deque()

    def wait_for_first() -> None:
        job, future = running.popleft()
        future.result()
        count(len(job.rows))

    try:
        with pool(processes) as workers:
            for job in jobs:
                if len(running) == 2 * processes:  # not all at once: what describes a shard is memory too
                    wait_for_first()
                running.append((job, workers.submit(job.write, samples.shard(job.split, job.rows))))
            while running:
                wait_for_first()
    except BrokenProcessPool as error:
        raise DataError(
            f"{jobs[0].folder}: a process that writes shards was killed, perhaps for want of memory; "
            "expected each to finish its shard. Run it again: finished shards are kept."
        ) from error


def _finish(
    folder: Path,
    splits: Sequence[str],
    jobs: Sequence[_Job],
    schema: pa.Schema,
    describe: Callable[[Mapping[str, pa.Table]], Mapping[str, Any]],
) -> None:
    described: dict[str, Any] = {}
    indexes: dict[str, pa.Table] = {}
    for split in splits:
        files = [read_json(job.record) for job in jobs if job.split == split]
        indexes[split] = pa.Table.from_pylist([row for file in files for row in file.pop("index")], schema)
        path = folder / f"{split}.arrow"
        with replacing(path) as temporary, pa.ipc.new_file(str(temporary), schema) as writer:
            writer.write_table(indexes[split])
        described[split] = {"samples": len(indexes[split]), "index_sha256": sha256(path), "shards": files}
    value = {**describe(indexes), "splits": described}
    write_sealed(folder / "shards.json", value)
