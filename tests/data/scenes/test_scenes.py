"""The embedded data set: reproducible bytes, valid files, near-duplicates, features with a signal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itrcore.data.scenes.build import directions, scene_regions, split_scenes, write_scenes
from itrcore.data.scenes.features import NAMES
from itrcore.data.scenes.world import ATTRIBUTES, COLOURS, Scene, draw_family
from itrcore.errors import ConfigError
from itrcore.files import sha256
from itrcore.settings.datasets import SPLITS, ScenesSource, SplitSizes

SOURCE = ScenesSource(
    kind="scenes",
    seed=7,
    images=SplitSizes(train=20, dev=7, test=6),
    captions_per_image=5,
    regions=12,
    width=256,
    min_objects=2,
    max_objects=5,
    near_duplicates=3,
    noise=0.4,
    picture_size=96,
)


def written(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    write_scenes(SOURCE.model_copy(update=changes), folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("scenes") / "seed7")


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def read_captions(folder: Path, split: str) -> list[list[str]]:
    lines = (folder / f"{split}_caps.txt").read_text("utf-8").splitlines()
    return [lines[start : start + 5] for start in range(0, len(lines), 5)]


# Files


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = digests(folder)
    assert first == digests(written(tmp_path / "again"))
    other = digests(written(tmp_path / "other", seed=8))
    assert first.keys() == other.keys()
    assert {name for name in first if first[name] == other[name]} <= {"id_mapping.json", "train_ids.txt"} | {
        f"{split}_ids.txt" for split in SPLITS
    }


def test_size_of_one_split_leaves_the_scenes_of_others(folder: Path, tmp_path: Path) -> None:
    more = written(tmp_path / "more", images=SplitSizes(train=25, dev=7, test=6))
    for split in ("dev", "test"):
        for part in ("ims.npy", "caps.txt", "boxes.npy"):
            assert sha256(folder / f"{split}_{part}") == sha256(more / f"{split}_{part}")
    assert read_captions(more, "train")[:20] == read_captions(folder, "train")
    assert np.array_equal(np.load(more / "train_ims.npy")[:20], np.load(folder / "train_ims.npy"))


@pytest.mark.parametrize("split", SPLITS)
def test_counts_and_shapes_and_boxes(folder: Path, split: str) -> None:
    count = getattr(SOURCE.images, split)
    features, boxes = np.load(folder / f"{split}_ims.npy"), np.load(folder / f"{split}_boxes.npy")
    assert features.shape == (count, 12, 256) and features.dtype == np.float32
    assert np.isfinite(features).all() and (features >= 0).all()
    assert 0.4 < (features == 0).mean() < 0.7
    assert boxes.shape == (count, 12, 4) and boxes.dtype == np.float32
    assert (boxes >= 0).all() and (boxes <= SOURCE.picture_size).all()
    assert (boxes[..., 0] < boxes[..., 2]).all() and (boxes[..., 1] < boxes[..., 3]).all()
    assert len(read_captions(folder, split)) == count
    ids = [int(line) for line in (folder / f"{split}_ids.txt").read_text().split()]
    assert len(ids) == (count if split == "train" else 5 * count)
    names = json.loads((folder / "id_mapping.json").read_text())
    for number in ids:
        with Image.open(folder / "images" / names[str(number)]) as picture:
            assert (picture.format, picture.size, picture.mode) == ("JPEG", (96, 96), "RGB")


def test_karpathy_agrees_with_scan_files(folder: Path) -> None:
    data = json.loads((folder / "dataset_scenes.json").read_text())
    names = json.loads((folder / "id_mapping.json").read_text())
    assert data["dataset"] == "scenes"
    for split, theirs in (("train", "train"), ("dev", "val"), ("test", "test")):
        images = [image for image in data["images"] if image["split"] == theirs]
        assert [[s["raw"] for s in image["sentences"]] for image in images] == read_captions(folder, split)
        assert all(names[str(image["imgid"])] == image["filename"] for image in images)
        ids = [int(line) for line in (folder / f"{split}_ids.txt").read_text().split()]
        assert list(dict.fromkeys(ids)) == [image["imgid"] for image in images]
    sentids = [number for image in data["images"] for number in image["sentids"]]
    assert sentids == list(range(5 * 33))


def test_every_box_is_inside_and_has_an_area() -> None:
    source = SOURCE.model_copy(update={"images": SplitSizes(train=400, dev=1, test=1)})
    for position, (scene, _) in enumerate(split_scenes(source, "train")):
        for region in scene_regions(source, "train", position, scene):
            x1, y1, x2, y2 = region.box
            assert 0 <= x1 < x2 - 0.01 < 1 and x2 <= 1 and 0 <= y1 < y2 - 0.01 < 1 and y2 <= 1


def test_place_among_the_regions_tells_nothing() -> None:
    """Every object is in some region, and objects are as often in the last regions as in the first."""
    source = SOURCE.model_copy(update={"images": SplitSizes(train=400, dev=1, test=1)})
    shown = []
    for position, (scene, _) in enumerate(split_scenes(source, "train")):
        things = [region.thing for region in scene_regions(source, "train", position, scene)]
        assert {thing for thing in things if thing is not None} == set(range(len(scene.things)))
        shown.append([thing is not None for thing in things])
    share = np.mean(shown, axis=0)
    assert len(share) == 12 and share.max() - share.min() < 0.15 and 0.3 < share.mean() < 0.6


def test_boxes_lie_over_the_drawn_objects(folder: Path) -> None:
    """A matte object's colour fills the middle of the boxes of the regions that show it."""
    expected = {"red": (214, 38, 42), "green": (44, 158, 66), "blue": (42, 92, 214), "yellow": (248, 214, 36)}
    compared = 0
    boxes = np.load(folder / "train_boxes.npy")
    for position, (scene, _) in enumerate(split_scenes(SOURCE, "train")):
        pixels = np.asarray(Image.open(folder / "images" / f"scene_{position:06d}.jpg").convert("RGB"), np.float64)
        for region, box in zip(scene_regions(SOURCE, "train", position, scene), boxes[position], strict=True):
            if region.thing is None:
                continue
            thing = scene.things[region.thing]
            if thing.colour in expected and thing.material == "matte" and thing.shape != "ring":
                x, y = round((box[0] + box[2]) / 2), round(box[1] + 0.6 * (box[3] - box[1]))
                seen = pixels[y, x] / np.linalg.norm(pixels[y, x])
                best = max(
                    expected, key=lambda name: float(seen @ (np.array(expected[name]) / np.linalg.norm(expected[name])))
                )
                assert best == thing.colour
                compared += 1
    assert compared >= 5


