"""Intervals and p against plain loops over images, and on cases whose answer is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from itrcore.protocols import uncertainty
from itrcore.protocols.uncertainty import FIGURES, RECALLS, Outcomes
from itrcore.ranking import Ranks, metrics


def intervals(outcomes: Outcomes, seed: int = 0) -> dict[str, tuple[float, float]]:
    (found,) = uncertainty.intervals([outcomes], seed)
    return found


def p_values(difference: Outcomes) -> dict[str, float]:
    (found,) = uncertainty.p_values([difference])
    return found


RNG = np.random.default_rng(3)
IMAGES = 60
IMAGE_OF = RNG.permutation(
    np.repeat(np.arange(IMAGES), RNG.integers(1, 7, IMAGES))
)  # from 1 to 6 captions, in any order


def a_result(seed: int, images: int = IMAGES, image_of: np.ndarray = IMAGE_OF) -> Ranks:
    """An image and its captions are easy or hard together: captions drawn one by one would give other intervals."""
    random = np.random.default_rng(seed)
    easy = random.uniform(0.02, 0.6, images)
    return Ranks(random.geometric(easy), random.geometric(easy[image_of]))


def with_images(ranks: Ranks, chosen: np.ndarray) -> dict[str, float]:
    """The figures of a test set of these images, each with its captions, as often as it is chosen."""
    captions = np.concatenate([np.flatnonzero(image == IMAGE_OF) for image in chosen])
    return metrics(Ranks(ranks.image_to_text[chosen], ranks.text_to_image[captions]))


def test_figures_of_outcomes_are_those_of_the_ranks() -> None:
    ranks = a_result(1)
    figures = Outcomes.of(ranks, IMAGE_OF).figures()
    assert figures == pytest.approx({key: metrics(ranks)[key] for key in FIGURES})


def test_an_interval_is_that_of_test_sets_drawn_image_by_image() -> None:
    a, b = a_result(1), a_result(2)
    random = np.random.default_rng(0)
    drawn = [random.integers(0, IMAGES, IMAGES) for _ in range(1500)]
    of_a, of_b = ([with_images(ranks, chosen) for chosen in drawn] for ranks in (a, b))
    found = {
        "one": intervals(Outcomes.of(a, IMAGE_OF)),
        "difference": intervals(Outcomes.of(a, IMAGE_OF) - Outcomes.of(b, IMAGE_OF)),
    }
    for key in FIGURES:
        slow = {"one": [x[key] for x in of_a], "difference": [x[key] - y[key] for x, y in zip(of_a, of_b, strict=True)]}
        for name, values in slow.items():
            close = 0.15 * np.std(values) + 100 / IMAGES  # figures come in steps of an image
            assert found[name][key] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=close), key


def test_p_is_the_share_of_all_ways_to_swap_images() -> None:
    image_of = np.repeat(np.arange(10), 2)
    a, b = (Outcomes.of(a_result(seed, 10, image_of), image_of) for seed in (5, 6))
    difference = (a - b).hits / np.where(np.arange(6) < 3, 10, 20)
    swapped = np.array([np.array(signs) @ difference for signs in product((1, -1), repeat=10)])
    swapped = np.column_stack([swapped, swapped.sum(axis=1)])
    exact = (np.abs(swapped) >= np.abs(swapped[0]) - 1e-12).mean(axis=0)
    assert np.ptp(exact) > 0.2  # they are of all sizes
    assert list(p_values(a - b).values()) == pytest.approx(exact, abs=0.02)


def test_three_images_by_hand() -> None:
    """A alone is right at rank 1 for three images: of the 8 ways to turn signs 2 are as far from 0 as all three. p = 1/4."""
    one = np.arange(4)
    a = Outcomes.of(Ranks(np.array([1, 1, 1, 3]), np.array([1, 1, 1, 1])), one)
    b = Outcomes.of(Ranks(np.array([2, 3, 4, 3]), np.array([1, 1, 1, 1])), one)
    assert (a - b).figures() == {**dict.fromkeys(RECALLS, 0.0), "i2t_r1": 75.0, "rsum": 75.0}
    p = p_values(a - b)
    assert p["i2t_r1"] == p["rsum"] == pytest.approx(0.25, abs=0.02)
    assert all(p[key] == 1.0 for key in RECALLS[1:])


def test_a_result_does_not_differ_from_itself() -> None:
    nothing = Outcomes.of(a_result(1), IMAGE_OF) - Outcomes.of(a_result(1), IMAGE_OF)
    assert set(p_values(nothing).values()) == {1.0}
    assert set(intervals(nothing).values()) == {(0.0, 0.0)}


def test_a_planted_difference_is_found_and_noise_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncertainty, "RESAMPLES", 500)
    image_of = np.repeat(np.arange(300), 5)
    below = {"noise": 0, "planted": 0}
    for seed in range(100):
        random = np.random.default_rng(seed)
        easy = random.random(300)  # an image and its captions are easy or hard together, for both
        a, b, better = (
            Ranks(1 + (random.random(300) > easy + more), 1 + (random.random(1500) > easy[image_of] + more))
            for more in (0, 0, 0.1)
        )
        of_a = Outcomes.of(a, image_of)
        below["noise"] += p_values(of_a - Outcomes.of(b, image_of))["rsum"] < 0.05
        below["planted"] += p_values(of_a - Outcomes.of(better, image_of))["rsum"] < 0.05
    assert below["noise"] <= 12  # 5 are expected
    assert below["planted"] >= 90


def test_the_mean_of_seeds_has_their_mean_figures_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [Outcomes.of(a_result(seed), IMAGE_OF) for seed in (1, 2, 3)]
    mean = Outcomes.mean(seeds)
    for key in FIGURES:
        assert mean.figures()[key] == pytest.approx(np.mean([each.figures()[key] for each in seeds]))
    found, p = np.array(list(intervals(mean).values())), p_values(mean - seeds[0])
    beside = uncertainty.intervals([*seeds, mean])[3]  # beside others as alone
    assert np.array(list(beside.values())) == pytest.approx(found)
    assert uncertainty.p_values([seeds[1] - seeds[0], mean - seeds[0]])[1] == p
    monkeypatch.setattr(uncertainty, "_BLOCK", 20_001)
    assert np.array(list(intervals(mean).values())) == pytest.approx(found)
    assert p_values(mean - seeds[0]) == p
    assert np.array(list(intervals(mean, seed=1).values())) != pytest.approx(found)
