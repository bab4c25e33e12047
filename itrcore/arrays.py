"""`.npy` files memory-mapped: opened after looking whether they are whole, or made with all their room on the disk.

And a file's bytes for Arrow.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itrcore.errors import DataError

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
    if dtype.hasobject:
        raise DataError.at(
            path, "holds pickled Python objects", "plain numbers", do="It is not opened: that could run code."
        )
    expected = header + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    size = path.stat().st_size
    if size != expected:
        row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        row = max(0, size - header) // row_bytes if row_bytes and size < expected else None
        raise DataError.at(
            path,
            f"the file has {size:,} bytes" + (f" and ends inside row {row}" if row is not None else ""),
            f"{expected:,} bytes for shape {shape} of {dtype}",
            do="It was cut short or changed on the way: extract or download it again.",
        )
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def read_buffer(path: Path) -> pa.Buffer:
    """A file's bytes, in memory of Arrow's own. `OSError` where it cannot be read.

    Not in Python's: one of Arrow's threads may be the last to let them go, and if Python is just ending, the process aborts.
    """
    import pyarrow as pa

    with open(path, "rb") as file:
        buffer = pa.allocate_buffer(os.fstat(file.fileno()).st_size)
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
