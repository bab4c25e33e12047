"""What `shards.json` and the indexes say, checked before anything is read by it.

Both may come from a server, with digests that anybody can make: a type, a place or a size in them decides which bytes are
read, and what they are taken for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from itrcore.files import WrongKind, kind_of, text_of
from itrcore.settings.datasets import SPLITS
from itrcore.tables import read_arrow

DTYPES = ("float16", "float32")

_WIDEST = 1 << 20  # values of a region's features
_LARGEST = 1 << 50  # bytes of a shard; products of such numbers stay within 64 bits


@dataclass(frozen=True)
class Kind:
    """What shards of one kind have.

    schema: of the indexes
    described: what `shards.json` says besides the splits
    """

    schema: pa.Schema
    described: tuple[str, ...]


def check_description(value: Mapping[str, Any], kind: Kind | None = None) -> None:
    """`WrongKind` where a description lacks something that shards of the kind have, or says what cannot be.

    kind: None where the caller reads nothing but the splits
    """
    for name in kind.described if kind else ():
        _part(value, name, "shards.json")
    if "features" in value:
        text_of(value["features"], "features")
    if "dtype" in value and value["dtype"] not in DTYPES:
        raise WrongKind(f"dtype is {kind_of(value['dtype'])}", " or ".join(DTYPES))
    if "width" in value:
        _count(value["width"], "width", 1, _WIDEST)
    if "converted" in value:
        for mode, pictures in _parts(value["converted"], "converted").items():
            _count(_part(pictures, "pictures", f"{mode} of converted"), f"pictures of {mode} of converted")
            for name in _list(_part(pictures, "first", f"{mode} of converted"), f"first of {mode} of converted"):
                text_of(name, f"a name in first of {mode} of converted")
    splits = _parts(_part(value, "splits", "shards.json"), "splits")
    if set(splits) != set(SPLITS):
        raise WrongKind(f"it describes the splits {', '.join(splits)[:80] or '(none)'}", ", ".join(SPLITS))
    for split, described in splits.items():
        _check_split(split, described)


def _check_split(split: str, described: Any) -> None:
    samples = _count(_part(described, "samples", split), f"samples of {split}")
    _digest(_part(described, "index_sha256", split), f"index_sha256 of {split}")
    held = 0
    for number, file in enumerate(_list(_part(described, "shards", split), f"shards of {split}")):
        shard = f"shard {number} of {split}"
        name = text_of(_part(file, "file", shard), f"file of {shard}")
        if not re.fullmatch(r"\w+-\d+\.tar", name):  # it becomes a path
            raise WrongKind(f"it names other files than shards ({name[:40]!r})", f"names like {split}-00000.tar")
        _digest(_part(file, "sha256", shard), f"sha256 of {shard}")  # likewise
        _count(_part(file, "bytes", shard), f"bytes of {shard}")
        held += _count(_part(file, "samples", shard), f"samples of {shard}")
    if held != samples:
        raise WrongKind(f"samples of {split} is {samples}", f"{held}, as its shards have together")


def index_table(data: pa.Buffer, schema: pa.Schema) -> pa.Table:
    """An index from the bytes of its file. `WrongKind` where Arrow finds it malformed, or its columns are others."""
    try:
        table = read_arrow(data, schema)
    except WrongKind:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise WrongKind(f"it is malformed ({' '.join(str(error).split())[:200]})", "an Arrow file") from error
    for name in schema.names:
        if table[name].null_count:
            raise WrongKind(f"{name} is missing in {table[name].null_count} rows", f"{name} in every row")
    return table


def check_index(table: pa.Table, described: Mapping[str, Any], split: str) -> None:
    """`WrongKind` where an index has other rows than the description says, or one that is not inside its shard.

    table: as `index_table` gives it; described: as `check_description` has passed it
    """
    files = described["splits"][split]["shards"]
    samples = described["splits"][split]["samples"]
    if len(table) != samples:
        raise WrongKind(f"it has {len(table)} rows", f"{samples}, as shards.json says")
    shard, offset = numbers(table, "shard"), numbers(table, "offset")
    _check_rows("shard", shard, (shard >= 0) & (shard < len(files)), f"from 0 to {len(files) - 1}")
    if (np.diff(shard) < 0).any() or np.bincount(shard, minlength=len(files)).tolist() != [f["samples"] for f in files]:
        raise WrongKind("its rows are of other shards", "the samples of each shard, as many as shards.json says")
    if "n_regions" in table.column_names:
        regions = numbers(table, "n_regions")
        _check_rows("n_regions", regions, regions >= 0, "0 or more")
        size = regions.astype(np.int64) * described["width"] * np.dtype(described["dtype"]).itemsize
    else:
        size = numbers(table, "bytes")
        _check_rows("bytes", size, size >= 0, "0 or more")
        for name in ("width", "height"):
            pixels = numbers(table, name)
            _check_rows(name, pixels, pixels > 0, "1 or more")
    # The end is not computed before both are known to be small: it would overflow.
    bytes_of = np.array([file["bytes"] for file in files], np.int64)[shard]
    inside = (offset >= 0) & (size <= bytes_of) & (offset <= bytes_of - np.minimum(size, bytes_of))
    _check_rows("offset", offset, inside, "a place from which the sample lies within its shard")
    follows = np.ones(len(table), bool)
    follows[1:] = (shard[1:] != shard[:-1]) | (offset[1:] >= offset[:-1] + size[:-1])
    _check_rows("offset", offset, follows, "a place behind the sample before it")


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column of whole numbers, none missing, read-only: (n,). Arrow's own `to_numpy` would import pandas, in 0.25 s."""
    return np.from_dlpack(table[name].combine_chunks())


def _check_rows(name: str, values: np.ndarray, right: np.ndarray, expected: str) -> None:
    if not right.all():
        row = int(np.flatnonzero(~right)[0])
        raise WrongKind(f"{name} is {values[row]} in row {row}", expected)


def _part(value: Any, name: str, where: str) -> Any:
    if name not in _parts(value, where):
        raise WrongKind(f"{where} has no {name}", "what the pipeline writes there")
    return value[name]


def _parts(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WrongKind(f"{what} is {kind_of(value)}", "an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise WrongKind(f"{what} is {kind_of(value)}", "a list")
    return value


def _digest(value: Any, what: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", text_of(value, what)):
        raise WrongKind(f"{what} is {kind_of(value)}", "64 hexadecimal digits")


def _count(value: Any, what: str, least: int = 0, most: int = _LARGEST) -> int:
    # Not `number_of`: what the pipeline writes is a number, never text or 3.0.
    if type(value) is not int or not least <= value <= most:
        raise WrongKind(f"{what} is {kind_of(value)}", f"a whole number from {least} to {most}")
    return value
