"""Writes the embedded data set as a folder in SCAN's layout, with Karpathy's JSON and the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from itrcore.data import karpathy, scan_writing
from itrcore.data.scenes import features, grammar, rendering, world
from itrcore.errors import ConfigError
from itrcore.progress import Count
from itrcore.settings.datasets import SPLITS, ScenesSource

# Every kind of chance has its own stream of numbers per split, so that a change of one leaves the others as they were.
STREAMS = ("world", "captions", "layout", "noise")
KARPATHY_SPLITS = {"train": "train", "dev": "val", "test": "test"}


def write_scenes(settings: ScenesSource, folder: Path, progress: Count | None = None) -> None:
    """Fill `folder`, which exists and is empty, with the data set that `settings` describe.

    Writes `{split}_ims.npy`, `{split}_caps.txt`, `{split}_ids.txt`, `{split}_boxes.npy`, `id_mapping.json`,
    `dataset_scenes.json` and `images/`. The same settings give the same bytes; the number of images of a split does
    not change what the others show, only their ids.

    progress: called with images done, images in all
    Raises `ConfigError` where the settings ask for more than the world holds.
    """
    _check(settings)
    (folder / "images").mkdir()
    entries: list[karpathy.KarpathyImage] = []
    for split in SPLITS:
        entries += _write_split(settings, folder, split, len(entries), progress)
    scan_writing.write_id_mapping(folder, {entry.imgid: entry.filename for entry in entries})
    karpathy.write(folder / "dataset_scenes.json", "scenes", entries)


def split_scenes(settings: ScenesSource, split: str) -> Iterator[tuple[world.Scene, world.Family]]:
    """The scenes of a split in order, each with its family; the last family may be cut short."""
    count, members = getattr(settings.images, split), settings.near_duplicates
    for start in range(0, count, members):
        rng = _random(settings, split, "world", start // members)
        family = world.draw_family(rng, settings.min_objects, settings.max_objects, members)
        for scene in family.scenes[: count - start]:
            yield scene, family


def scene_regions(settings: ScenesSource, split: str, position: int, scene: world.Scene) -> list[features.Region]:
    """What each region of the scene at `position` of a split shows."""
    return features.lay_out(scene, settings.regions, _random(settings, split, "layout", position))


def directions(settings: ScenesSource) -> np.ndarray:
    """The data set's projection, (len(features.NAMES) + 4, width), shared by its splits."""
    return features.projection(settings.seed, len(STREAMS) * len(SPLITS), settings.width)


def _write_split(
    settings: ScenesSource, folder: Path, split: str, first_id: int, progress: Count | None
) -> list[karpathy.KarpathyImage]:
    count, per_image = getattr(settings.images, split), settings.captions_per_image
    boxes = np.empty((count, settings.regions, 4), np.float32)
    entries = []
    for position, (scene, family) in enumerate(split_scenes(settings, split)):
        number = first_id + position
        name = f"scene_{number:06d}.jpg"
        picture = rendering.draw(scene, settings.picture_size)
        picture.save(folder / "images" / name, quality=rendering.JPEG_QUALITY)
        boxes[position] = features.pixels(scene_regions(settings, split, position, scene), settings.picture_size)
        rng = _random(settings, split, "captions", position)
        entries.append(
            karpathy.KarpathyImage(
                imgid=number,
                filename=name,
                split=KARPATHY_SPLITS[split],
                sentids=list(range(number * per_image, (number + 1) * per_image)),
                captions=grammar.captions(scene, family.changed, per_image, rng),
            )
        )
        if progress is not None:
            progress(number + 1, sum(getattr(settings.images, name) for name in SPLITS))
    scan_writing.write_split(
        folder,
        split,
        shape=(count, settings.regions, settings.width),
        rows=_rows(settings, split),
        image_ids=[entry.imgid for entry in entries],
        captions=[entry.captions for entry in entries],
        ids_per="image" if split == "train" else "caption",
        boxes=boxes,
    )
    return entries


def _rows(settings: ScenesSource, split: str) -> Iterator[np.ndarray]:
    """Features of one scene after the other, (n_regions, width)."""
    projection = directions(settings)
    for position, (scene, _) in enumerate(split_scenes(settings, split)):
        regions = scene_regions(settings, split, position, scene)
        yield features.features(regions, projection, settings.noise, _random(settings, split, "noise", position))


def _random(settings: ScenesSource, split: str, stream: str, index: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, SPLITS.index(split) * len(STREAMS) + STREAMS.index(stream), index])


def _check(settings: ScenesSource) -> None:
    """`ConfigError` where a setting exceeds the world's limits, which its model does not know."""
    limits = {
        "max_objects": (world.MAX_OBJECTS, "places in the room"),
        "near_duplicates": (world.MAX_NEAR_DUPLICATES, "scenes that differ from a small one in one thing"),
        "captions_per_image": (grammar.MAX_CAPTIONS, "captions that a small scene is sure to have"),
    }
    for name, (most, why) in limits.items():
        value = getattr(settings, name)
        if value > most:
            raise ConfigError(f"scenes data set: {name} is {value}; expected at most {most}, the number of {why}.")
