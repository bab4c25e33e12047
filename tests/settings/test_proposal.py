"""The run that is proposed for a new data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.settings.load import load_text
from itrcore.settings.proposal import FEW, first_run, needs_pieces
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


def test_what_needs_word_pieces_comes_last_and_is_said_to_need_them() -> None:
    file = ROOT / "params.yaml"
    params = load_text(file.read_text("utf-8").replace("datasets:\n", PIXELS, 1), file)
    small, large = (first_run(params, "mine", n_images) for n_images in (FEW - 1, FEW))
    assert small is not None and (small.method, small.profile) == ("esl_h_clip", "small_clip")
    assert large is not None and (large.method, large.profile) == ("esl_h_clip", None)
    assert needs_pieces(params, small) and not needs_pieces(params, large)
    with_them = PIXELS.replace("min_count: 4", "min_count: 4, word_pieces: {pieces: 1000, min_count: 2}")
    params = load_text(file.read_text("utf-8").replace("datasets:\n", with_them, 1), file)
    assert first_run(params, "mine", FEW) == small and not needs_pieces(params, small)


def test_only_a_small_data_set_gets_smaller_batches_than_the_first_run() -> None:
    path = Path("params.yaml")
    text = (ROOT / path).read_text("utf-8").replace("datasets:\n", REGIONS, 1)
    text = text.replace("seed: 1, profile: small}", "seed: 1}", 1)  # the first run is as published now
    params = load_text(text, ROOT / path)
    for n_images, expected in ((FEW - 1, ("scan_t2i_lse_bigru", "small16")), (FEW, ("vse_infty_bigru", None))):
        run = first_run(params, "mine", n_images)
        assert run is not None and (run.method, run.profile) == expected
