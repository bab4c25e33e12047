"""Stage `shards@<data>`: WebDataset shards and their index."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.data.shards import image_writer, region_writer, writing
from itrcore.data.shards.images import ImageShardInfo
from itrcore.data.source import Source
from itrcore.data.sources import obtain, published_shards
from itrcore.errors import DataError
from itrcore.files import replacing
from itrcore.progress import counting
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Check every value and every picture while copying them into shards, or take over those that are published."""
    source, settings = Source.read(layout.raw(name)), params.dataset(name).shards
    obtain.check_unchanged(source, layout.raw(name))
    if source.published:
        with replacing(layout.shards(name)) as temporary:
            published_shards.place(source.published, layout.raw(name), temporary)
        return
    state = layout.STATE / "shards" / name
    finished: dict[str, Path] = {}
    if settings.regions and source.folder:
        with counting(f"{name}: region shards", "images") as progress:
            finished["regions"] = region_writer.write(
                Path(source.folder),
                source.splits,
                layout.captions(name),
                source.features,
                settings.regions,
                state / "regions",
                progress,
            )
    if settings.images:
        with counting(f"{name}: image shards", "images") as progress:
            finished["images"] = image_writer.write(
                layout.captions(name), _pictures(source, name), settings.images, state / "images", progress
            )
        for line in ImageShardInfo.read(finished["images"]).lines():
            say(f"{name}: {line}")
    # Both at the end: where one kind fails, the finished shards of the other are kept.
    with replacing(layout.shards(name)) as temporary:
        for kind, folder in finished.items():
            writing.move(folder, temporary / kind)


def _pictures(source: Source, name: str) -> Path:
    """The folder of the pictures; `DataError` where the source has none."""
    if source.pictures is None:
        raise DataError.at(
            layout.raw(name),
            "this source has no pictures",
            f"a folder of them for datasets.{name}.shards.images",
            do="Give source.pictures, or remove shards.images.",
        )
    return Path(source.pictures)


if __name__ == "__main__":
    run_stage(main)
