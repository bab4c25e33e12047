"""The embedded data set: reproducible bytes, valid files, true captions, near-duplicates, features with a signal."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itrcore.data.scenes import write_scenes
from itrcore.data.scenes.build import directions, scene_regions, split_scenes
from itrcore.data.scenes.features import NAMES
from itrcore.data.scenes.world import ATTRIBUTES, COLOURS, Scene, Thing, draw_family
from itrcore.data.settings import SPLITS, ScenesSource, SplitSizes
from itrcore.errors import ConfigError
from itrcore.files import sha256

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
    found = 0
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
                found += 1
    assert found >= 5


def test_world_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for changes in (
        {"max_objects": 13, "regions": 13},
        {"near_duplicates": 30},
        {"captions_per_image": 21},
        {"seed": -1},
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

WORDS = {
    "shape": {
        **dict.fromkeys(("ball", "sphere", "orb"), "sphere"),
        **dict.fromkeys(("cube", "block", "box"), "cube"),
        **dict.fromkeys(("cylinder", "drum"), "cylinder"),
        **dict.fromkeys(("ring", "hoop"), "ring"),
        **{name: name for name in ("cone", "pyramid", "star", "heart")},
    },
    "colour": {**{name: name for name in COLOURS}, "crimson": "red", "violet": "purple", "dark": "black"},
    "size": {**dict.fromkeys(("small", "little", "tiny"), "small"), **dict.fromkeys(("large", "big", "huge"), "large")},
    "material": {
        **dict.fromkeys(("matte", "dull"), "matte"),
        **dict.fromkeys(("metal", "shiny"), "metal"),
        **dict.fromkeys(("glass", "transparent"), "glass"),
        "striped": "striped",
        **dict.fromkeys(("spotted", "dotted"), "spotted"),
    },
}
BEHIND = {
    " made of metal": "metal",
    " made of glass": "glass",
    " with stripes": "striped",
    " with white spots": "spotted",
    " with dots": "spotted",
    " covered in dots": "spotted",
}
NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
ADJECTIVES = "|".join(word for kind in ("colour", "size", "material") for word in WORDS[kind])
NOUN = "(?:" + "|".join([*WORDS["shape"], "object", "thing", "item"]) + ")"
NP = re.compile(rf"\b({'|'.join(NUMBERS)}) ((?:(?:{ADJECTIVES}) )*{NOUN}(?:e?s)?\b(?:{'|'.join(BEHIND)})?)")
TWO = re.compile(r"^(?:there is |we can see )?<(\d)> (?:(?:is|stands|sits|rests) )?(.+) <(\d)>$")
RELATIONS = {
    "to the left of": lambda a, b: a.x < b.x,
    "to the right of": lambda a, b: a.x > b.x,
    "above": lambda a, b: abs(a.x - b.x) < 0.1 and a.y < b.y,
    "below": lambda a, b: abs(a.x - b.x) < 0.1 and a.y > b.y,
    "in front of": lambda a, b: a.row == "front" and b.row == "back" and abs(a.x - b.x) < 0.3,
    "behind": lambda a, b: a.row == "back" and b.row == "front" and abs(a.x - b.x) < 0.3,
    "next to": lambda a, b: a.row == b.row and abs(a.x - b.x) < 0.3,
    "on top of": lambda a, b: a.on == b.index,
}
SAME = {
    "on the left side of": "to the left of",
    "left of": "to the left of",
    "on the right side of": "to the right of",
    "right of": "to the right of",
    "over": "above",
    "under": "below",
    "underneath": "below",
    "closer to the camera than": "in front of",
    "farther back than": "behind",
    "beside": "next to",
    "on": "on top of",
    "can be seen on top of": "on top of",
}


class Seen:
    """An object as the checker sees it: attributes, and where its box is."""

    def __init__(self, scene: Scene, index: int) -> None:
        box = scene.box(index)
        self.index, self.thing, self.on = index, scene.things[index], scene.things[index].on
        self.x, self.y, self.row = (box[0] + box[2]) / 2, box[3], scene.things[index].place.row


def fits(thing: Thing, description: str) -> bool:
    for ending, material in BEHIND.items():
        if description.endswith(ending):
            if thing.material != material:
                return False
            description = description.removesuffix(ending)
    for word in description.split():
        for kind, meanings in WORDS.items():
            singular = next((w for w in (word, word.removesuffix("s"), word.removesuffix("es")) if w in meanings), None)
            if singular is not None and getattr(thing, kind) != meanings[singular]:
                return False
    return True


def holds(one: Seen, predicate: str) -> bool:
    places = {
        "on the shelf": one.on is None and one.row == "shelf",
        "on the floor": one.on is None and one.row != "shelf",
        "on top of another one": one.on is not None,
    }
    return places[predicate] if predicate in places else fits(one.thing, f"it {predicate}")


def check(scene: Scene, caption: str) -> tuple[bool, set[str]]:
    """Whether the caption is true of the scene, as far as the checker reads it, and what it could read."""
    text = caption[0].lower() + caption[1:].removesuffix(".")
    seen = [Seen(scene, i) for i in range(len(scene.things))]
    read: set[str] = set()
    counting = re.match(r"there (?:is|are) (?:exactly |just )?(\w+) (\w+) and (\w+) other objects? in", text)
    if counting:
        fitting = sum(fits(one.thing, counting[2]) for one in seen)
        return (fitting, len(seen) - fitting) == (NUMBERS[counting[1]], NUMBERS[counting[3]]), {"shape count"}
    total = re.search(r"(?:there are|of the|shows|all) (\w+) (?:object|thing|item)s", text)
    everything = re.match(r"(?:all \w+|both) \w+ in the \w+ are ([\w ]+)$", text)
    share = re.search(r"\b(\w+) of (?:them|the \w+ ?\w*?) (?:(?:is|are) )?([\w ]+)$", text)
    if everything or (share and share[1] in NUMBERS):
        predicate = everything[1] if everything else share[2] if share else ""
        count = sum(holds(one, predicate) for one in seen)
        expected = len(seen) if everything else NUMBERS[share[1]] if share else 0
        agrees = not total or total[1] not in NUMBERS or NUMBERS[total[1]] == len(seen)
        agrees &= not text.startswith("both") or len(seen) == 2
        return count == expected and agrees, {"share count"}
    named: list[list[Seen]] = []
    for match in NP.finditer(text):
        possible = [one for one in seen if fits(one.thing, match[2])]
        if len(possible) < NUMBERS[match[1]]:
            return False, {"objects"}
        named.append(possible)
        read.add("objects")
    places_of = itertools.count()
    form = re.sub(NP, lambda match: f"<{next(places_of)}>", text)
    pair = TWO.match(form)
    words = SAME.get(pair[2], pair[2]) if pair else ""
    ahead = re.match(r"^to the (left|right) of <0> \w+ <1>$", form)
    with_ = re.match(r"^<0> with <1> (.+)$", form)
    if ahead:
        words, named = f"to the {ahead[1]} of", named[::-1]
    elif with_:
        words = {"to its right": "to the left of", "to its left": "to the right of", "below it": "above"}.get(
            with_[1],
            {"above it": "below", "behind it": "in front of", "in front of it": "behind"}.get(with_[1], "next to"),
        )
        if with_[1] == "on top of it":
            words, named = "on top of", named[::-1]
    if words in RELATIONS:
        read.add(words)
        if not any(RELATIONS[words](a, b) for a in named[0] for b in named[1] if a is not b):
            return False, read
    middle = re.match(r"^(?:between <(0)> and <1> there is <(2)>|<0> \w+ between <1> and <2>)$", form)
    if middle:
        read.add("between")
        left, right, one = named if middle[1] else [named[1], named[2], named[0]]
        if not any(
            min(b.x, c.x) < a.x < max(b.x, c.x) and a.row == b.row == c.row for a in one for b in left for c in right
        ):
            return False, read
    side = re.search(
        r"\b(left|right)(?:most| corner| side of the (?:picture|image|photo|scene))|farthest to the (left|right)", form
    )
    if side:
        read.add("side")
        sign = 1 if "right" in side[0] else -1
        extreme = "most" in side[0] or "farthest" in side[0]
        limit = max(sign * one.x for one in seen) if extreme else sign * 0.5
        if not any(sign * one.x >= limit for one in named[0]):
            return False, read
    places = {
        "shelf": r"on the (?:wooden )?shelf|top \w+ corner",
        "front": "front of the room|foreground|floor close|bottom",
    }
    places["back"] = "back of the room|background|near the wall"
    for row, pattern in places.items():
        if re.search(pattern, form):
            read.add(row)
            if not any(one.row == row for one in named[0]):
                return False, read
    if form.startswith("the shelf is empty") and any(one.row == "shelf" for one in seen):
        return False, read
    return True, read


def scenes_with_captions(folder: Path) -> list[tuple[Scene, list[str]]]:
    return [
        (scene, group)
        for split in SPLITS
        for (scene, _), group in zip(split_scenes(MANY, split), read_captions(folder, split), strict=True)
    ]


MANY = SOURCE.model_copy(
    update={"images": SplitSizes(train=800, dev=30, test=30), "width": 4, "regions": 5, "picture_size": 32}
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Scene, list[str]]]:
    folder = tmp_path_factory.mktemp("scenes") / "many"
    folder.mkdir()
    write_scenes(MANY, folder)
    return scenes_with_captions(folder)


def test_captions_are_true(many: list[tuple[Scene, list[str]]]) -> None:
    read: dict[str, int] = {}
    silent = 0
    for scene, group in many:
        for caption in group:
            true, what = check(scene, caption)
            assert true, f"{caption} is not true of {scene}"
            silent += not what
            for name in what:
                read[name] = read.get(name, 0) + 1
    # The checker is only worth something if it reads nearly everything.
    assert silent < 0.02 * 5 * len(many)
    for name in (*RELATIONS, "between", "side", "shape count", "share count", "shelf", "front", "back"):
        assert read.get(name, 0) >= 5, name


def test_captions_tell_near_duplicates_apart_mostly(many: list[tuple[Scene, list[str]]]) -> None:
    """Over captions and their scene's siblings; the checker reads almost all that is said."""
    told = [
        not check(many[start + other][0], caption)[0]
        for start in range(0, 798, 3)
        for own in range(3)
        for caption in many[start + own][1]
        for other in range(3)
        if other != own
    ]
    assert 0.3 < np.mean(told) < 0.8


