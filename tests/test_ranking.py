"""Ranks and metrics against a loop over queries; ties, odd inputs and what must be refused."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest

from itrcore import ranking
from itrcore.errors import DataError
from itrcore.ranking import Ranks, metrics, ranks


def naive_ranks(similarity: np.ndarray, image_of: np.ndarray) -> tuple[list[int], list[int]]:
    """One more than the wrong items that score at least as high as the right one (of an image's captions: its best)."""
    image_to_text, text_to_image = [], []
    for image, row in enumerate(similarity):
        best = max(score for score, owner in zip(row, image_of, strict=True) if owner == image)
        wrong = [score for score, owner in zip(row, image_of, strict=True) if owner != image]
        image_to_text.append(1 + sum(score >= best for score in wrong))
    for caption, owner in enumerate(image_of):
        column = similarity[:, caption]
        text_to_image.append(1 + sum(column[image] >= column[owner] for image in range(len(column)) if image != owner))
    return image_to_text, text_to_image


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Few values, so many ties; from 1 to 6 captions an image, not in the images' order."""
    rng = np.random.default_rng(seed)
    n_images = int(rng.integers(1, 25))
    image_of = rng.permutation(np.repeat(np.arange(n_images), rng.integers(1, 7, n_images)))
    similarity = rng.integers(0, int(rng.integers(1, 9)) + 1, (n_images, len(image_of))).astype(np.float32)
    return similarity, image_of


@pytest.mark.parametrize("block", [1, 50, 2**22])
def test_ranks_are_those_of_the_loop_whatever_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(ranking, "_BLOCK", block)
    for seed in range(40):
        similarity, image_of = random_case(seed)
        ranked = ranks(similarity, image_of)
        expected = naive_ranks(similarity, image_of)
        assert (ranked.image_to_text.tolist(), ranked.text_to_image.tolist()) == expected


def test_metrics_summarise_the_ranks() -> None:
    similarity, image_of = random_case(3)
    expected = naive_ranks(similarity, image_of)
    figures = metrics(ranks(similarity, image_of))
    recalls = 0.0
    for direction, values in zip(("i2t", "t2i"), expected, strict=True):
        for k in (1, 5, 10):
            recall = 100 * sum(rank <= k for rank in values) / len(values)
            assert figures[f"{direction}_r{k}"] == pytest.approx(recall)
            recalls += recall
        assert figures[f"{direction}_median"] == math.floor(statistics.median(rank - 1 for rank in values)) + 1
        assert figures[f"{direction}_mean"] == pytest.approx(sum(values) / len(values))
    assert figures["rsum"] == pytest.approx(recalls)


@pytest.mark.parametrize(
    ("of_images", "median"), [([1, 2], 1.0), ([1, 2, 3, 9], 2.0), ([4, 1, 3, 1], 2.0), ([6, 2, 2], 2.0), ([7, 4], 5.0)]
)
def test_median_of_an_even_number_of_ranks_is_the_mean_of_the_middle_two_rounded_down_as_published(
    of_images: list[int], median: float
) -> None:
    figures = metrics(Ranks(np.array(of_images), np.array(of_images)))
    assert figures["i2t_median"] == figures["t2i_median"] == median
    assert figures["i2t_median"] == np.floor(np.median(np.array(of_images) - 1)) + 1


def test_figures_of_a_small_matrix() -> None:
    similarity = np.array([[3, 0, 0, 0], [4, 2, 3, 3], [1, 1, 5, 2], [9, 0, 9, 4]], np.float32)
    figures = metrics(ranks(similarity, np.arange(4)))  # image ranks 1, 4, 1, 3
    assert figures["i2t_mean"] == 2.25
    assert figures["i2t_r1"] == 50.0


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_similarity_ranks_last_and_not_first(value: float) -> None:
    image_of = np.repeat(np.arange(100), 5)
    figures = metrics(ranks(np.full((100, 500), value, np.float32), image_of))
    assert figures["rsum"] == 0.0
    assert figures["t2i_median"] == 100
    assert figures["i2t_median"] == 496  # all 495 captions of other images stand before it


def test_ties_with_one_wrong_item_cost_one_rank() -> None:
    similarity = np.array([[2, 2, 0], [0, 3, 1], [0, 1, 1]], np.float32)
    ranked = ranks(similarity, np.arange(3))
    assert ranked.image_to_text.tolist() == [2, 1, 2]
    assert ranked.text_to_image.tolist() == [1, 1, 2]


def test_a_perfect_similarity_has_full_recalls() -> None:
    image_of = np.repeat(np.arange(30), 5)
    figures = metrics(ranks((image_of[None, :] == np.arange(30)[:, None]).astype(np.float32), image_of))
    assert figures["rsum"] == 600.0
    assert all(figures[f"{side}_{kind}"] == 1.0 for side in ("i2t", "t2i") for kind in ("median", "mean"))


def test_only_the_best_own_caption_counts_for_an_image() -> None:
    similarity = np.array([[0.1, 0.9, 0.5], [0.0, 0.0, 0.8]], np.float32)
    image_to_text = ranks(similarity, np.array([0, 0, 1])).image_to_text
    assert image_to_text.tolist() == [1, 1]


def test_a_random_similarity_is_at_chance() -> None:
    n_images = 400
    image_of = np.repeat(np.arange(n_images), 5)
    similarity = np.random.default_rng(0).standard_normal((n_images, 5 * n_images), dtype=np.float32)
    figures = metrics(ranks(similarity, image_of))
    for direction in ("i2t", "t2i"):  # chance: 0.25 % at 1, 2.5 % at 10 (t2i); for i2t a little less than that at 10
        assert figures[f"{direction}_r1"] < 1.25
        assert 0.5 < figures[f"{direction}_r10"] < 5.0
    assert figures["t2i_median"] == pytest.approx(n_images / 2, rel=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (7, 3), (9, 19)])
def test_a_score_that_is_not_finite_is_refused_by_place(
    monkeypatch: pytest.MonkeyPatch, value: float, place: tuple[int, int]
) -> None:
    monkeypatch.setattr(ranking, "_BLOCK", 60)  # three rows a block, so that the row is counted over blocks
    similarity = np.random.default_rng(0).standard_normal((10, 20)).astype(np.float32)
    similarity[place] = value
    with pytest.raises(DataError, match=rf"the matrix, row {place[0]}: found {value} for caption {place[1]};"):
        ranks(similarity, np.repeat(np.arange(10), 2), "the matrix")


@pytest.mark.parametrize(
    ("shape", "image_of"),
    [
        ((3, 4), [0, 1, 2]),  # a caption too few
        ((3, 4), [0, 1, 1, 0]),  # image 2 has no caption
        ((3, 4), [0, 1, 2, 3]),  # a caption of an image that is not there
        ((0, 0), []),
    ],
)
def test_a_matrix_that_does_not_fit_its_captions_is_refused(shape: tuple[int, int], image_of: list[int]) -> None:
    with pytest.raises(DataError, match=rf"{shape[0]} images × {shape[1]} captions"):
        ranks(np.zeros(shape, np.float32), np.array(image_of, np.int64))


def test_a_memory_mapped_matrix_ranks_the_same(tmp_path: Path) -> None:
    similarity, image_of = random_case(11)
    np.save(tmp_path / "similarity.npy", similarity)
    assert metrics(ranks(np.load(tmp_path / "similarity.npy", mmap_mode="r"), image_of)) == metrics(
        ranks(similarity, image_of)
    )
