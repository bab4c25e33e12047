"""Names of published models, on the Hugging Face hub or as folders: what users are told of one that cannot be had.

Light to import: no torch, no transformers.
"""

from __future__ import annotations

from pathlib import Path

from itrcore.errors import DataError


def refused(what: str, name: str, revision: str | None, error: Exception, folder: str) -> DataError:
    """The error for what can be had neither from the hub nor from a folder, in one line. folder: what one has to be."""
    at = f" at revision {revision}" if revision else ""
    reason = (str(error).strip() or repr(error)).splitlines()[0]
    return DataError.at(
        name,
        f"no {what} can be had from here{at} ({reason})",
        f"a name on the Hugging Face hub, or a {folder}",
        do="The hub needs network access, and that HF_HUB_OFFLINE is not set; or give a folder with its files.",
    )


def check_folder(name: str, whose: str, key: str) -> None:
    """`DataError` where a name that only a folder can have is none: the hub's client would speak of repositories.

    key: what gives the name in params.yaml, such as `text.weights`
    """
    if name.startswith(("/", "./", "../", "~")) and not Path(name).is_dir():
        raise DataError.at(name, "no such folder", f"{whose}, as {key} names it")
