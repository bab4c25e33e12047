"""Names of published models, on the Hugging Face hub or as folders: the errors for one that cannot be loaded.

Light to import: no torch, no transformers.
"""

from __future__ import annotations

from pathlib import Path

from itrcore.errors import DataError, first_line


def refused(what: str, name: str, revision: str | None, error: Exception, folder: str) -> DataError:
    """The error, in one line, for what neither the hub nor a folder has.

    what, name, revision: of what was asked for; error: what came instead; folder: what a folder of it has to be
    """
    at = f" at revision {revision}" if revision else ""
    reason = first_line(error)
    if "weights_only" in str(error) or "Weights only" in str(
        error
    ):  # with torch's advice to run whatever the file holds
        reason = "its file of weights wants code to be run, or is damaged"
    return DataError.at(
        name,
        f"no {what} can be had from here{at} ({reason})",
        f"a name on the Hugging Face hub, or a {folder}",
        do="The hub needs network access, and that HF_HUB_OFFLINE is not set; or give a folder with its files.",
    )


def is_here(name: str, revision: str | None) -> bool:
    """Whether weights are on this disk: a folder or file, or in the hub's cache."""
    if Path(name).expanduser().exists():
        return True
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)
    except HFValidationError:  # a path
        return False


def check_folder(name: str, whose: str, key: str) -> None:
    """`DataError` where a name is a path and no folder is there: the hub's client would complain of a repository's name.

    whose: what the folder should hold; key: what gives the name in params.yaml, such as `text.weights`
    """
    if name.startswith(("/", "./", "../", "~")) and not Path(name).is_dir():
        raise DataError.at(name, "no such folder", f"{whose}, as {key} names it")
