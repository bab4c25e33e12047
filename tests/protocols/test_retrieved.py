"""Retrieved examples: what is shown for which queries, and that it agrees with the ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itrcore.data.captions import Image
from itrcore.protocols.contract import Judged
from itrcore.protocols.retrieved import retrieved
from itrcore.ranking import ranks
from itrcore.runs.examples import Retrieved


def split(counts: list[int]) -> tuple[list[Image], np.ndarray]:
    images = [
        Image(10 + i, f"{i}.jpg", list(range(count)), [f"caption {i}.{c}" for c in range(count)])
        for i, count in enumerate(counts)
    ]
    return images, np.repeat(np.arange(len(counts)), counts)


def case(seed: int, values: int) -> tuple[np.ndarray, list[Image], np.ndarray]:
    """A similarity of few values (many ties), right pairs a little better than others."""
    rng = np.random.default_rng(seed)
    images, image_of = split([2, 1, 3, 2, 4, 1, 2, 3])
    similarity = rng.integers(0, values, (len(images), len(image_of))).astype(np.float32)
    similarity[image_of, np.arange(len(image_of))] += rng.integers(0, values // 2 + 1, len(image_of))
    return similarity, images, image_of


def shown(similarity: np.ndarray, images: list[Image], queries: int, rows: int) -> Retrieved:
    return retrieved(Judged("a run", similarity, images), queries, rows)


@pytest.mark.parametrize("values", [1, 3, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_the_first_right_answer_stands_at_the_querys_rank(seed: int, values: int) -> None:
    similarity, images, image_of = case(seed, values)
    examples, ranked = shown(similarity, images, queries=100, rows=100), ranks(similarity, image_of)
    captions = [caption for image in images for caption in image.captions]
    for query in examples.image_to_text:
        row = query.image_id - 10
        assert query.rank == ranked.image_to_text[row]
        assert [one.correct for one in query.retrieved].index(True) == query.rank - 1
        for caption in query.retrieved:
            column = captions.index(caption.caption)
            assert caption.correct == (image_of[column] == row) == (caption.caption in query.captions)
            assert caption.score == similarity[row, column]
        assert (query.file_name, list(query.captions)) == (images[row].file_name, images[row].captions)
    for asked in examples.text_to_image:
        column = captions.index(asked.caption)
        assert asked.rank == ranked.text_to_image[column]
        assert (asked.image_id, asked.file_name) == (10 + image_of[column], f"{image_of[column]}.jpg")
        assert [one.correct for one in asked.retrieved].index(True) == asked.rank - 1
        for image in asked.retrieved:
            row = image.image_id - 10
            assert image.correct == (row == image_of[column])
            assert (image.score, image.file_name) == (similarity[row, column], f"{row}.jpg")
    for one in (*examples.image_to_text, *examples.text_to_image):
        scores = [answer.score for answer in one.retrieved]
        assert scores == sorted(scores, reverse=True)


def ranked(image_ranks: list[int]) -> np.ndarray:
    """One caption an image; image i's own caption has the given rank among all captions."""
    n = len(image_ranks)
    similarity = np.zeros((n, n), np.float32)
    for image, rank in enumerate(image_ranks):
        others = [caption for caption in range(n) if caption != image]
        similarity[image, others[: rank - 1]] = 2.0
        similarity[image, image] = 1.0
    return similarity


def queries_of(image_ranks: list[int], queries: int) -> list[tuple[int, str, int]]:
    images, _ = split([1] * len(image_ranks))
    examples = shown(ranked(image_ranks), images, queries, 3)
    return [(query.image_id - 10, query.kind, query.rank) for query in examples.image_to_text]


def test_good_queries_are_spread_over_rank_one_and_bad_ones_are_the_worst() -> None:
    found = queries_of([1, 1, 4, 1, 7, 1, 1, 7, 2], queries=6)
    assert found == [(0, "good", 1), (3, "good", 1), (6, "good", 1), (4, "bad", 7), (7, "bad", 7), (2, "bad", 4)]


def test_an_odd_number_of_queries_shows_one_more_good_than_bad() -> None:
    found = queries_of([1, 1, 4, 1, 7, 1, 1, 7, 2], queries=5)
    assert [kind for _, kind, _ in found] == ["good"] * 3 + ["bad"] * 2
    assert queries_of([1, 3, 2, 1], queries=1) == [(0, "good", 1)]


def test_a_perfect_run_shows_no_bad_query_and_a_hopeless_one_no_good_query() -> None:
    assert queries_of([1, 1, 1], queries=4) == [(0, "good", 1), (2, "good", 1)]
    assert queries_of([3, 3, 3], queries=4) == [(0, "bad", 3), (1, "bad", 3)]


def test_no_query_is_shown_twice_and_never_more_than_asked_for() -> None:
    for seed in range(5):
        similarity, images, _ = case(seed, 1000)
        for queries in (1, 2, 3, 8, 50):
            examples = shown(similarity, images, queries, 2)
            image_ids = [query.image_id for query in examples.image_to_text]
            captions = [query.caption for query in examples.text_to_image]
            for asked in (image_ids, captions):
                assert len(set(asked)) == len(asked) <= queries


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_as_many_rows_as_asked_for_or_as_there_are(rows: int) -> None:
    similarity, images, image_of = case(0, 1000)
    examples = shown(similarity, images, 4, rows)
    assert {len(query.retrieved) for query in examples.image_to_text} == {min(rows, len(image_of))}
    assert {len(query.retrieved) for query in examples.text_to_image} == {min(rows, len(images))}


def test_a_memory_mapped_matrix_and_missing_file_names_serve_too(tmp_path: Path) -> None:
    similarity, images, _ = case(1, 1000)
    np.save(tmp_path / "s.npy", similarity)
    nameless = [Image(image.image_id, None, image.caption_ids, image.captions) for image in images]
    examples = shown(np.load(tmp_path / "s.npy", mmap_mode="r"), nameless, 4, 3)
    assert examples.image_to_text[0].file_name is None
    plain = shown(similarity, images, 4, 3)
    assert [query.rank for query in examples.text_to_image] == [query.rank for query in plain.text_to_image]
