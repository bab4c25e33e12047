"""From a source's name to its file, archive or folder on this disk: downloaded, or where it lies already.

Each source's download has a folder of its own, named by the source, so that parts and data sets with one source share it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from itrcore import files
from itrcore.fetch.download import TRIES, download, file_name, locked
from itrcore.fetch.problems import SourceError, WrongContent, mismatch, require_room, room_on_disk, wrong_size
from itrcore.progress import Watcher
from itrcore.settings.downloads import DownloadSettings


@dataclass(frozen=True)
class Obtained:
    """A file, archive or folder; `own`: whether we downloaded it and may move or remove it, as it is not the user's."""

    path: Path
    own: bool


@contextmanager
def obtain(source: str, settings: DownloadSettings, partial: Path, progress: Watcher) -> Iterator[Obtained]:
    """Yield what `source` gives, while no other process works on the same source.

    `partial`: the folder of unfinished downloads and of archives. Raises `SourceError`, `DataError` where the disk is full.
    """
    if not _is_remote(source):
        path = Path(source).expanduser().absolute()
        if not path.exists():
            raise SourceError("no such file or folder")
        if path.is_file():
            _verify(path, settings)
        yield Obtained(path, own=False)
        return
    place = partial / files.digest(source)[:16]
    place.mkdir(parents=True, exist_ok=True)
    with locked(place.with_suffix(".lock"), progress):
        if source.startswith("kaggle:"):
            from itrcore.fetch import kaggle

            folder = kaggle.download_files(source.removeprefix("kaggle:"), settings.only, place, progress)
            yield Obtained(folder, own=folder.is_relative_to(place.absolute()))
            return
        path = _finished(place, settings) or (
            _from_drive(source, settings, place, progress)
            if _is_drive(source)
            else _from_http(source, settings, place, progress)
        )
        try:
            yield Obtained(path, own=True)
        except WrongContent:
            files.remove(path)  # a damaged archive would be found here again and again
            raise


def _is_remote(source: str) -> bool:
    return source.startswith(("http://", "https://", "kaggle:", "gdrive:"))


def _is_drive(source: str) -> bool:
    return source.startswith("gdrive:") or urlsplit(source).hostname in ("drive.google.com", "docs.google.com")


def _finished(place: Path, settings: DownloadSettings) -> Path | None:
    """The whole file that an earlier run left, if it is what is wanted now."""
    for path in place.iterdir():
        if not path.name.endswith((".part", ".part.json")) and path.is_file() and not path.name.startswith("."):
            try:
                _verify(path, settings)
            except WrongContent:
                path.unlink()
            else:
                return path
    return None


def _verify(path: Path, settings: DownloadSettings) -> None:
    size = path.stat().st_size
    if settings.bytes not in (None, size):
        raise wrong_size(path.name, size, settings.bytes or 0, "params.yaml")
    if settings.sha256 is not None and (digest := files.sha256(path)) != settings.sha256:
        raise mismatch(path.name, digest, settings.sha256, "params.yaml")


def _from_http(url: str, settings: DownloadSettings, place: Path, progress: Watcher) -> Path:
    path = place / file_name(url)
    done = download(
        url, path, bytes=settings.bytes, sha256=settings.sha256, timeout=settings.timeout, show=progress.show
    )
    progress.say(f"{path.name}: {done.bytes:,} bytes from {url}")
    return path


def _from_drive(source: str, settings: DownloadSettings, place: Path, progress: Watcher) -> Path:
    import gdown
    import requests

    key = source.removeprefix("gdrive:")
    url = key if key.startswith("http") else f"https://drive.google.com/uc?id={key}"
    if re.search(r"/folders/", url):
        raise SourceError("it is a Google Drive folder; give the address of one file in it")
    first = True

    def show(done: int, total: int | None) -> None:
        nonlocal first
        if first and total is not None:
            require_room(place, total - done)
        first = False
        progress.show(f"Google Drive {key}", done, total)

    try:
        with room_on_disk(place):
            downloaded = gdown.download(
                url,
                f"{place}/",
                quiet=True,
                use_cookies=False,  # gdown would keep them in the user's home folder
                resume=True,
                timeout=settings.timeout,
                retries=TRIES - 1,
                progress=show,
            )
        path = Path(str(downloaded))
    except (gdown.exceptions.DownloadError, requests.RequestException) as error:
        raise SourceError(" ".join(str(error).split())) from error
    try:
        _verify(path, settings)
    except WrongContent:
        path.unlink()
        raise
    progress.say(f"{path.name}: {path.stat().st_size:,} bytes from {source}")
    return path


def bytes_kept(partial: Path) -> int:
    """Bytes of unfinished downloads and of archives below `partial`."""
    return sum(path.stat().st_size for path in partial.rglob("*") if path.is_file()) if partial.is_dir() else 0


def move(path: Path, target: Path) -> None:
    """Move a file into place, also to another disk."""
    try:
        path.replace(target)
    except OSError:
        with files.replacing(target) as temporary, room_on_disk(target.parent):
            shutil.copyfile(path, temporary)
        path.unlink()
