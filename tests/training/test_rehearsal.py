"""Rehearsed steps are real ones: every kind of method, its real parameters, and times that are those of a training."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.costs.counts import Shape
from itrcore.costs.operations import estimated
from itrcore.files import read_json
from itrcore.settings.load import load
from itrcore.training import rehearsal
from itrcore.training.rehearsal import Rehearsal, extrapolated
from itrcore.training.step import Stepper, Taken
from tests.support.tiny_project import ROOT, project, train_in, write_params

SHAPE = Shape(6, 16, (48, 32))


@pytest.mark.parametrize("method", ["esa", "gpo", "esa_bert", "esl_bert", "esl_grid", "saf", "esl_clip"])
def test_every_kind_of_method_is_rehearsed_without_data(method: str, tmp_path: Path, monkeypatch: Any) -> None:
    params = write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    sizes: list[int] = []
    original = Stepper.take

    def step(self: Stepper, batch: Any, progress: Any) -> Any:
        sizes.append(len(batch.image_ids))
        return original(self, batch, progress)

    monkeypatch.setattr(Stepper, "take", step)
    rates = Rehearsal(params.recipes[method].settings, params.training, SHAPE, 200, "tiny").rates(60.0)
    assert (rates.how, sizes[-1]) == ("measured", 8)
    assert min(rates.step, rates.image, rates.caption, rates.pair) > 0


def test_it_has_the_parameters_of_the_run_that_it_stands_for(tmp_path: Path, monkeypatch: Any) -> None:
    params = project(tmp_path)
    run = train_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    n_tokens = len(read_json(Path("data/tiny/vocab/vocab.json"))["word2idx"]) + 1
    rehearsed = Rehearsal(params.method_of("one"), params.training, SHAPE, n_tokens, "tiny")
    assert rehearsed.parameters == read_json(run / "run.json")["parameters"]
    assert set(rehearsed._split.tokens.lengths) <= set(range(4, 40))  # as long as this data set's captions


def test_without_time_for_the_real_batch_smaller_ones_tell(tmp_path: Path, monkeypatch: Any) -> None:
    params = write_params(tmp_path, {"methods.esa.recipe.batch_size": 64})
    monkeypatch.chdir(tmp_path)
    sizes: list[int] = []

    def step(self: Stepper, batch: Any, progress: Any) -> Taken:
        sizes.append(len(batch.image_ids))
        return Taken((), torch.zeros(0), progress, [], [])

    monkeypatch.setattr(Stepper, "take", step)
    rates = Rehearsal(params.recipes["esa"].settings, params.training, SHAPE, 200, "tiny").rates(0.0)
    assert rates.how == "measured in smaller batches"
    assert set(sizes) == {2, 4}
    sizes.clear()
    now = iter(range(100))
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: float(next(now)))  # a second for each step
    rates = Rehearsal(params.recipes["esa"].settings, params.training, SHAPE, 200, "tiny").rates(30.0)
    assert (rates.how, set(sizes)) == ("measured", {2, 8, 16, 64})


@pytest.mark.parametrize(
    ("cost", "square"),
    [(lambda b: 3 * b + 0.5 * b**2, 0.5), (lambda b: 7 + 2 * b, 0.0), (lambda b: 2 * b, 0.0), (lambda b: b**2, 1.0)],
)
def test_extrapolation_finds_what_grows_with_the_batch_or_with_its_square(cost: Any, square: float) -> None:
    assert extrapolated(16, cost(16), 32, cost(32), 128, square) == pytest.approx(cost(128))


@pytest.mark.parametrize("noise", [0.7, 1.4])
def test_extrapolation_stays_within_twice_the_truth_if_a_step_was_disturbed(noise: float) -> None:
    assert 1 / 2 <= extrapolated(4, noise * 8.0, 8, 16.0, 128, 0.0) / 256.0 <= 2


@pytest.mark.parametrize("recipe", ["vse_infty_bigru", "esa_bigru", "scan_t2i_lse_bigru"])
def test_a_guess_from_settings_knows_the_parameters_of_published_methods(recipe: str) -> None:
    params = load(ROOT / "params.yaml")
    settings, shape = params.recipes[recipe].settings, Shape(36, 2048, (500, 375))
    with contextlib.chdir(ROOT / "experiments/f30k"):
        real = Rehearsal(
            settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"batch_size": 2})}),
            params.training,
            shape,
            8482,
            "f30k",
        ).parameters
    assert estimated(settings, shape, 8482, 1).parameters == pytest.approx(real, rel=0.15)


def test_a_median_step_is_what_a_training_takes(tmp_path: Path, monkeypatch: Any) -> None:
    """On a clock that only steps move."""
    params = write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    now = [0.0]

    class Clock:
        perf_counter = staticmethod(lambda: now[0])

    def step(self: Stepper, batch: Any, progress: Any) -> Taken:
        now[0] += len(batch.image_ids) * (10.0 if progress.step == 0 else 0.01)  # the first one is slow
        return Taken((), torch.zeros(0), progress, [], [])

    monkeypatch.setattr(rehearsal, "time", Clock)
    monkeypatch.setattr(Stepper, "take", step)
    rates = Rehearsal(params.recipes["esa"].settings, params.training, SHAPE, 200, "tiny").rates(1000.0)
    assert rates.step == pytest.approx(8 * 0.01)
    assert torch.get_num_threads() == 1
