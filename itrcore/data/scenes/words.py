"""The words of the captions. Where there are several for one thing, the first is the usual one."""

from __future__ import annotations

NOUNS: dict[str, tuple[str, ...]] = {
    "sphere": ("ball", "sphere", "orb"),
    "cube": ("cube", "block", "box"),
    "cylinder": ("cylinder", "drum"),
    "cone": ("cone",),
    "pyramid": ("pyramid",),
    "ring": ("ring", "hoop"),
    "star": ("star",),
    "heart": ("heart",),
}
ANY_NOUN = ("object", "thing", "item")
SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson"),
    "purple": ("purple", "violet"),
    "black": ("black", "dark"),
}
# Adjectives before the colour, nouns after it, and phrases behind the noun.
BEFORE = {
    "matte": ("matte", "dull"),
    "metal": ("shiny",),
    "glass": ("transparent",),
    "striped": ("striped",),
    "spotted": ("spotted", "dotted"),
}
AFTER = {"metal": ("metal",), "glass": ("glass",)}
BEHIND = {
    "metal": ("made of metal",),
    "glass": ("made of glass",),
    "striped": ("with stripes",),
    "spotted": ("with white spots", "with dots"),
}
PREDICATES: dict[str, tuple[str, ...]] = {
    "matte": ("matte", "dull"),
    "metal": ("made of metal", "shiny"),
    "glass": ("made of glass", "transparent"),
    "striped": ("striped",),
    "spotted": ("spotted", "covered in dots"),
}
RELATION_WORDS = {
    "left": ("to the left of", "on the left side of", "left of"),
    "right": ("to the right of", "on the right side of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "front": ("in front of", "closer to the camera than"),
    "behind": ("behind", "farther back than"),
    "beside": ("next to", "beside"),
    "on": ("on top of", "on"),
    "under": ("under", "underneath"),
}
# How the second object of "X with Y …" is placed by what X is to it.
WITH_WORDS = {
    "left": "to its right",
    "right": "to its left",
    "above": "below it",
    "below": "above it",
    "front": "behind it",
    "behind": "in front of it",
    "beside": "next to it",
    "under": "on top of it",
}
ROW_WORDS = {
    "shelf": ("on the shelf", "on the wooden shelf", "up on the shelf on the wall"),
    "back": ("at the back of the room", "in the background", "on the floor near the wall"),
    "front": ("at the front of the room", "in the foreground", "on the floor close to the camera"),
}
VERBS = ("is", "stands", "sits", "rests")
PICTURES = ("picture", "image", "photo", "scene")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
