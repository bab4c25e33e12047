"""Shards that someone has published, each downloaded once into a folder on this disk and kept there.

A shard is kept as `<its SHA-256>.tar`: two data sets that share one share the file, and whatever the server serves later,
these bytes stay. A file of that name is whole: it was verified before it took the name. As long as the shards are here, no
network is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itrcore.errors import DataError
from itrcore.fetch.download import download, locked
from itrcore.fetch.problems import required
from itrcore.files import read_json, text_of, write_json
from itrcore.progress import Bars, byte_bars
from itrcore.terminal import remark


class ShardCache:
    """The shards below one address.

    url: of the folder that has `shards.json`; folder: of the kept shards
    A shard is described by its entry in `shards.json`: file, bytes, sha256.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url.rstrip("/"), folder

    @classmethod
    def of(cls, shards: Path) -> ShardCache | None:
        """The cache from which a folder's shards are taken (`record`); None for a folder with shards of its own."""
        if not _address(shards).exists():
            return None
        try:
            remote = read_json(_address(shards))
            return cls(text_of(remote["url"], "url"), Path(text_of(remote["cache"], "cache")))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError.at(
                _address(shards), f"cannot be read ({error})", "url and cache of published shards", do="Run: dvc repro"
            ) from error

    def record(self, shards: Path) -> None:
        """Record that the shards of a folder, which holds description and indexes alone, are taken from this cache."""
        write_json(_address(shards), {"url": self.url, "cache": str(self.folder)})

    def path(self, file: Mapping[str, Any]) -> Path:
        """Where a shard is kept."""
        return self.folder / f"{file['sha256']}.tar"

    def fetch(self, files: Sequence[Mapping[str, Any]]) -> list[Path]:
        """The paths of these shards; missing ones are downloaded first, one after the other, and verified.

        A download that was cut continues where it stopped. One process at a time downloads a shard; others wait for it.
        `DataError` where a shard cannot be had, or has other bytes; what was downloaded so far is kept.
        """
        missing = [file for file in files if not self._has(file)]
        if missing:
            total, done = sum(file["bytes"] for file in missing), 0
            remark(f"Downloading {len(missing)} shards ({total:,} bytes) from {self.url} into {self.folder}")
            with byte_bars() as bars:
                for file in missing:
                    self._download(file, bars, done, total)
                    done += file["bytes"]
        return [self.path(file) for file in files]

    def _has(self, file: Mapping[str, Any]) -> bool:
        path = self.path(file)
        return path.exists() and path.stat().st_size == file["bytes"]

    def _download(self, file: Mapping[str, Any], bars: Bars, before: int, total: int) -> None:
        """before, total: bytes of the shards before this one, and of all: one bar shows all"""
        url, target = f"{self.url}/{file['file']}", self.path(file)
        expected = f"the shard as shards.json describes it (sha256 {file['sha256'][:12]}…)"
        do = f"Run it again when it is there; what is in {self.folder} already is kept."
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(Path(f"{target}.lock"), bars), required(url, expected, do):
                if not self._has(file):
                    download(
                        url,
                        target,
                        bytes=file["bytes"],
                        sha256=file["sha256"],
                        source="shards.json",
                        show=lambda _, done, __: bars.show("shards", before + done, total),
                    )
        except OSError as error:
            raise DataError.at(
                self.folder, f"cannot be written ({error})", "a folder to keep shards in", do="Correct source.cache."
            ) from error


def _address(shards: Path) -> Path:
    # Beside the folder, not in it: trainings depend on the folder, and another mirror or cache changes no result.
    return shards.with_name(f"{shards.name}.remote.json")
