"""Arrays that are kept in a file, as they take long to make: read back where they are of what is asked for, else made again.

A file says what decided its arrays, and holds a digest of them. It may be removed at any time. One that is damaged, or cannot be
written, is a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from itrcore.files import replacing
from itrcore.terminal import warn

_DIGESTS = "digests"


def read(path: Path, decided: str, again: str) -> dict[str, Tensor] | None:
    """What `write` wrote, memory-mapped; None where there is no such file, it is of something else, or it is damaged.

    decided: a digest of what decides the arrays; again: what is done instead of using a damaged file, for the warning
    """
    try:
        with safe_open(path, "pt") as file:
            of, _, content = (file.metadata() or {}).get(_DIGESTS, "").partition(" ")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        if content != _content(arrays, of):
            raise ValueError("its bytes have changed")
        return arrays if of == decided else None
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        warn(f"{path}: damaged ({error}), and not used: {again}")
        return None


def write(path: Path, decided: str, arrays: Mapping[str, Tensor], again: str) -> None:
    """Keep arrays, in place of those that are there. again: what has to be done again if they cannot be kept"""
    try:
        with replacing(path) as temporary:
            # One entry: safetensors writes several in the order of a hash map, another one each time.
            save_file(dict(arrays), temporary, {_DIGESTS: f"{decided} {_content(arrays, decided)}"})
    except OSError as error:
        warn(f"{path}: cannot be written ({error.strerror}); {again}")


def _content(arrays: Mapping[str, Tensor], decided: str) -> str:
    """SHA-256 of all that a file holds."""
    content = hashlib.sha256(decided.encode())
    for name in sorted(arrays):
        array = arrays[name].numpy()
        content.update(f"{name}{array.dtype}{array.shape}".encode())
        content.update(array.data)
    return content.hexdigest()
