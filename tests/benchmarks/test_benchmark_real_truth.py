"""The oracle that stands in for methods, and that what it leaves is judged, mixed and labelled like a run's scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.oracle import Oracle, Words, similarity, vectors
from benchmarks.real_truth import DATA, make
from itrcore.evaluation.ensemble import search
from itrcore.evaluation.judging import judge
from itrcore.report.results import available, not_real
from itrcore.settings.load import load

THINGS = ("dog", "cat", "bus", "kite", "pizza", "train", "boat", "horse")
CAPTIONS = [[f"a {thing} number {n} {color}" for n in "12"] for thing in THINGS for color in ("red", "blue")]
ORACLES = (Oracle("coco-oracle_64-1", 1, 64, 1.0), Oracle("coco-oracle_words-1", 1, None, 0.2))


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda each: each.name)
def test_what_speaks_of_the_same_is_more_alike_and_seeds_are_kept(oracle: Oracle) -> None:
    words = Words.of(CAPTIONS)

    def scores(seed: int) -> np.ndarray:
        again = Oracle(oracle.name, seed, oracle.width, oracle.noise)
        if oracle.width is None:
            return similarity(again, CAPTIONS, words)
        images, captions = vectors(again, CAPTIONS, words)
        return images @ captions.T

    found = scores(1)
    assert np.array_equal(found, scores(1)) and not np.array_equal(found, scores(2))
    image, caption = np.arange(16)[:, None], np.repeat(np.arange(16), 2)[None]
    own, same_thing = image == caption, (image // 2 == caption // 2) & (image != caption)
    other = ~own & (image // 2 != caption // 2) & (image % 2 != caption % 2)
    assert found[own].mean() > found[same_thing].mean() > found[other].mean()


def test_its_scores_are_judged_like_a_runs_and_called_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "captions"
    given.mkdir()
    for split, ids in (("dev", range(16)), ("testall", range(100, 116))):
        (given / f"{split}_caps.txt").write_text("\n".join(text for group in CAPTIONS for text in group) + "\n")
        (given / f"{split}_ids.txt").write_text("".join(f"{number}\n" * 2 for number in ids))
    make(given, tmp_path, tmp_path / "out", ORACLES, ())
    monkeypatch.chdir(tmp_path / "out")
    params = load()
    figures = [judge(params, each.name).metrics for each in ORACLES]
    assert all(100 / 16 < each.i2t_r1 < 100 for each in figures)
    results, missing = available(params)
    assert not missing and not_real(results.entries) == {"simulated": [DATA]}
    assert {entry.evaluation.elsewhere for entry in results.entries} == {"simulated"}
    single, pair = search(params, DATA, 2, "dev", "none", 1)
    assert pair.dev_rsum >= single.dev_rsum and single.metrics in figures and pair.features == "simulated"
