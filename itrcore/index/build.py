"""Building an index, or bringing one up to date: only new and changed pictures are encoded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from itrcore.arrays import new_array, open_array
from itrcore.errors import DataError
from itrcore.files import replacing, sha256_of_all
from itrcore.index import record as records
from itrcore.index.gallery import Folder, Gallery, Item, Split, some_of
from itrcore.index.neighbours import Approximate, Kind, Measured, kind_for
from itrcore.index.record import FAISS, ITEMS, RECORD, VECTORS, IndexRecord
from itrcore.index.unfinished import Unfinished
from itrcore.progress import SILENT, Show
from itrcore.retriever.retriever import Retriever

RECALL = 0.98  # of the exact ten nearest that a search of an approximate index should find
_BLOCK = 512  # pictures that are encoded before they are kept: what a kill loses at most
_COPIED = 10_000  # vectors that are copied at once
_FEWEST = 1_000  # pictures for ivfpq: it learns where its lists and parts lie
_QUERIES = 500  # that recall is measured with


@dataclass(frozen=True)
class Built:
    """What building did: pictures encoded now, kept from before, dropped, and those that could not be encoded with the reason."""

    record: IndexRecord
    encoded: int
    kept: int
    dropped: int
    skipped: dict[str, str]


def build(
    run: Retriever,
    where: str,
    out: Path,
    folder: Path | None = None,
    data: str | None = None,
    split: str | None = None,
    kind: Kind | None = None,
    recall: float = RECALL,
    show: Show = SILENT.show,
) -> Built:
    """Write the index of a folder of pictures, or of a data set's split, into `out`; what is there already is used.

    run, where: the run, and where it was loaded from; folder: of the pictures, else data and split
    kind: of the index; by default what suits its size; recall: that an approximate one should reach

    Pictures of the same bytes are encoded once. A picture that cannot be read is left out; one that was changed is encoded
    again, and so are all where the run's weights have changed. A killed build goes on where it was, and until it is done the
    index is as it was before. `DataError` where the run's method has no vector for each picture.
    """
    folder = None if folder is None else folder.resolve()
    with _alone(out):
        if folder is not None:
            gallery: Gallery = Folder(folder)
        else:
            assert data is not None and split is not None
            gallery = Split(data, split)
        before = _Before(out, run.weights, folder, data, split)
        items = gallery.items(before.items)
        unfinished = Unfinished(out.with_name(f".{out.name}.unfinished"), run.weights)
        there = set(before.row) | {digest for digests, _ in unfinished.blocks() for digest in digests}
        missing = list({item.sha256: item for item in items if item.sha256 not in there}.values())
        skipped = dict(_encode(run, gallery, missing, unfinished, show))
        lost = {item.sha256 for item in missing if item.name in skipped}
        skipped |= {item.name: "its bytes are those of another one" for item in items if item.sha256 in lost} | skipped
        items = [item for item in items if item.sha256 not in lost]
        if not items:
            raise DataError(next(iter(skipped.values())))
        if kind == "ivfpq" and len(items) < _FEWEST:
            raise DataError(f"ivfpq of {len(items):,} pictures; expected at least {_FEWEST:,}, or another kind")
        kept = sum(item.sha256 in before.row for item in items)
        dropped = len(before.items.keys() - {item.name for item in items})
        kind = kind or kind_for(len(items))
        if before.record is None or not before.is_same(items, where, kind, recall):
            facts = {
                "run": run.record.name, "where": where, "weights": run.weights,
                "folder": None if folder is None else str(folder), "data": data, "split": split,
            }  # fmt: skip
            record = _write(out, run, gallery, items, before, unfinished, kind, recall, facts, show)
        else:
            record = before.record
        unfinished.clear()
    return Built(record, len(missing) - len(lost), kept, dropped, skipped)


class _Before:
    """The index as it was; empty where there is none, it is damaged, or other weights made it.

    items: name → item; row: digest → row of its vector
    """

    def __init__(self, out: Path, weights: str, folder: Path | None, data: str | None, split: str | None) -> None:
        self.out, self.items, self.row = out, dict[str, Item](), dict[str, int]()
        self.record: IndexRecord | None = None
        if not out.exists():
            return
        if not (out / RECORD).exists() and any(out.iterdir()):
            raise DataError.at(out, "it holds something else", "an index, or nothing", do="Choose another --out.")
        try:
            record = records.read(out)
            other = (record.folder, record.data, record.split) != (folder and str(folder), data, split)
            if other and (record.folder is None or Path(record.folder).exists()):
                of = record.folder or f"{record.data}, {record.split}"
                raise _Other.at(out, f"it is an index of {of}", "one of the same pictures", do="Choose another --out.")
            if record.weights != weights:
                return
            records.check(out, record)
            items = records.read_items(out / ITEMS)
            self.vectors = open_array(out / VECTORS)
        except _Other:
            raise
        except DataError:  # damaged: everything is encoded again
            return
        self.record = record
        self.items = {item.name: item for item in items}
        self.row = {item.sha256: row for row, item in enumerate(items)}

    def is_same(self, items: list[Item], where: str, kind: Kind, recall: float) -> bool:
        record, wanted = self.record, None if kind == "flat" else recall
        as_wanted = record is not None and (record.where, record.kind, record.wanted) == (where, kind, wanted)
        return as_wanted and items == list(self.items.values())


class _Other(DataError):
    pass


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise DataError(f"{out}: another process is building this index; wait until it is done, or end it") from None


def _encode(
    run: Retriever, gallery: Gallery, missing: Sequence[Item], unfinished: Unfinished, show: Show
) -> Iterator[tuple[str, str]]:
    """Encode what is missing, a block at a time. Yield those that cannot be, and why."""
    for start in range(0, len(missing), _BLOCK):
        block = list(missing[start : start + _BLOCK])
        try:
            vectors = run.encode_images(gallery.given([item.name for item in block], run.input)).vectors
        except DataError as error:
            if len(missing) == 1 or not isinstance(gallery, Folder):
                raise
            parts, left = [], []
            for item in block:  # one of them cannot be read: which?
                try:
                    parts.append(run.encode_images(gallery.given([item.name], run.input)).vectors)
                    left.append(item)
                except DataError as why:
                    yield item.name, str(why)
            if not parts and len(block) == len(missing):
                raise DataError(str(error)) from error
            if not parts:
                continue
            block, vectors = left, np.concatenate(parts)
        unfinished.add([item.sha256 for item in block], vectors)
        show("pictures encoded", min(start + _BLOCK, len(missing)), len(missing))


def _write(
    out: Path, run: Retriever, gallery: Gallery, items: list[Item], before: _Before, unfinished: Unfinished,
    kind: Kind, recall: float, facts: dict[str, str | None], show: Show,
) -> IndexRecord:  # fmt: skip
    with replacing(out) as temporary:
        temporary.mkdir()
        records.write_items(temporary / ITEMS, items)
        _write_vectors(temporary / VECTORS, items, before, unfinished)
        vectors = open_array(temporary / VECTORS)
        measured, queries = None, "none: every vector is compared"
        if kind != "flat":
            same = before.record is not None and before.record.kind == kind
            if same and [item.sha256 for item in items] == [item.sha256 for item in before.items.values()]:
                shutil.copyfile(out / FAISS, temporary / FAISS)
                index = Approximate.read(temporary / FAISS, vectors, 1)
            else:
                index = Approximate.build(vectors, kind, show)
                index.write(temporary / FAISS)
            measured, queries = _measure(index, vectors, run, gallery, recall)
        record = IndexRecord.model_validate({
            **facts, "n": len(items), "dim": vectors.shape[1], "kind": kind,
            "effort": None if measured is None else measured.effort,
            "wanted": None if measured is None else recall,
            "recall": 1.0 if measured is None else measured.recall, "queries": queries,
            "versions": {name: version(name) for name in ("itr", "faiss-cpu", "torch")},
            "files": sha256_of_all(temporary),
        })  # fmt: skip
        records.write(record, temporary, out)
    return record


def _write_vectors(path: Path, items: list[Item], before: _Before, unfinished: Unfinished) -> None:
    rows_of: dict[str, list[int]] = {}
    for row, item in enumerate(items):
        rows_of.setdefault(item.sha256, []).append(row)
    array: np.ndarray | None = None
    filled = np.zeros(len(items), bool)
    for digests, vectors in _sources(before, unfinished):
        array = new_array(path, (len(items), vectors.shape[1])) if array is None else array
        for digest, vector in zip(digests, vectors, strict=True):
            rows = rows_of.get(digest, [])
            array[rows], filled[rows] = vector, True
    assert isinstance(array, np.memmap) and filled.all()
    array.flush()
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sources(before: _Before, unfinished: Unfinished) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    digests = [item.sha256 for item in before.items.values()]
    for start in range(0, len(digests), _COPIED):
        yield digests[start : start + _COPIED], before.vectors[start : start + _COPIED]
    yield from unfinished.blocks()


def _measure(
    index: Approximate, vectors: np.ndarray, run: Retriever, gallery: Gallery, recall: float
) -> tuple[Measured, str]:
    if isinstance(gallery, Split):
        captions = gallery.texts
        texts = [captions[at] for at in some_of(len(captions), _QUERIES)]
        return index.tune(run.encode_texts(texts).vectors, recall), f"{len(texts):,} captions"
    own = some_of(len(vectors), _QUERIES)
    return index.tune(vectors[own], recall, own), f"{len(own):,} of the pictures, without themselves"
