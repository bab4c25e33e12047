"""The random split of a user's data: equal images stay together, also through others, and new images move few of the old."""

from __future__ import annotations

import random

from itrcore.own_data.division import draw, groups


def naive_groups(digests: list[set[bytes]]) -> list[list[int]]:
    merged: list[tuple[list[int], set[bytes]]] = []
    for position, own in enumerate(digests):
        joined = [group for group in merged if group[1] & own]
        merged = [group for group in merged if not group[1] & own]
        merged.append(
            (sorted([position, *(i for group in joined for i in group[0])]), own.union(*(g[1] for g in joined)))
        )
    return sorted(group for group, _ in merged)


def test_images_are_grouped_through_others_too() -> None:
    assert groups([{b"f1", b"p1"}, {b"f2", b"p2"}, {b"f1", b"p3"}, {b"f4", b"p3"}]) == [[0, 2, 3], [1]]
    rng = random.Random(4)
    for _ in range(50):
        digests = [{bytes([rng.randrange(30)]), bytes([100 + rng.randrange(30)])} for _ in range(25)]
        assert groups(digests) == naive_groups(digests)


def test_a_split_has_the_size_asked_for_and_few_images_move_when_more_come() -> None:
    names = [f"{i}.jpg" for i in range(1000)]
    alone = [[i] for i in range(1000)]
    before = draw(names[:990], alone[:990], 100, 50, 1)
    after = draw(names, alone, 100, 50, 1)
    assert (after.count("train"), after.count("dev"), after.count("test")) == (850, 100, 50)
    assert sum(a != b for a, b in zip(before, after[:990], strict=True)) <= 20
