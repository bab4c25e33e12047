"""The error analysis: its figures against slow obvious ones, and its page."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from itrcore.data.captions import Image
from itrcore.protocols.annotations import Annotation, Side
from itrcore.protocols.ranked import Ranked
from itrcore.report.analysis import agreement, groups, hubs
from itrcore.report.analysis.analysis import Analysis, analyse
from itrcore.report.analysis.page import as_json
from itrcore.report.marks import Marks

NAN = float("nan")


def test_ranges_have_every_query_once_and_none_is_smaller_than_the_least() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        values = rng.poisson(rng.integers(1, 12), int(rng.integers(20, 900)))
        found = groups.ranges(values)
        least = max(groups.LEAST, len(values) / 10)
        held = [set(values[group.members].tolist()) for group in found]
        assert sum(group.members.sum() for group in found) == len(values)
        assert all(max(one) < min(other) for one, other in pairwise(held))
        for group, of_group in zip(found, held, strict=True):
            low, high = min(of_group), max(of_group)
            assert group.label == (f"{low}–{high}" if low < high else f"{low}")
            if len(found) > 1:
                assert group.members.sum() >= least
                rest = group.members & (values < high)
                assert rest.sum() < least or group is found[-1], "it could have been two"


def test_queries_are_parted_by_words_concepts_and_kinds_where_each_part_has_enough() -> None:
    captions = ["a dog , runs ."] * 40 + ["two big dogs and a man run fast"] * 40 + ["nothing"] * 10
    image_of = np.arange(90) // 2
    objects, motions = np.zeros((90, 3), bool), np.zeros((90, 1), bool)
    objects[:80, 0], objects[40:80, 1:], motions[:50] = True, True, True
    parted = groups.groupings(captions, image_of, {"object": objects, "motion": motions})
    said = {(each.side, each.key): {group.label: int(group.members.sum()) for group in each.groups} for each in parted}
    assert said == {
        ("t2i", "words"): {"1–3": 50, "8": 40},  # commas and full stops are no words
        ("t2i", "concepts"): {"0–2": 50, "3–4": 40},
        ("t2i", "kinds"): {"motions": 50, "no motions": 40},  # 10 captions without an object say nothing
    }  # 45 images are too few for two groups
    assert [each.key for each in groups.groupings(captions, image_of, {})] == ["words"]


@pytest.mark.parametrize(("right", "wrong"), [(7, 33), (1, 39), (200, 56)])
def test_the_ends_of_an_interval_are_the_shares_that_lie_1_96_deviations_away(right: int, wrong: int) -> None:
    n = right + wrong
    found = groups.rate(np.repeat([1.0, 0.0], [right, wrong]), np.arange(n))
    for end in (found.low / 100, found.high / 100):
        assert abs(right / n - end) == pytest.approx(1.959964 * (end * (1 - end) / n) ** 0.5, rel=1e-5)
    assert found.value == pytest.approx(100 * right / n)


def test_captions_of_one_image_that_fail_together_count_once() -> None:
    once = np.random.default_rng(0).random(50) < 0.3
    alone = groups.rate(once.astype(float), np.arange(50))
    five = groups.rate(np.repeat(once, 5).astype(float), np.repeat(np.arange(50), 5))
    assert (five.low, five.high) == pytest.approx((alone.low, alone.high))
    apart = groups.rate(np.repeat(once, 5).astype(float), np.arange(250))
    assert five.high - five.low > 2 * (apart.high - apart.low)
    for value in (0.0, 1.0):  # nothing shows how alike they are: 50 images
        ends = groups.rate(np.full(250, value), np.repeat(np.arange(50), 5))
        assert (ends.low, ends.high) == pytest.approx((0.0, 7.13) if value == 0 else (92.87, 100.0), abs=0.01)


def test_intervals_are_about_those_of_resampled_images() -> None:
    rng = np.random.default_rng(1)
    image = np.repeat(np.arange(200), rng.integers(1, 8, 200))
    right = (rng.random(len(image)) < rng.beta(1, 1, 200)[image]).astype(float)
    hits, held = np.bincount(image, right), np.bincount(image)
    drawn = rng.integers(0, 200, (4000, 200))
    low, high = np.percentile(100 * hits[drawn].sum(1) / held[drawn].sum(1), [2.5, 97.5])
    found = groups.rate(right, image)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.7)


def test_hubness_is_that_of_plain_counts_and_chance_that_of_the_binomial() -> None:
    found = np.random.default_rng(0).zipf(1.6, (60, 5)) % 40
    counts = Counter(found.ravel().tolist())
    n = [counts[item] for item in range(45)]
    mean = sum(n) / 45
    moments = [sum((each - mean) ** power for each in n) / 45 for power in (2, 3)]
    ours = hubs.hubness(hubs.occurrences(found, 45))
    assert ours.skewness == pytest.approx(moments[1] / moments[0] ** 1.5)
    assert (ours.never, ours.largest) == (pytest.approx(100 * n.count(0) / 45), max(n))
    assert hubs.hubness(np.full(4, 3)).skewness == 0.0
    random = np.random.default_rng(1)
    drawn = [np.stack([random.permutation(45)[:5] for _ in range(60)]) for _ in range(300)]
    pooled = hubs.hubness(np.concatenate([hubs.occurrences(each, 45) for each in drawn]))
    assert hubs.by_chance(60, 5, 45) == pytest.approx((pooled.skewness, pooled.never), abs=0.07)
    assert hubs.by_chance(60, 5, 5) == (0.0, 0.0)


def test_agreement_is_that_of_loops_over_queries_and_seeds() -> None:
    wrong = np.random.default_rng(0).random((4, 60)) < [[0.2], [0.5], [0.9], [0.5]]
    wrong[3] |= wrong[1]
    rows = [[0], [1, 3], [2]]

    def share(a: int, b: int) -> float:
        of_a = [query for query in range(60) if wrong[a, query]]
        return 100 * sum(bool(wrong[b, query]) for query in of_a) / len(of_a)

    def kappa(a: int, b: int) -> float:
        agree = sum(bool(wrong[a, query] == wrong[b, query]) for query in range(60)) / 60
        p, q = wrong[a].mean(), wrong[b].mean()
        chance = p * q + (1 - p) * (1 - q)
        return float((agree - chance) / (1 - chance))

    for ours, plain in ((agreement.also_wrong(wrong), share), (agreement.kappa(wrong), kappa)):
        board = agreement.of_rows(ours, rows)
        for i, row in enumerate(rows):
            for j, column in enumerate(rows):
                pairs = [plain(a, b) for a in row for b in column if a != b]
                assert board[i, j] == pytest.approx(np.mean(pairs) if pairs else NAN, nan_ok=True)
    alone = [
        [q for q in range(60) if not wrong[row, q].any() and wrong[[x for x in range(4) if x not in row], q].all()]
        for row in rows
    ]
    assert [each.tolist() for each in agreement.only(wrong, rows)] == alone and any(alone)
    assert agreement.missed_by_all(wrong).tolist() == [q for q in range(60) if all(wrong[:, q])]
    perfect = np.zeros((2, 5), bool)
    assert np.isnan(agreement.kappa(perfect)).all() and np.isnan(agreement.also_wrong(perfect)).all()


def result(i2t: list[int], t2i: list[int], captions: list[list[int]], images: list[list[int]]) -> Ranked:
    return Ranked(*(np.array(part, np.int32) for part in (i2t, t2i, captions, images)))


def board(**seeds: int) -> list[Any]:
    """Rows with so many seeds; of an ensemble `mixed`."""
    return [
        SimpleNamespace(
            name=name,
            kind="ensemble" if name == "mixed" else "run",
            entries=[
                SimpleNamespace(name=f"{name}-{n}", evaluation=SimpleNamespace(features="synthetic"))
                for n in range(count)
            ],
        )
        for name, count in seeds.items()
    ]


IMAGES = [Image(10 + n, f"{n}.jpg", [2 * n, 2 * n + 1], [f"first of {n}", "the same"]) for n in range(3)]
RESULTS = {
    "mixed-0": result([1, 1, 1], [1] * 6, [[0, 1], [2, 0], [4, 0]], [[0, 1], [0, 1], [1, 0], [1, 0], [2, 0], [2, 0]]),
    "two-0": result([2, 1, 3], [1, 2, 2, 9, 1, 7], [[2, 0], [2, 0], [0, 1]], [[0, 2], [2, 0], [0, 1], [0, 1], [2, 0], [0, 1]]),
    "two-1": result([2, 1, 3], [1, 2, 1, 9, 4, 7], [[2, 0], [2, 0], [0, 1]], [[0, 2], [2, 0], [1, 0], [0, 1], [0, 1], [0, 1]]),
    "one-0": result([2, 3, 1], [2, 3, 2, 5, 4, 3], [[2, 0], [0, 1], [4, 0]], [[1, 0], [2, 1], [0, 1], [0, 2], [0, 1], [0, 1]]),
}  # fmt: skip
RIGHT = {(0, 2): None, (2, 0): None, (1, 2): None}
ELSEWHERE = Annotation("CxC", {"i2t": Side.of(RIGHT), "t2i": Side.of({(1, 2): 3.62, (3, 0): 4.0, (0, 0): 5.0})})


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyse("toy", board(mixed=1, two=2, one=1), RESULTS, IMAGES, {}, [ELSEWHERE])


def test_failures_are_counted_over_methods_and_seeds_and_shown_with_their_queries(analysis: Analysis) -> None:
    of_images, of_captions = analysis.agreement
    assert (of_images.missed, of_images.only) == (1, {"two": 1, "one": 1})
    assert (of_captions.missed, of_captions.only) == (3, {"two": 1, "one": 0})  # not those of one of its seeds alone
    assert [(each.caption, each.note) for each in of_captions.only_examples] == [
        ("first of 0", "only with two; median rank 1")
    ]
    worst = of_captions.missed_examples[0]
    assert (worst.caption, worst.image_id, worst.note) == ("the same", 11, "median rank 9")
    assert of_images.wrong == pytest.approx([0.0, 200 / 3, 200 / 3])
    assert of_captions.also_wrong[1, 1] == pytest.approx((100 * 3 / 4 + 100 * 3 / 4) / 2)  # each seed with the other
    assert np.isnan(of_captions.also_wrong[[0, 2], [0, 2]]).all()


def test_hubs_are_items_and_their_counts_means_over_rows(analysis: Analysis) -> None:
    of_captions = analysis.hubs[0]
    assert (of_captions.items, of_captions.queries, of_captions.k) == (6, 3, 2)
    # Caption 0 is among the 2 best of 3 queries with every row.
    hub = of_captions.largest[0]
    assert (hub.caption, hub.image_id) == ("first of 0", 10)
    assert hub.note == "3 of 3 queries, a mean over the rows; 3 with mixed"
    assert analysis.hubs[1].largest[0].file_name == "0.jpg"


def test_answers_that_only_others_have_as_right_are_counted_for_each_result(analysis: Analysis) -> None:
    found = {(each.name, each.side): (each.asked, each.wrong, each.right) for each in analysis.unlabelled}
    assert found == {
        ("mixed-0", "i2t"): (3, 0, 0), ("mixed-0", "t2i"): (3, 0, 0),
        ("two-0", "i2t"): (3, 2, 2), ("two-0", "t2i"): (3, 2, 2),
        ("two-1", "i2t"): (3, 2, 2), ("two-1", "t2i"): (3, 2, 2),
        ("one-0", "i2t"): (3, 2, 1), ("one-0", "t2i"): (3, 3, 2),
    }  # fmt: skip
    assert analysis.unlabelled_examples == {"i2t": [], "t2i": []}  # of the first row's result, which has all right
    of_two = analyse("toy", board(two=2), RESULTS, IMAGES, {}, [ELSEWHERE])
    assert of_two.agreement == []
    assert [(query.caption, answer.image_id, answer.note) for query, answer in of_two.unlabelled_examples["t2i"]] == [
        ("the same", 12, "rated 3.6 by CxC"),
        ("the same", 10, "rated 4.0 by CxC"),
    ]


def test_the_json_has_every_figure_by_name_and_null_where_there_is_none(analysis: Analysis) -> None:
    figures = json.loads(json.dumps(as_json(analysis), allow_nan=False))
    assert figures["agreement"]["t2i"]["also_wrong"]["two"]["two"] == pytest.approx(75.0)
    assert figures["agreement"]["t2i"]["kappa"]["one"]["one"] is None
    assert figures["agreement"]["i2t"]["only"] == {"two": 1, "one": 1}
    assert figures["hubness"]["i2t"]["rows"]["mixed"]["largest"] == 3
    assert figures["unlabelled"][2]["name"] == "two-0" or len(figures["unlabelled"]) == 8
    assert figures["recall"] == []  # 6 captions


def test_an_answer_is_marked_by_its_ids_and_texts_where_others_have_it_as_right() -> None:
    marks = Marks(IMAGES, [ELSEWHERE, Annotation("ECCV Caption", {"i2t": Side.of(RIGHT), "t2i": Side.of({})})])
    assert marks and not Marks()
    assert marks.of_caption(10, "first of 1") == "right by CxC, right by ECCV Caption"
    assert marks.of_caption(10, "first of 0") == marks.of_caption(11, "unheard") == ""
    assert marks.of_image("the same", 12) == "rated 3.6 by CxC"  # one of three captions of this text
    assert marks.of_image("first of 1", 12) == "" == Marks().of_caption(10, "first of 1")
