"""The run that is proposed for a new data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.settings.load import load_text
from itrcore.settings.proposal import FEW, first_run
from tests.support.project import ROOT

ENTRY = """datasets:
  mine:
    reads: datasets/mine
    source:
      {{kind: scan, folder: datasets/mine, features: {features}, splits: {{train: train, dev: dev, test: test}}, pictures: p}}
    vocabulary: {{min_count: 4}}
    shards: {{{shards}}}
"""
REGIONS = ENTRY.format(features="other", shards="regions: {dtype: float16, samples_per_shard: 1000}")
PIXELS = ENTRY.format(features="none", shards="images: {samples_per_shard: 1000, max_megapixels: 50}")


def proposed(path: str, entry: str, n_images: int) -> tuple[Any, ...]:
    file = ROOT / path
    run = first_run(load_text(file.read_text("utf-8").replace("datasets:\n", entry, 1), file), "mine", n_images)
    assert run is not None and (run.data, run.seed) == ("mine", 1)
    return run.method, run.profile


@pytest.mark.parametrize("n_images", [192, FEW - 1, FEW])
def test_a_run_like_the_experiments_first(n_images: int) -> None:
    assert proposed("params.yaml", REGIONS, n_images) == ("vse_infty_bigru", "small")
    assert proposed("experiments/f30k/params.yaml", REGIONS, n_images) == ("vse_pp_bigru", None)


def test_what_would_need_word_pieces_or_glove_that_the_data_set_lacks_is_passed_over() -> None:
    assert proposed("params.yaml", PIXELS, 192) == ("esl_h_clip", None)  # small_clip starts at random


def test_only_a_small_data_set_gets_smaller_batches_than_the_first_run() -> None:
    path = Path("params.yaml")
    text = (ROOT / path).read_text("utf-8").replace("datasets:\n", REGIONS, 1)
    text = text.replace("seed: 1, profile: small}", "seed: 1}", 1)  # the first run is as published now
    params = load_text(text, ROOT / path)
    for n_images, expected in ((FEW - 1, ("scan_t2i_lse_bigru", "small16")), (FEW, ("vse_infty_bigru", None))):
        run = first_run(params, "mine", n_images)
        assert run is not None and (run.method, run.profile) == expected
