"""Whether a folder lies on a network file system, where locks between machines are not a matter of course."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_KINDS = {"nfs", "nfs4", "cifs", "smb3", "lustre", "beegfs", "gpfs", "ceph", "9p", "afs", "glusterfs", "sshfs", "pvfs2"}
_MOUNTS = Path("/proc/self/mounts")


def kind_of(folder: Path, mounts: Iterable[str] | None = None) -> str | None:
    """Such as nfs4, or lustre; None for a disk of this machine, and where the system does not say.

    mounts: lines of /proc/self/mounts
    """
    if mounts is None:
        mounts = _MOUNTS.read_text("utf-8", errors="replace").splitlines() if _MOUNTS.exists() else ()
    folder, nearest, found = folder.resolve(), Path("/"), None
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        place = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point))
        if folder.is_relative_to(place) and place.is_relative_to(nearest):  # a later one covers an earlier one
            nearest, found = place, kind.removeprefix("fuse.")
    return found if found in _KINDS else None


def advice(folder: Path) -> str | None:
    """What the user has to know of locks, if the folder lies on a network file system and DVC has no setting for it."""
    kind = kind_of(folder)
    if kind is None or _hardlinks(folder):
        return None
    return (
        f"this folder lies on a network file system ({kind}). Several machines may use it at once only if its files can be locked "
        "between them, which DVC and flows rely on (docs/scheduling.md#network-file-systems). If they cannot, give each machine a "
        "checkout on a disk of its own, or: dvc config --local core.hardlink_lock true"
    )


def _hardlinks(folder: Path) -> bool:
    """Whether DVC is set to lock by hard links."""
    for path in (folder / ".dvc" / "config", folder / ".dvc" / "config.local"):
        if path.is_file() and re.search(r"^\s*hardlink_lock\s*=\s*true\s*$", path.read_text("utf-8"), re.I | re.M):
            return True
    return False
