"""Steps and times of a run, against figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itrcore.costs.counts import Shape, SplitCounts
from itrcore.costs.operations import estimated
from itrcore.costs.rates import Rates, steps_of, times
from itrcore.settings.load import load
from tests.support.tiny_project import ROOT

F30K = {"train": SplitCounts(29_000, 145_000), "dev": SplitCounts(1_014, 5_070), "test": SplitCounts(1_000, 5_000)}


def test_steps_are_whole_batches_of_each_epoch() -> None:
    settings = load(ROOT / "params.yaml").recipes["esa_bigru"].settings
    assert (settings.recipe.batch_size, settings.recipe.epochs) == (128, 25)
    assert steps_of(settings, 145_000) == 1132 * 25  # 145,000 / 128 = 1,132.8


def test_a_run_takes_its_steps_its_evaluations_on_dev_and_one_of_both_splits() -> None:
    settings = load(ROOT / "params.yaml").recipes["esl_h_clip"].settings
    assert (settings.recipe.batch_size, settings.recipe.epochs, settings.recipe.evaluations) == (64, 15, 4)
    taken = times(Rates(2.0, 0.1, 0.01, 1e-6, 0, "measured"), settings, F30K, 5000)
    assert taken.steps == 2.0 * 2265 * 15  # 145,000 / 64 = 2,265.6
    # of dev 5,000 captions and their 1,000 images: 100 s, 50 s and 5 s, 60 times
    assert taken.dev == pytest.approx(60 * (100 + 50 + 5))
    assert taken.test == pytest.approx(2 * (100 + 50 + 5))


def test_selection_takes_no_more_of_dev_than_there_is() -> None:
    assert SplitCounts(8, 40).first(5000) == SplitCounts(8, 40)
    assert SplitCounts(8, 40).first(12) == SplitCounts(2, 12)
    assert SplitCounts(8, 40).first(1) == SplitCounts(1, 1)


def test_a_bert_in_a_folder_is_counted_by_its_own_sizes(tmp_path: Path) -> None:
    settings, shape = (
        load(ROOT / "params.yaml").recipes["vse_pp_bert"].settings,
        Shape(regions=36, width=2048, picture=(1, 1)),
    )
    published = estimated(settings, shape, 0, threads=1)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536, "vocab_size": 30_522}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    text = settings.model.text.model_copy(update={"weights": str(tmp_path)})
    small = settings.model_copy(update={"model": settings.model.model_copy(update={"text": text})})
    # Without positions and pooling bert-base has 108.4 million weights and MiniLM 22.3; the layer behind has 1,024 times 384 less.
    assert published.parameters - estimated(small, shape, 0, threads=1).parameters == pytest.approx(86.4e6, rel=0.001)
