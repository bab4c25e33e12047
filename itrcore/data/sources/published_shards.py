"""Published shards: the folder `data/<name>` of somebody else's pipeline behind an HTTP address, as a data set of ours.

    <url>/captions.parquet
    <url>/shards/regions/{shards.json, train.arrow, dev.arrow, test.arrow, train-00000.tar, …}
    <url>/shards/images/…        likewise

Any static HTTP(S) server or public bucket will do; it needs no listing. Stage `raw` fetches captions, descriptions and
indexes, stage `shards` puts them where training looks for them, with the address; the shards themselves are downloaded
when a split is first opened (`itrcore/data/shards/files.py`), and kept (`itrcore/data/shards/cache.py`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from itrcore import limits
from itrcore.data import captions
from itrcore.data.shards import images, regions
from itrcore.data.shards.cache import ShardCache
from itrcore.data.shards.checks import Kind
from itrcore.data.shards.files import read_description, read_index
from itrcore.data.source import Source
from itrcore.errors import DataError, shown
from itrcore.fetch.download import download
from itrcore.fetch.problems import SourceError, required
from itrcore.files import digest, sha256
from itrcore.settings.datasets import SPLITS, ShardsSource
from itrcore.terminal import say

KINDS = {"regions": regions.KIND, "images": images.KIND}
_ABSENT = (403, 404, 410)  # buckets answer 403 for what is not there
_AGAIN = "Correct source.url, or run it again when it is there."


def obtain(settings: ShardsSource, raw: Path) -> Source:
    """Fetch captions, descriptions and indexes into the folder `raw`, and check that they belong together.

    `DataError` where the address does not answer, has no shards, or serves something else than the pipeline writes.
    """
    url = settings.url.rstrip("/")
    table = raw / "captions.parquet"
    _fetch(f"{url}/captions.parquet", table)
    described: dict[str, dict[str, Any]] = {}
    missing = []
    for kind, shape in KINDS.items():
        address, folder = f"{url}/shards/{kind}", raw / "shards" / kind
        with required(address, "published shards", _AGAIN):
            try:
                download(f"{address}/shards.json", folder / "shards.json", most=limits.JSON)
            except SourceError as error:
                if error.status not in _ABSENT:  # a server that fails now tells nothing about what is published
                    raise
                missing.append(f"{kind}: {error}")
                shutil.rmtree(folder)
                continue
        described[kind] = _indexes(address, folder, shape)
    if not described:
        raise DataError.at(f"{url}/shards", f"no shards.json ({'; '.join(missing)})", "published shards", do=_AGAIN)
    for reason in missing:
        say(f"{url}/shards has no {reason}")
    if (kept := shown(url)) != url:
        say(f"The password in source.url is not kept: later stages take it from ~/.netrc. They read {kept}")
    for kind in described:
        _check_images(url, table, raw / "shards" / kind, KINDS[kind])
    return Source(
        described["regions"]["features"] if "regions" in described else "none",
        published={"url": kept, "cache": settings.cache},
        content=digest([sha256(table), {kind: value["digest"] for kind, value in described.items()}]),
    )


def place(published: Mapping[str, str], raw: Path, folder: Path) -> None:
    """Fill the new `folder` with `regions/`, `images/` or both, for `FeatureStore` and `ImageStore`, shards not included.

    published: url and cache, as `obtain` gives them in the source; raw: the folder that it filled
    """
    for described in (raw / "shards").iterdir():
        shutil.copytree(described, folder / described.name)
        url = f"{published['url']}/shards/{described.name}"
        ShardCache(url, Path(published["cache"])).record(folder / described.name)


def samples(url: str, split: str, cache: Path) -> Iterator[dict[str, Any]]:
    """Stream the published region shards of a split in order, as `regions.samples` does one.

    url: as for `ShardsSource`. Each shard is downloaded into `cache` when its turn comes, once, and verified; the first
    sample is there after the first shard. `DataError` as for `ShardCache.fetch`.
    """
    folder_url = f"{url.rstrip('/')}/shards/regions"
    with tempfile.TemporaryDirectory() as temporary:
        _fetch(f"{folder_url}/shards.json", Path(temporary, "shards.json"))
        described = _described(folder_url, Path(temporary), regions.KIND)
    kept = ShardCache(folder_url, cache)
    for file in described["splits"][split]["shards"]:
        yield from regions.samples(*kept.fetch([file]))


def _fetch(url: str, target: Path, expected: str | None = None) -> None:
    with required(url, "a file of published shards", _AGAIN):
        download(url, target, sha256=expected, source="shards.json", most=limits.TEXT)


def _indexes(url: str, folder: Path, kind: Kind) -> dict[str, Any]:
    described = _described(url, folder, kind)
    for split in SPLITS:
        _fetch(f"{url}/{split}.arrow", folder / f"{split}.arrow", described["splits"][split]["index_sha256"])
    return described


def _described(url: str, folder: Path, kind: Kind) -> dict[str, Any]:
    """`shards.json`, checked: it comes from outside, and names in it become paths."""
    return read_description(folder, kind, f"{url}/shards.json", _AGAIN)


def _check_images(url: str, table: Path, folder: Path, kind: Kind) -> None:
    try:
        whole = captions.read_published(table)
    except DataError as error:
        raise DataError.at(
            f"{url}/{table.name}", f"it cannot be read ({error})", "a caption table", do=_AGAIN
        ) from error
    for split in SPLITS:
        described = [image.image_id for image in captions.images_of(whole, split)]
        index = read_index(folder, split, kind, f"{url}/shards/{folder.name}/{split}.arrow", _AGAIN)
        if described != index["image_id"].to_pylist():
            raise DataError.at(
                f"{url}/{table.name}",
                f"other {split} images than in the shards of {folder.name}",
                "the same, in order",
                do="Tell whoever publishes them: the files are of different runs.",
            )