def test_captions_are_false_of_changed_scenes(many: list[tuple[Scene, list[str]]]) -> None:
    """The checker itself would notice: objects of other colours, or mirrored places."""
    recoloured = mirrored = 0
    for scene, group in many[:200]:
        turned = dict(zip(COLOURS, COLOURS[1:] + COLOURS[:1], strict=True))
        other = replace(
            scene, things=tuple(thing.with_attribute("colour", turned[thing.colour]) for thing in scene.things)
        )
        places = [replace(thing.place, x=1 - thing.place.x) for thing in scene.things]
        flipped = replace(
            scene, things=tuple(replace(thing, place=place) for thing, place in zip(scene.things, places, strict=True))
        )
        recoloured += sum(not check(other, caption)[0] for caption in group)
        mirrored += sum(not check(flipped, caption)[0] for caption in group)
    assert recoloured > 600 and mirrored > 150


def test_captions_read_like_english(many: list[tuple[Scene, list[str]]]) -> None:
    words: dict[str, int] = {}
    for _, group in many:
        assert len(set(group)) == 5
        for caption in group:
            assert re.fullmatch(r"[A-Z][a-z, ]+\.", caption) and "  " not in caption and " ," not in caption, caption
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", caption), caption
            for number, described in NP.findall(caption.lower()):
                noun = re.sub("|".join(BEHIND), "", described).split()[-1]
                assert noun.endswith("s") == (NUMBERS[number] > 1), caption
            assert not re.search(r"\b[Oo]ne of [\w ]+ are |(?:[Tt]wo|[Ff]our) of [\w ]+ is ", caption), caption
            assert len(caption.split()) >= 4 and re.search(rf"{NOUN}(?:e?s)?\b", caption), caption
            for word in re.findall("[a-z]+", caption.lower()):
                words[word] = words.get(word, 0) + 1
    assert 120 <= len(words) <= 160
    assert sum(number >= 4 for number in words.values()) > 0.95 * len(words)


# Features


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
