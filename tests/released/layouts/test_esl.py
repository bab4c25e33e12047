"""ESL's released files: levels counted from 1, strategies told apart, and what its released code will not evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.assets.regions import Regions
from itrcore.errors import DataError
from itrcore.methods.esl.settings import LevelSettings
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.exporting import options, other_shapes
from itrcore.released.layouts import LAYOUTS, layout_of
from itrcore.settings.methods import MethodSettings
from tests.support.parity_fixtures import OWN, family, load, published, released_parts

NAMES = ("esl_a_bert", "esl_h_bert", "esl_a_clip", "esl_h_clip")
FIXTURES = {family(fixture): fixture for fixture in map(load, OWN.glob("esl_*.json"))}


def checkpoint_of(name: str) -> Checkpoint:
    parts = released_parts(FIXTURES[name])
    return Checkpoint(Path("model_best.pth"), parts, 1, None, None, {}, flat=name.endswith("_clip"))


def imported(checkpoint: Checkpoint, settings: MethodSettings) -> tuple[Any, Sizes[Any, Any]]:
    sizes = convert.sizes(checkpoint, settings)
    method = convert.empty(sizes)
    method.load_state_dict(convert.weights(checkpoint, layout_of(settings), method))
    return method, sizes


def with_levels(name: str, dim: int, levels: int, kernel: int) -> MethodSettings:
    changed = published(name).model_dump(mode="json")
    changed["model"] |= {"dim": dim, "levels": levels, "kernel": kernel}
    return MethodSettings.model_validate(changed)


@pytest.mark.parametrize("name", NAMES)
def test_every_level_is_the_one_that_the_released_code_counts_one_higher(name: str) -> None:
    checkpoint = checkpoint_of(name)
    state = imported(checkpoint, published(name))[0].state_dict()
    theirs = checkpoint.parts[-1]
    start = "pool_frames.cross_attn." if checkpoint.flat else ""
    kind, released = ("kernels", "kernel") if name.startswith("esl_h") else ("masks", "masks")
    sides = ("image", "text") if checkpoint.flat else ("region", "word")
    for side, ours, short in zip(("image", "text"), sides, ("img", "txt"), strict=True):
        stem = f"{released}_{short}" if kind == "kernels" else released
        for level in range(8):
            entry = theirs[f"{start}plus_encoder.encoders_1.{side}_levels.{stem}_{level + 1}.weight"]
            assert torch.equal(state[f"{ours}_levels.{kind}.{level}"], entry)
    for level in range(9):
        assert torch.equal(state[f"measure.masks.{level}"], theirs[f"{start}sims.calculator_1.masks_{level}.weight"])
    assert state["measure.sigma"].item() == theirs[f"{start}sims.calculator_1.temp_scale_1.weight"].item()
    assert state["measure.log_lambda"].item() == theirs[f"{start}sims.calculator_1.temp_scale_2.weight"].item()
    if not checkpoint.flat:
        assert state["measure.log_smooth"].item() == theirs["sims.calculator_1.temp_scale.weight"].item()


@pytest.mark.parametrize("name", ["esl_a_bert", "esl_h_bert"])
@pytest.mark.parametrize(("dim", "levels", "kernel"), [(64, 3, 4), (128, 7, 2), (54, 2, 3)])
def test_levels_and_kernel_come_from_the_weights(name: str, dim: int, levels: int, kernel: int) -> None:
    _, sizes = imported(checkpoint_of(name), published(name))
    tiny = with_levels(name, dim, levels, kernel)
    built = convert.empty(Sizes(tiny, Regions(24), sizes.source, sizes.n_tokens))
    checkpoint = Checkpoint(Path("m.pth"), convert.to_released(built, LAYOUTS[name]), 1, None, None, {})
    again, sizes = imported(checkpoint, published(name))
    model = sizes.settings.model
    assert isinstance(model, LevelSettings) and (model.dim, model.levels, model.kernel) == (dim, levels, kernel)
    assert sizes.image.width == 24
    assert all(torch.equal(value, built.state_dict()[entry]) for entry, value in again.state_dict().items())
    assert options(sizes, "f30k")["kernel_size"] == kernel
    blocks = f"similarity: sims.calculator_1.sim_eval.weight is (1, {levels + 1}); the released code builds (1, 9)"
    assert blocks in other_shapes(built, LAYOUTS[name])


@pytest.mark.parametrize("encoder", ["bert", "clip"])
def test_a_file_of_the_other_strategy_is_told_by_its_names(encoder: str) -> None:
    with pytest.raises(DataError) as caught:
        imported(checkpoint_of(f"esl_h_{encoder}"), published(f"esl_a_{encoder}"))
    said = str(caught.value)
    assert said.startswith(f"model_best.pth: a checkpoint of esl_h_{encoder}, by the names of its entries; ")
    assert said.endswith("Give its method and text encoder.")


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_that_lacks_a_level_is_named(name: str) -> None:
    checkpoint = checkpoint_of(name)
    lost = next(entry for entry in checkpoint.parts[-1] if entry.endswith("sims.calculator_1.masks_8.weight"))
    del checkpoint.parts[-1][lost]
    with pytest.raises(DataError, match=rf"entries 1 missing: [\w ]+: {lost}; expected those that "):
        imported(checkpoint, published(name))


def test_each_repository_has_one_strategy_switched_on() -> None:
    """CrossmodalGroup/ESL stands at the adaptive one, kkzhang95/ESL at the heuristic one."""
    switches = {name: LAYOUTS[name].switch for name in NAMES}
    assert [name for name, switch in switches.items() if switch is None] == ["esl_a_bert", "esl_h_clip"]
    assert str(switches["esl_h_bert"]).startswith("heuristic_strategy = True in lib/vse.py")
    assert str(switches["esl_a_clip"]).startswith("heuristic_strategy = False in modules/transformer.py")
