"""Files that `torch.save` wrote, read without running anything that they hold, and in our own words where they cannot be.

They are pickles, and a pickle may name any code to run. torch's own message for one that does gives the advice to run it.
"""

from __future__ import annotations

import pickle
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from itrcore.errors import DataError
from itrcore.files import WrongKind
from itrcore.unpacking import is_zip

_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"<": "a web page or XML",
    b"{": "JSON",
}
_AGAIN = "Download it again, and compare its SHA-256."
_SAVE = "load it where it was made and save it again with its weights and plain options alone."
_OF_PYTHON_2 = {"T": "a string of more than 255 bytes", "I": "a whole number of more than 32 bits"}  # by pickle's code


def read(path: Path, expected: str, allowed: Sequence[Any] = (), do: str = "") -> Any:
    """What the file holds, on the CPU.

    expected: what it should be, for messages; do: what to do where it cannot be opened
    allowed: classes beside tensors and plain values, as `torch.serialization.safe_globals` takes them
    `DataError` where it is missing, damaged or something else, is packed, or wants code to be run.
    """
    try:
        with open(path, "rb") as handle:
            start = handle.read(tarfile.BLOCKSIZE)
        check_plain(path)
    except OSError as error:
        raise DataError.at(path, f"cannot be read ({error.strerror})", expected, do=do) from None
    except WrongKind as error:
        raise DataError.at(path, error.found, error.expected, do=_AGAIN) from error
    for beginning, what in _OTHERS.items():
        if start.lstrip().startswith(beginning):
            raise DataError.at(path, what, expected, do="Download the file itself.")
    try:
        with torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks users to report pickles of other versions to torch
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if wanted := re.search(r"GLOBAL (\S+)", str(error)):
            raise DataError.at(
                path,
                f"it wants {wanted[1]} to be loaded, which could run code; nothing of it was run",
                _alone(allowed),
                do=f"If you trust its author, {_SAVE}",
            ) from None
        operand = re.search(r"Unsupported operand (\d+)", str(error))
        raise _unread(path, expected, _OF_PYTHON_2.get(chr(int(operand[1]))) if operand else None) from error
    except UnicodeDecodeError as error:
        raise _unread(path, expected, "a string that is not UTF-8") from error
    except Exception as error:  # a damaged file can make the reader stumble anywhere
        raise DataError.at(
            path, f"damaged, or not a torch file ({without_advice(error)})", expected, do=_AGAIN
        ) from error


def check_plain(path: Path) -> None:
    """`WrongKind` for a zip file with packed entries, or with entries that share their bytes: torch writes neither.

    torch would unpack them whatever their size. Likewise for a tar file, which torch wrote before 0.4.
    """
    if not is_zip(path):
        with open(path, "rb") as handle, suppress(tarfile.HeaderError):
            tarfile.TarInfo.frombuf(handle.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
            # torch would open it with Python's reader.
            raise WrongKind("a tar file, not a torch file", "one of torch 0.4 or newer")
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # as for any damaged zip file
        raise WrongKind(f"damaged, or not a torch file ({error})", "a file that torch.save wrote") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WrongKind("it is a compressed zip file", "a file that torch.save wrote, which packs nothing")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise WrongKind("its entries have more bytes than the file", "a file that torch.save wrote")


def check_folder(name: str) -> None:
    """`WrongKind` as `check_plain` for the files of weights in a folder; nothing is done for a name on a model hub."""
    for file in Path(name).iterdir() if Path(name).is_dir() else ():
        if file.suffix in (".bin", ".pt", ".pth"):
            check_plain(file)


def plain(value: Any, *types: torch.dtype) -> bool:
    """Whether a value is a tensor of one of the types that holds each of its numbers itself, on the CPU.

    One that repeats a few numbers by its strides may have any number of them.
    """
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_nested
        and value.device.type == "cpu"
        and value.dtype in types
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def check_size(path: Path, values: Iterable[Any]) -> None:
    """`DataError` where tensors have far more bytes together than their file: they share them, and each would be copied."""
    size = sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))
    if size > 2 * path.stat().st_size:  # two entries may be one, such as tied embeddings
        raise DataError.at(path, f"its tensors have {size:,} bytes", "about as many as the file", do=_AGAIN)


def without_advice(error: Exception) -> str:
    """The first sentence of an error; torch's advice to load files that run code is left out."""
    text = str(error).partition(". ")[0].partition("\n")[0] or type(error).__name__
    return "it wants code to be run, or is damaged" if "weights_only" in text or "Weights only" in text else text


def _alone(allowed: Sequence[Any]) -> str:
    named = [f"{item.__module__}.{item.__qualname__}" for item in allowed if isinstance(item, type)]
    *most, last = ["tensors", "plain values", *named]
    return f"{', '.join(most)} and {last} alone"


def _unread(path: Path, expected: str, old: str | None) -> DataError:
    """A file that torch cannot read. old: what it may hold that Python 2 wrote and torch's safe reader does not know"""
    if old is None:
        return DataError.at(path, "damaged, or not a torch file", expected, do=_AGAIN)
    return DataError.at(
        path,
        f"damaged, or its options hold {old}, written by Python 2",
        expected,
        do=f"{_AGAIN} If it is whole, {_SAVE}",
    )
