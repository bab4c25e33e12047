"""CxC's ratings: what is read and refused; recalls within one side, and correlations, against loops and VSE∞'s code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itrcore.errors import DataError
from itrcore.protocols import cxc_correlations, cxc_ratings, cxc_within
from itrcore.protocols.coco_ids import annotated, resolve
from itrcore.protocols.contract import Judged, protocol
from itrcore.protocols.cxc_correlations import correlations
from itrcore.protocols.cxc_within import ranks_within
from tests.protocols.test_coco_protocols import coco_images

SITS = "caption,image,agg_score,sampling_method\n"
ROW = "COCO_val2014:sentid:770337,COCO_val2014_000000391895.jpg,4.5,c2i_original\n"
NOTHING = np.broadcast_to(np.float32(0), (5000, 25000))


@pytest.fixture(scope="module")
def cxc(shared_data: Path) -> Path:
    folder = shared_data / "cxc"
    if not folder.is_dir():
        pytest.skip("CxC's files are not there")
    return folder


@pytest.mark.parametrize("rows", [1, 3, 512])
def test_ranks_within_are_those_of_the_loop_whatever_the_block(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(cxc_within, "_ROWS", rows)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        vectors = rng.integers(-2, 3, (9, 2)).astype(np.float32)  # many ties
        right = (rng.random((9, 9)) < 0.2) & ~np.eye(9, dtype=bool)
        plain = []
        for query in range(9):
            scores = [0.0 if item == query else float(vectors[query] @ vectors[item]) for item in range(9)]
            best = max((scores[item] for item in range(9) if right[query, item]), default=None)
            wrong = [scores[item] for item in range(9) if not right[query, item]]
            plain.append(0 if best is None else 1 + sum(score >= best for score in wrong))
        queries, items = np.nonzero(right)
        twice = np.concatenate([queries, queries]), np.concatenate([items, items])  # rated in both orders
        assert ranks_within(vectors, *twice).tolist() == plain


def test_recalls_within_are_those_of_vse_inftys_code(cxc: Path) -> None:
    images = np.random.default_rng(11).standard_normal((5000, 16), dtype=np.float32)
    captions = np.repeat(images, 5, axis=0)
    captions += np.float32(0.8) * np.random.default_rng(12).standard_normal((25000, 16), dtype=np.float32)
    vectors = tuple(side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, captions))
    judged = Judged("run", NOTHING, coco_images(), vectors, cxc)
    figures = protocol("cxc_within").measure(judged)
    assert list(figures) == [figure.key for figure in protocol("cxc_within").figures]
    peers = [0.10436234606553955, 0.939261114589856, 1.7115424754748487, 17.028, 38.508, 49.392]
    assert list(figures.values()) == pytest.approx(peers)
    assert protocol("cxc_within").outcomes(judged).figures() == pytest.approx(figures)
    assert protocol("cxc_within").measure(Judged("run", NOTHING, coco_images(), None, cxc)) == {}


def test_pairs_rated_3_or_higher_are_the_positives_of_the_package(cxc: Path) -> None:
    judged = Judged("run", NOTHING, coco_images(), None, cxc)
    rated, ids = cxc_ratings.of(judged, "sits").at_least(3.0), resolve(judged.images, "run")
    found = set(zip(ids.images[rated.first].tolist(), ids.captions[rated.second].tolist(), strict=True))
    assert found == {(image, caption) for image, captions in annotated().cxc_gts["i2t"].items() for caption in captions}


def plain_rho(ratings: list[float], similarities: list[float]) -> float:
    ranks = [
        [(sum(other < value for other in values) + sum(other <= value for other in values) + 1) / 2 for value in values]
        for values in (ratings, similarities)
    ]
    return float(np.corrcoef(*ranks)[0, 1])


def test_correlations_are_those_of_samples_drawn_one_by_one() -> None:
    rng = np.random.default_rng(3)
    queries = rng.permutation(np.repeat(np.arange(40) * 10, rng.integers(1, 4, 40)))
    ratings, similarities = rng.integers(0, 4, len(queries)) / 2, rng.integers(0, 9, len(queries)).astype(np.float32)
    drawn = np.random.default_rng(0)
    plain = []
    for _ in range(5):
        chosen = drawn.permutation(40)[:20]
        places = drawn.random(20)
        pairs = []
        for query, place in zip(chosen, places, strict=True):
            own = np.flatnonzero(queries == 10 * query)
            pairs.append(own[int(place * len(own))])
        plain.append(plain_rho(ratings[pairs].tolist(), similarities[pairs].tolist()))
    assert correlations(queries, ratings, similarities, 5) == pytest.approx(plain)
    assert correlations(queries, ratings, 2 * ratings - 7, 5) == pytest.approx(np.ones(5))


def test_a_method_on_sets_has_the_correlations_of_images_with_texts_alone(
    cxc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cxc_correlations, "SAMPLES", 5)
    images = coco_images()
    similarity = np.zeros((5000, 25000), np.float32)
    rated = cxc_ratings.of(Judged("run", similarity, images, None, cxc), "sits")
    similarity[rated.first, rated.second] = rated.scores
    found = protocol("cxc_correlations").measure(Judged("run", similarity, images, None, cxc))
    assert found == pytest.approx({"t2i_rho": 100.0, "t2i_std": 0.0, "i2t_rho": 100.0, "i2t_std": 0.0}, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "0 files sits_test.csv; expected one, of Crisscrossed Captions"),
        (SITS, "sits_test.csv: no rows; expected"),
        (SITS + ROW + ROW.replace("4.5", "5.5"), "row 1: agg_score '5.5'; expected a number from 0 to 5"),
        (SITS + ROW.replace("4.5", "nan"), "row 0: agg_score 'nan'; expected"),
        (
            SITS + ROW.replace("sentid:7", "sentid:x7"),
            "row 0: caption 'COCO_val2014:sentid:x770337'; expected the name",
        ),
        (ROW + ROW, "row 0: image ''; expected the name"),
        (SITS + ROW + ROW[:40], "row 1: image 'COCO_val2014_'; expected the name"),
        (SITS + "\xff", "cannot be read"),
        (SITS + ROW + 2 * ROW.replace("391895", "000001"), r"2 of 3 ids in image cannot be resolved \(the first: 1\)"),
    ],
)
def test_missing_and_broken_ratings_are_refused_by_place(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "sits_test.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        cxc_ratings.of(Judged("run", NOTHING, coco_images(), None, tmp_path), "sits")