def test_world_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for changes in (
        {"max_objects": 13, "regions": 13},
        {"near_duplicates": 30},
        {"captions_per_image": 21},
    ):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            write_scenes(SOURCE.model_copy(update=changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_fullest_world_can_be_written(tmp_path: Path) -> None:
    sizes = SplitSizes(train=40, dev=1, test=1)
    full = {"min_objects": 2, "max_objects": 12, "near_duplicates": 29, "captions_per_image": 20, "images": sizes}
    written(tmp_path / "full", **full)
    written(tmp_path / "small", **(full | {"max_objects": 2, "regions": 2}))
    lines = (tmp_path / "small" / "train_caps.txt").read_text().splitlines()
    assert all(len(set(lines[start : start + 20])) == 20 for start in range(0, 800, 20))


# Families


def difference(one: Scene, other: Scene) -> list[str]:
    """What differs: "colour", …, or "swap" for two objects that took each other's place."""
    assert one.backdrop == other.backdrop and len(one.things) == len(other.things)
    pairs = list(zip(one.things, other.things, strict=True))
    kinds = [kind for kind in ATTRIBUTES for a, b in pairs if getattr(a, kind) != getattr(b, kind)]
    moved = [(a, b) for a, b in pairs if (a.place, a.on) != (b.place, b.on)]
    if moved:
        (a, a_now), (b, b_now) = moved
        assert (a.place, b.place) == (b_now.place, a_now.place)
        kinds.append("swap")
    return kinds


def test_near_duplicates_differ_in_one_thing() -> None:
    kinds = []
    for index in range(200):
        first, *others = draw_family(np.random.default_rng(index), 2, 6, 5).scenes
        assert len({first, *others}) == 5
        for other in others:
            (kind,) = difference(first, other)
            kinds.append(kind)
    assert all(kinds.count(kind) > 40 for kind in (*ATTRIBUTES, "swap"))


def test_families_do_not_cross_splits() -> None:
    things = {split: [scene.things for scene, _ in split_scenes(SOURCE, split)] for split in SPLITS}
    for split in SPLITS:
        assert len(things[split]) == getattr(SOURCE.images, split)
    places = [{thing.place for scene in things[split] for thing in scene} for split in SPLITS]  # x is drawn per family
    assert not places[0] & places[1] and not places[0] & places[2] and not places[1] & places[2]


def test_objects_of_a_scene_are_apart() -> None:
    for index in range(300):
        for scene in draw_family(np.random.default_rng(index), 2, 12, 4).scenes:
            assert len({(thing.colour, thing.shape) for thing in scene.things}) == len(scene.things)
            for i, thing in enumerate(scene.things):
                x1, y1, x2, y2 = scene.box(i)
                assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
                if thing.on is not None:
                    under = scene.things[thing.on]
                    assert under.shape in ("cube", "cylinder") and (under.size, thing.size) == ("large", "small")
                for j in range(i):
                    a, b = scene.box(j), scene.box(i)
                    across = min(a[2], b[2]) - max(a[0], b[0])
                    down = min(a[3], b[3]) - max(a[1], b[1])
                    hidden = max(across, 0) * max(down, 0) / min((a[2] - a[0]) ** 2, (b[2] - b[0]) ** 2)
                    assert hidden < (0.25 if scene.stacked(i) and scene.stacked(j) else 0.05)


# Captions, read by a small parser of its own


def colour_accuracy(features: np.ndarray, source: ScenesSource) -> float:
    """Share of object regions whose colour least squares against the true projection reads."""
    projection = directions(source)
    offset = features.mean(axis=(0, 1))
    right = []
    rows = [NAMES.index(f"colour={colour}") for colour in COLOURS]
    for position, (scene, _) in enumerate(split_scenes(source, "test")):
        for index, region in enumerate(scene_regions(source, "test", position, scene)):
            if region.thing is not None:
                code, *_ = np.linalg.lstsq(projection.T, features[position, index] - offset, rcond=None)
                right.append(COLOURS[int(code[rows].argmax())] == scene.things[region.thing].colour)
    return float(np.mean(right))


def test_features_carry_the_objects(tmp_path: Path) -> None:
    changes = {"images": SplitSizes(train=1, dev=1, test=60), "picture_size": 32}
    features = np.load(written(tmp_path / "features", **changes) / "test_ims.npy")
    source = SOURCE.model_copy(update=changes)
    assert colour_accuracy(features, source) > 0.85
    shuffled = np.random.default_rng(0).permutation(features.reshape(-1, 256)).reshape(features.shape)
    assert colour_accuracy(shuffled, source) < 0.35


def test_noise_is_that_of_the_settings(tmp_path: Path) -> None:
    """Without noise two regions of one object differ by their boxes alone, with noise by more."""
    spread = []
    for noise in (0.0, 0.4):
        changes = {"images": SplitSizes(train=1, dev=1, test=30), "picture_size": 32, "noise": noise}
        features = np.load(written(tmp_path / str(noise), **changes) / "test_ims.npy")
        source, gaps = SOURCE.model_copy(update=changes), []
        for position, (scene, _) in enumerate(split_scenes(source, "test")):
            shown = [region.thing for region in scene_regions(source, "test", position, scene)]
            for thing in range(len(scene.things)):
                rows = [i for i, other in enumerate(shown) if other == thing]
                assert len(rows) in (1, 2)
                if len(rows) == 2:
                    gaps.append(np.abs(features[position, rows[0]] - features[position, rows[1]]).mean())
        spread.append(float(np.mean(gaps)))
    assert spread[1] > 1.5 * spread[0]
