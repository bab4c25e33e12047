"""Which image goes into which split: images that are the same stay together, and the rest is drawn at random."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from itrcore.errors import DataError
from itrcore.settings.datasets import SPLITS


def groups(digests: Sequence[Iterable[bytes]]) -> list[list[int]]:
    """Positions of the images in groups: those of a group share a digest, directly or through others; most are alone.

    digests: of each image
    """
    parent = list(range(len(digests)))

    def top(position: int) -> int:
        while parent[position] != position:
            parent[position] = position = parent[parent[position]]
        return position

    first: dict[bytes, int] = {}
    for position, group in enumerate(digests):
        for value in group:
            a, b = sorted((top(first.setdefault(value, position)), top(position)))
            parent[b] = a
    members: dict[int, list[int]] = {}
    for position in range(len(digests)):
        members.setdefault(top(position), []).append(position)
    return list(members.values())


def sizes(n_images: int, dev: float, test: float) -> tuple[int, int]:
    """Images of dev and test; below 1 each is a share of all, else a count. `DataError` where train would be empty."""
    counts = []
    for name, given in (("dev", dev), ("test", test)):
        if not (0 < given < 1 or (given >= 1 and given == int(given))):
            raise DataError.at(
                f"--{name} {given:g}", "no size of a split", "a share between 0 and 1, or a whole number"
            )
        counts.append(int(given) if given >= 1 else max(1, round(given * n_images)))
    if sum(counts) >= n_images:
        found = f"{n_images} images, of which dev takes {counts[0]} and test {counts[1]}"
        raise DataError.at("the captions", found, "at least one image for each split", do="Ask for smaller splits.")
    return counts[0], counts[1]


def draw(names: Sequence[str], same: Sequence[Sequence[int]], dev: int, test: int, seed: int) -> list[str]:
    """The split of each image, drawn at random by group.

    names: of the images; same: groups of positions, as `groups` makes them; dev, test: images of each
    A group's place in the draw is a hash of a name and the seed: the order of the images does not matter, and another image
    changes few splits. A group that is larger than what test and dev still lack goes to train.
    `DataError` where a split stays empty because too many images are the same.
    """

    def place(group: Sequence[int]) -> bytes:
        return hashlib.sha256(f"{seed}\n{min(names[position] for position in group)}".encode()).digest()

    splits = ["train"] * len(names)
    lacking = {"test": test, "dev": dev}
    for group in sorted(same, key=place):
        split = next((name for name, left in lacking.items() if left >= len(group)), None)
        if split is not None:
            lacking[split] -= len(group)
            for position in group:
                splits[position] = split
    for split in SPLITS:
        if split not in splits:
            found = f"{len(same)} different images; with the same ones together none is left for {split}"
            raise DataError.at("the captions", found, "different images in each split")
    return splits
