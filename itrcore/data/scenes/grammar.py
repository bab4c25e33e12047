"""Captions of a scene: true English sentences with synonyms, omissions and a different focus each.

What a caption says of an object is an existence claim ("a red ball" is one of the scene's); numbers in counting
captions are exact.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from itrcore.data.scenes.words import (
    AFTER,
    ANY_NOUN,
    BEFORE,
    BEHIND,
    COLOUR_WORDS,
    NOUNS,
    NUMBERS,
    PICTURES,
    PREDICATES,
    RELATION_WORDS,
    ROW_WORDS,
    SIZE_WORDS,
    VERBS,
    WITH_WORDS,
)
from itrcore.data.scenes.world import APART, COLUMNS, Scene, Thing, between, relations

SYNONYM_SHARE = 0.4
MENTIONED = {"colour": 0.88, "size": 0.5, "material": 0.65, "shape": 0.9}
TELLING = 8.0  # how much likelier a caption is about an object that tells the family's members apart
MAX_CAPTIONS = 20  # per scene: the smallest scenes have about a thousand

BETWEEN = 0.6  # where something is between two others
SIDEWAYS = 0.25  # left and right, where the two objects have another relation too

T = TypeVar("T")


@dataclass(frozen=True)
class Phrase:
    """A noun with its modifiers."""

    before: tuple[str, ...]
    noun: str
    behind: str = ""

    def one(self) -> str:
        """With its article: "an orange cube"."""
        text = self._with(self.noun)
        return f"{_article(text)} {text}"

    def many(self) -> str:
        """In the plural, without a number: "orange cubes"."""
        return self._with(_plural(self.noun, 2))

    def _with(self, noun: str) -> str:
        return " ".join([*self.before, noun, *([self.behind] if self.behind else [])])


def captions(scene: Scene, changed: frozenset[int], count: int, rng: np.random.Generator) -> list[str]:
    """`count` different captions of a scene (at most `MAX_CAPTIONS`); the first few differ in focus.

    changed: indices of the objects in which the scene's family differs; captions mention them more often
    """
    writer = _Writer(scene, changed, rng)
    focuses = [writer.about_one, writer.about_two, writer.counting, writer.whole, writer.where]
    order = [focuses[int(i)] for i in rng.permutation(len(focuses))]
    texts: list[str] = []
    while len(texts) < count:
        text = order[len(texts) % len(order)]()
        text = f"{text[0].upper()}{text[1:]}."
        if text not in texts:
            texts.append(text)
        else:  # a focus that has little to say of this scene must not hold the others up
            order.append(order.pop(len(texts) % len(order)))
    return texts


class _Writer:
    """Sentences about one scene, without capital and full stop."""

    def __init__(self, scene: Scene, changed: frozenset[int], rng: np.random.Generator) -> None:
        self.scene = scene
        self.things = scene.things
        self.rng = rng
        weights = np.array([TELLING if i in changed else 1.0 for i in range(len(self.things))])
        self.weights = weights / weights.sum()

    def about_one(self) -> str:
        """One object and its row."""
        index = self._object()
        phrase = self._phrase(self.things[index]).one()
        place = self._place(index)
        picture = self._any(PICTURES)
        return self._any(
            (
                f"{phrase} {self._any(VERBS)} {place}",
                f"there is {phrase} {place}",
                f"{phrase} can be seen {place}",
                f"someone has put {phrase} {place}",
                f"the {picture} shows {phrase} {place}",
            )
        )

    def about_two(self) -> str:
        """Two objects and a relation of theirs, or one between two."""
        a = self._object()
        triples = [
            triple
            for triple in itertools.permutations(range(len(self.things)), 3)
            if a in triple and between(self.scene, *triple)
        ]
        if triples and self.rng.random() < BETWEEN:
            first, left, right = self._different(self._any(triples))
            if self.rng.random() < 0.5:
                left, right = right, left
            return self._any(
                (
                    f"{first} {self._any(VERBS)} between {left} and {right}",
                    f"between {left} and {right} there is {first}",
                )
            )
        b = self._object(but=a)
        relation = relations(self.scene, a, b)[0 if self.rng.random() < SIDEWAYS else -1]
        first, second = self._different((a, b))
        words = self._word(RELATION_WORDS[relation])
        options = [
            f"{first} {self._any(VERBS)} {words} {second}",
            f"{first} {self._any(VERBS)} {words} {second}",
            f"there is {first} {words} {second}",
            f"we can see {first} {words} {second}",
        ]
        if relation in WITH_WORDS:
            options.append(f"{first} with {second} {WITH_WORDS[relation]}")
        if relation in ("left", "right"):
            options.append(f"{'to the ' + relation} of {second} {self._any(VERBS)} {first}")
        return self._any(options)

    def counting(self) -> str:
        """How many objects there are, and how many of them are alike in something."""
        total, picture = len(self.things), self._any(PICTURES)
        thing = self.things[self._object()]
        if self.rng.random() < 0.3:
            shapes = Counter(other.shape for other in self.things)
            shape, alike = shapes.most_common(1)[0]
            if alike == 1:
                shape = thing.shape
            rest = total - alike
            noun = _plural(self._word(NOUNS[shape]), alike)
            others = f" and {NUMBERS[rest]} other {_plural('object', rest)}" if rest else ""
            verb = "is" if alike == 1 else "are"
            exactly = self._any(("", "exactly ", "just "))
            return f"there {verb} {exactly}{NUMBERS[alike]} {noun}{others} in the {picture}"
        holds, predicate = self._predicate(thing)
        number = sum(holds(other) for other in self.things)
        objects = self._word(ANY_NOUN) + "s"
        verb = "is" if number == 1 else "are"
        few, many = NUMBERS[number], NUMBERS[total]
        if number == total:
            everything = "both" if total == 2 else f"all {many}"
            return f"{everything} {objects} in the {picture} {verb} {predicate}"
        return self._any(
            (
                f"there are {many} {objects} in the {picture}, and {few} of them {verb} {predicate}",
                f"{few} of the {many} {objects} {verb} {predicate}",
                f"the {picture} shows {many} {objects}, {few} of them {predicate}",
                f"{'only ' if number == 1 else ''}{few} of the {objects} {verb} {predicate}",
            )
        )

    def whole(self) -> str:
        """Every object of the scene."""
        picture = self._any(PICTURES)
        by_x = sorted(range(len(self.things)), key=lambda i: self.things[i].place.x)
        xs = [self.things[i].place.x for i in by_x]
        if all(right - left > APART for left, right in itertools.pairwise(xs)) and self.rng.random() < 0.6:
            listed = _listing([self._phrase(self.things[i], 0.7).one() for i in by_x])
            return self._any(
                (f"from left to right the {picture} shows {listed}", f"{listed} are seen from left to right")
            )
        phrases = Counter(self._phrase(self.things[int(i)], 0.6) for i in self.rng.permutation(len(self.things)))
        groups = [_number(number, phrase) for phrase, number in phrases.items()]
        listed = _listing(groups)
        return self._any(
            (
                f"{listed} are in a room",
                f"{self._any(('', 'this is '))}{_article(picture)} {picture} of a room with {listed}",
                f"the {picture} shows {listed}",
                f"a room that holds {listed}",
            )
        )

    def where(self) -> str:
        """One object and the part of the picture that it is in."""
        index = self._object()
        thing, picture = self.things[index], self._any(PICTURES)
        phrase = self._phrase(thing).one()
        others = [other.place.x for i, other in enumerate(self.things) if i != index]
        if self.rng.random() < 0.35:
            noun = self._any(ANY_NOUN)
            for side, sign in (("left", 1), ("right", -1)):
                if all(sign * (x - thing.place.x) > APART for x in others):
                    return self._any((f"the {side}most {noun} is {phrase}", f"farthest to the {side} is {phrase}"))
        if not any(other.place.row == "shelf" for other in self.things) and self.rng.random() < 0.2:
            return f"the shelf is empty and {phrase} {self._any(VERBS)} {self._place(index)}"
        column = thing.place.column
        end = column in (0, len(COLUMNS) - 1)
        side = "left" if 2 * column < len(COLUMNS) else "right"
        part = {"shelf": "top", "back": "middle", "front": "bottom"}[thing.place.row] if thing.on is None else ""
        if end and part in ("top", "bottom"):
            place = f"in the {part} {side} corner of the {picture}"
        elif end:
            place = f"on the {side} side of the {picture}"
        elif part == "middle":
            place = f"near the middle of the {picture}"
        elif part:
            place = f"in the {part} half of the {picture}, a bit to the {side} of the center"
        else:
            place = f"a bit to the {side} of the center of the {picture}"
        if self.rng.random() < 0.5:
            return f"{place} there is {phrase}"
        return f"{phrase} {self._any(VERBS)} {place}"

    def _place(self, index: int) -> str:
        """The row of an object, or what it stands on."""
        thing = self.things[index]
        if thing.on is None:
            return self._any(ROW_WORDS[thing.place.row])
        return f"on top of {self._phrase(self.things[thing.on], 0.6).one()}"

    def _predicate(self, thing: Thing) -> tuple[Callable[[Thing], bool], str]:
        """Something that holds of `thing`, as a test and as what follows "is"."""
        kind = self._any(("colour", "colour", "material", "material", "size", "row"))
        if kind == "row" and thing.on is not None:
            return lambda other: other.on is not None, "on top of another one"
        if kind == "row":
            shelf = thing.place.row == "shelf"
            where = "on the shelf" if shelf else "on the floor"
            return lambda other: other.on is None and (other.place.row == "shelf") == shelf, where
        value = getattr(thing, kind)
        words = {"size": SIZE_WORDS, "colour": COLOUR_WORDS, "material": PREDICATES}[kind]
        return lambda other: getattr(other, kind) == value, self._word(words.get(value, (value,)))

    def _different(self, indices: Sequence[int]) -> list[str]:
        """Phrases of several objects, no two alike."""
        texts = [self._phrase(self.things[i]).one() for i in indices]
        if len(set(texts)) < len(texts):  # no two objects share both colour and shape
            texts = [self._phrase(self.things[i], full=True).one() for i in indices]
        return texts

    def _phrase(self, thing: Thing, share: float = 1.0, full: bool = False) -> Phrase:
        """A description with some attributes left out.

        share: scales how often size and material are mentioned; full: colour and shape are named in any case
        """
        mentioned = {kind: bool(self.rng.random() < often) for kind, often in MENTIONED.items()}
        shape = mentioned["shape"] or full
        noun = self._word(NOUNS[thing.shape]) if shape else self._word(ANY_NOUN)
        colour = mentioned["colour"] or full or not shape
        size = mentioned["size"] and self.rng.random() < share
        material = (mentioned["material"] and self.rng.random() < share) or not (colour or size)
        before, behind = [], ""
        if size:
            before.append(self._word(SIZE_WORDS[thing.size]))
        after: tuple[str, ...] = ()
        if material:
            forms = [form for form in (BEFORE, AFTER, BEHIND) if thing.material in form]
            form = self._any(forms)
            word = self._word(form[thing.material])
            if form is BEFORE:
                before.append(word)
            elif form is AFTER:
                after = (word,)
            else:
                behind = word
        if colour:
            before.append(self._word(COLOUR_WORDS.get(thing.colour, (thing.colour,))))
        return Phrase((*before, *after), noun, behind)

    def _object(self, but: int | None = None) -> int:
        weights = self.weights.copy()
        if but is not None:
            weights[but] = 0
        return int(self.rng.choice(len(weights), p=weights / weights.sum()))

    def _any(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def _word(self, words: Sequence[str]) -> str:
        """The usual word, or at times a synonym."""
        return words[0] if len(words) == 1 or self.rng.random() >= SYNONYM_SHARE else self._any(words[1:])


def _number(count: int, phrase: Phrase) -> str:
    return phrase.one() if count == 1 else f"{NUMBERS[count]} {phrase.many()}"


def _article(text: str) -> str:
    return "an" if text[0] in "aeiou" else "a"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else noun + ("es" if noun.endswith("x") else "s")


def _listing(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
