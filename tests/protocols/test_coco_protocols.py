"""COCO's protocols on the real ids and positives: against what the peers' own code gives, and against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from itrcore import registry
from itrcore.data.captions import Image
from itrcore.errors import DataError
from itrcore.protocols import cxc
from itrcore.protocols.coco_1k import mean_of_folds
from itrcore.protocols.coco_ids import annotated, pairs, resolve
from itrcore.protocols.contract import Judged, protocol
from itrcore.protocols.cxc import best_ranks, recalls_of
from itrcore.protocols.ranked import ranked
from itrcore.protocols.retrieved import retrieved, top
from itrcore.ranking import metrics, ranks
from tests.test_ranking import naive_ranks, random_case

# What SCAN's, VSE∞'s and eccv_caption's code give for the same matrix (recipe in `similarity`), in percent.
PEERS: dict[str, dict[str, list[float]]] = {
    "split": {"i2t": [11.54, 26.98, 36.76, 22.0, 94.2024], "t2i": [5.38, 13.632, 18.808, 113.0, 386.7212]},
    "coco_1k": {"i2t": [24.68, 51.34, 65.04, 5.2, 19.6252], "t2i": [12.144, 27.72, 36.864, 23.6, 78.04328]},
    "eccv": {
        "i2t": [1.4545278465301672, 3.5927217164719576, 11.895321173671689],
        "t2i": [1.161249906496258, 2.240016568899438, 4.8798798798798795],
    },
    "cxc": {"i2t": [11.56, 27.0, 36.78], "t2i": [5.382027871215762, 13.647284959154252, 18.877142399487426]},
    "cxc_every_caption": {"i2t": [11.56, 27.0, 36.78], "t2i": [5.376, 13.632, 18.856]},
    "cxc_own_pairs": {"i2t": [11.56, 27.04, 36.84], "t2i": [5.392, 13.664, 18.892]},
}
RSUM = {"split": [113.1], "coco_1k": [217.788]}


def coco_images(number: bool = False) -> list[Image]:
    """COCO's test images in SCAN's order, with COCO's caption ids, or, as without Karpathy's JSON, with numbers."""
    known = annotated()
    groups = known.coco_ids.reshape(-1, 5).tolist()
    return [
        Image(known.coco_gts["t2i"][ids[0]][0], None, list(range(7 + 5 * i, 12 + 5 * i)) if number else ids, ["a"] * 5)
        for i, ids in enumerate(groups)
    ]


@pytest.fixture(scope="module")
def judged() -> Judged:
    """Seeded noise, right pairs two standard deviations better."""
    similarity = np.random.default_rng(7).standard_normal((5000, 25000), dtype=np.float32)
    columns = np.arange(25000)
    similarity[columns // 5, columns] += np.float32(2.0)
    return Judged("oracle", similarity, coco_images())


@pytest.mark.parametrize("name", PEERS)
def test_figures_are_those_of_the_peers_code(judged: Judged, name: str) -> None:
    figures = protocol(name).measure(judged)
    assert list(figures) == [figure.key for figure in protocol(name).figures]
    wanted = [value for of_side in PEERS[name].values() for value in of_side] + RSUM.get(name, [])
    assert list(figures.values()) == pytest.approx(wanted, rel=1e-6)
    if (outcomes := protocol(name).outcomes) is not None:  # what intervals rest on: all but ranks
        shares = outcomes(judged).figures()
        assert shares == pytest.approx({key: value for key, value in figures.items() if key in shares}, rel=1e-9)
        assert figures.keys() - shares.keys() <= {
            f"{side}_{key}" for side in ("i2t", "t2i") for key in ("median", "mean")
        }


def test_eccv_figures_of_captions_are_those_of_the_formulas(judged: Judged) -> None:
    positives, ids = annotated().eccv_gts["t2i"], resolve(judged.images, "oracle")
    column_of = {caption: column for column, caption in enumerate(ids.captions.tolist())}
    found = []
    for caption, right in positives.items():
        ranked = ids.images[np.argsort(-judged.similarity[:, column_of[caption]])][: len(right)]
        hits = np.isin(ranked, right)
        precision = np.cumsum(hits) / np.arange(1, len(right) + 1)
        found.append((float((precision * hits).mean()), float(precision[-1]), float(hits[0])))
    figures = protocol("eccv").measure(judged)
    assert np.mean(found, axis=0) * 100 == pytest.approx(
        [figures[f"t2i_{key}"] for key in ("map_at_r", "r_precision", "r1")]
    )


def test_every_protocol_of_the_registry_is_checked_here_or_beside_what_it_reads() -> None:
    assert set(registry.PROTOCOLS) == set(PEERS) | {"cxc_within", "cxc_correlations", "sugar_crepe", "rococo"}


@pytest.mark.parametrize("block", [1, 50, 2**22])
def test_best_ranks_are_those_of_the_loop_whatever_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(cxc, "_BLOCK", block)
    for seed in range(20):
        similarity, _ = random_case(seed)  # with many ties
        right = np.random.default_rng(seed).random(similarity.shape) < 0.15  # some queries have none, some several
        found = best_ranks(similarity, *np.nonzero(right))
        for ours, scores, truth in zip(found, (similarity, similarity.T), (right, right.T), strict=True):
            plain = [
                1 + sum(row[~own] >= row[own].max()) if own.any() else 0 for row, own in zip(scores, truth, strict=True)
            ]
            assert ours.tolist() == plain


def test_a_query_without_a_positive_is_left_out_or_missed_at_every_rank() -> None:
    of_queries = np.array([1, 0, 7, 3])
    assert recalls_of(of_queries, leave_out=True) == pytest.approx({"r1": 100 / 3, "r5": 200 / 3, "r10": 100.0})
    assert recalls_of(of_queries, leave_out=False) == {"r1": 25.0, "r5": 50.0, "r10": 75.0}


def test_folds_are_ranked_each_for_itself() -> None:
    similarity = np.random.default_rng(0).integers(0, 6, (12, 24)).astype(np.float32)
    image_of = np.repeat(np.arange(12), 2)
    recalls = []
    for fold in range(3):
        images, captions = range(4 * fold, 4 * fold + 4), range(8 * fold, 8 * fold + 8)
        of_images, _ = naive_ranks(similarity[np.ix_(images, captions)], np.repeat(np.arange(4), 2))
        recalls.append(100 * np.mean(np.array(of_images) <= 1))
    images = [Image(number, None, [2 * number, 2 * number + 1], ["a", "b"]) for number in range(12)]
    judged = Judged("a run", similarity, images)
    assert mean_of_folds(judged, 4)["i2t_r1"] == pytest.approx(np.mean(recalls))
    assert mean_of_folds(judged, 12) == metrics(ranks(similarity, image_of))


def test_captions_rank_by_their_own_similarities_where_an_ensemble_has_two() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((2, 12, 24)).astype(np.float32)
    images = [Image(number, None, [2 * number, 2 * number + 1], ["a", "b"]) for number in range(12)]
    both = Judged("an ensemble", one, images, of_captions=other)
    for measured in (lambda judged: mean_of_folds(judged, 4), lambda judged: metrics(judged.ranks)):
        of_images, of_captions, found = (
            measured(judged) for judged in (Judged("a", one, images), Judged("b", other, images), both)
        )
        assert {key: value for key, value in found.items() if key.startswith("i2t")}.items() <= of_images.items()
        assert {key: value for key, value in found.items() if key.startswith("t2i")}.items() <= of_captions.items()
        assert found["rsum"] == pytest.approx(sum(found[f"{side}_r{k}"] for side in ("i2t", "t2i") for k in (1, 5, 10)))
    best = {query.retrieved[0].score for query in retrieved(both, 24, 1).text_to_image}
    assert best and best <= set(other.max(axis=0).tolist())
    assert ranked(both).images_found[:, 0].tolist() == other.argmax(axis=0).tolist()
    assert ranked(both).captions_found[:, 0].tolist() == one.argmax(axis=1).tolist()


def test_ranked_lists_are_a_sort_with_right_items_last_among_equals() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores, right = rng.integers(0, 4, 12).astype(np.float32), rng.random(12) < 0.4
        plain = sorted(range(12), key=lambda i: (-scores[i], right[i], i))
        for rows in (1, 3, 12, 40):
            assert top(scores, right, rows).tolist() == plain[:rows]


def test_ids_are_resolved_in_any_order_and_by_place_where_captions_are_numbered() -> None:
    images, known = coco_images(), annotated()
    np.testing.assert_array_equal(resolve(images, "x").captions, known.coco_ids)
    np.testing.assert_array_equal(resolve(coco_images(number=True), "x").captions, known.coco_ids)
    mixed = [
        Image(image.image_id, None, image.caption_ids[::-1], image.captions)
        for image in (images[i] for i in np.random.default_rng(0).permutation(5000))
    ]
    ids = resolve(mixed, "x")
    assert ids.captions.tolist() == [caption for image in mixed for caption in image.caption_ids]
    rows, columns = pairs(known.coco_gts["t2i"], ids)
    assert (len(rows), set(zip(rows.tolist(), columns.tolist(), strict=True))) == (
        25000,
        {(column // 5, column) for column in range(25000)},
    )


def changed(images: list[Image], **by_row: Any) -> list[Image]:
    for row, (image_id, caption_ids) in by_row.items():
        images[int(row[1:])] = Image(image_id, None, caption_ids, ["a"] * len(caption_ids))
    return images


def test_ids_that_cannot_be_resolved_are_counted() -> None:
    images = coco_images()
    first, second = images[0], images[1]
    cases = [
        (changed(coco_images(), _0=(-5, first.caption_ids), _1=(-6, second.caption_ids)),
         r"run: 2 of 5,000 images cannot be resolved \(the first: id -5\); .* 2 of those 5,000 are missing"),
        (images[:1000], r"0 of 1,000 images cannot be resolved; .* 4,000 of those 5,000 are missing"),
        ([*images, first], r"0 of 5,001 images cannot be resolved; .* 1 stand twice"),
        (changed(coco_images(), _0=(first.image_id, second.caption_ids)), r"5 of 25,000 captions cannot be resolved"),
        (changed(coco_images(), _0=(first.image_id, [*first.caption_ids[:4], 3])),
         r"1 of 25,000 captions cannot be resolved \(the first: id 3\)"),
        (changed(coco_images(), _0=(first.image_id, first.caption_ids[:4])),
         r"4 of 24,999 captions cannot be resolved \(the first: id 770337\)"),
    ]  # fmt: skip
    for wrong, message in cases:
        with pytest.raises(DataError, match=message):
            resolve(wrong, "run")


def test_folds_of_another_test_split_are_refused() -> None:
    images = coco_images()[:1000]
    judged = Judged("one", np.zeros((1000, 5000), np.float32), images)
    with pytest.raises(DataError, match=r"one: protocol coco_1k: found 1,000 images and 5,000 captions; expected"):
        protocol("coco_1k").measure(judged)
