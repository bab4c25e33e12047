"""Captions of the embedded data set, read back by an independent checker: true of their scene, English, telling."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from itrcore.data.scenes.build import split_scenes, write_scenes
from itrcore.data.scenes.world import COLOURS, Scene, Thing
from itrcore.settings.datasets import SPLITS, SplitSizes
from tests.data.scenes.test_scenes import SOURCE, read_captions

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
