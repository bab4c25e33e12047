"""`training.compile`: parts of a step without a break in their graphs, equal losses, one line where torch cannot compile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from itrcore import compiled
from itrcore.errors import TrainingError
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.settings.methods import MethodSettings
from itrcore.training.step import Stepper
from tests.training.test_no_waiting import CPU, RECIPES, batch_of, objective_of

LENGTHS = [[9, 5, 7, 9], [9, 9, 9, 9], [5, 6, 1, 8], [2, 2, 2, 3]]  # of regions and of words, batch by batch
PARTS = {  # of recipes that have all of them together
    "esa_bigru": {"_pool"},
    "scan_i2t_avg_bigru": {"_scores"},
    "saf_bigru": {"_unit_weights"},
    "esl_a_bert": {"_hidden", "_pair_scores"},
    "esl_h_clip": {"image_features", "text_features"},
    "dual_siglip": {"image_features", "text_features"},
}


@pytest.fixture
def compile_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Replaces what makes code of graphs; nothing that is compiled outlives the test."""
    monkeypatch.setattr(compiled, "_made", {})
    torch.compiler.reset()

    def replace(backend: Any) -> None:
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))

    return replace


def losses(objective: Objective, settings: MethodSettings, steps: int, on: bool) -> list[float]:
    """Of the steps of a training on random features."""
    stepper = Stepper(deepcopy(objective).train(), settings.recipe, 1, 10, Accelerator(cpu=True), on)
    taken = []
    for step in range(steps):
        torch.manual_seed(step)
        batch = batch_of(settings, LENGTHS[step % len(LENGTHS)], CPU)
        batch.tensors()[0].normal_()
        taken.append(float(stepper.take(batch, Progress(epoch=30, step=step)).values[0]))
    return taken


@pytest.mark.parametrize("name", PARTS)
def test_no_part_has_a_break_in_its_graph(name: str, compile_with: Callable[[Any], None]) -> None:
    compile_with("eager")  # whose code is the graph itself
    settings = RECIPES[name].settings
    objective = objective_of(settings, CPU)
    objective.method.begin_epoch(30)
    losses(objective, settings, 2, True)  # a break would be an error
    assert {function.__name__ for function in compiled._made} == PARTS[name]


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
@pytest.mark.usefixtures("compile_with")
def test_losses_of_twenty_steps_are_those_of_a_training_that_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    from torch._inductor import config  # not before it is needed: it takes seconds

    # One thread, as no process may outlive the test. What the compiler does for a larger program's speed takes longer here than the
    # steps. By its own `patch`: monkeypatch would leave `compile_threads` missing.
    quick = {"compile_threads": 1, "cpp_cache_precompile_headers": False, "cpp.simdlen": 1}
    published = RECIPES["esa_bigru"].settings
    settings = published.model_copy(update={"model": published.model.model_copy(update={"dim": 32})})
    objective = objective_of(settings, CPU)
    plain = losses(objective, settings, 20, False)
    with config.patch(quick):
        assert losses(objective, settings, 20, True) == pytest.approx(plain, rel=1e-4)
    assert compiled._made


def test_where_torch_cannot_compile_it_is_one_clear_error(compile_with: Callable[[Any], None]) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    compile_with(broken)
    settings = RECIPES["esa_bigru"].settings
    objective = objective_of(settings, CPU)
    with pytest.raises(TrainingError, match=r"no compiler here.* Set training\.compile to false"):
        losses(objective, settings, 1, True)
