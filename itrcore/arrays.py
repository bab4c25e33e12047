"""`.npy` files memory-mapped: opened after looking whether they are whole, or made with all their room on the disk.

And a file's bytes for Arrow.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itrcore.errors import DataError
from itrcore.files import WrongKind

if TYPE_CHECKING:
    import pyarrow as pa


def open_array(path: Path) -> np.ndarray:
    """Memory-map a `.npy`. `DataError` for a missing, truncated, over-long or pickled one."""
    try:
        with open(path, "rb") as handle:
            version = np.lib.format.read_magic(handle)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(handle)
            header = handle.tell()
    except FileNotFoundError:
        raise DataError.at(path, "no such file", "an array saved by numpy") from None
    except Exception as error:
        # Not only ValueError: numpy reads the header with Python's parser, which has many ways to refuse damaged text.
        raise DataError.at(path, f"not a readable .npy ({error})", "an array saved by numpy") from error
    if not dtype.itemsize:
        raise DataError.at(path, f"values of no bytes ({dtype})", "plain numbers")
    if dtype.hasobject:
        raise DataError.at(
            path, "holds pickled Python objects", "plain numbers", do="It is not opened: that could run code."
        )
    expected = header + math.prod(shape) * dtype.itemsize  # Python's numbers: a made-up shape would overflow numpy's
    size = path.stat().st_size
    if size != expected:
        row_bytes = math.prod(shape[1:]) * dtype.itemsize
        row = max(0, size - header) // row_bytes if row_bytes and size < expected else None
        raise DataError.at(
            path,
            f"the file has {size:,} bytes" + (f" and ends inside row {row}" if row is not None else ""),
            f"{expected:,} bytes for shape {shape} of {dtype}",
            do="It was cut short or changed on the way: extract or download it again.",
        )
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OverflowError) as error:  # a shape of no elements that is too large in one dimension
        raise DataError.at(path, f"not a readable .npy ({error})", "an array saved by numpy") from error
    return array


def read_buffer(path: Path, most: int) -> pa.Buffer:
    """A file's bytes, in memory of Arrow's own. `OSError` where it cannot be read, `WrongKind` where it has more bytes than `most`.

    Not in Python's: one of Arrow's threads may be the last to let them go, and if Python is just ending, the process aborts.
    """
    import pyarrow as pa

    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise WrongKind(f"it has {size:,} bytes", f"at most {most:,}")
        buffer = pa.allocate_buffer(size)
        read = file.readinto(memoryview(buffer))
    return buffer.slice(0, read)


def new_array(path: Path, shape: Sequence[int]) -> np.memmap:
    """A new float32 `.npy` of this shape to write into, memory-mapped. `OSError` where the disk has no room for it.

    The room is taken first: a process that writes into a map on a full disk is killed by the system (SIGBUS).
    """
    array: np.memmap = np.lib.format.open_memmap(path, "w+", np.float32, tuple(shape))
    with open(path, "r+b") as handle:
        os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
    return array
