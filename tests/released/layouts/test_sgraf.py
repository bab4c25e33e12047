"""SGRAF's released files: sizes and steps from the weights, 36 places of regions, and files that its evaluation reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.errors import DataError
from itrcore.methods.sgraf.settings import SGRAFSettings
from itrcore.released import convert
from itrcore.released.contract import Sizes
from itrcore.released.exporting import options
from itrcore.released.layouts import LAYOUTS, layout_of
from tests.support.cross_released import check_export, checkpoint_of, imported, small
from tests.support.parity_fixtures import published, with_model

NORM = "v_global_w.embedding_local.1."


def sgraf(sizes: Sizes[Any, Any]) -> SGRAFSettings:
    assert isinstance(sizes.settings.model, SGRAFSettings)
    return sizes.settings.model


@pytest.mark.parametrize("ranked", [None, 12, 36])
@pytest.mark.parametrize("name", ["sgr_bigru", "saf_bigru"])
def test_a_released_file_builds_the_released_form_whatever_the_settings_say(name: str, ranked: int | None) -> None:
    settings = with_model(published(name), ranked_regions=ranked, alignment_dim=3, dim=4)
    _, sizes = imported(checkpoint_of(name), settings)
    assert (sgraf(sizes).ranked_regions, sgraf(sizes).alignment_dim, sgraf(sizes).dim) == (36, 24, 64)
    told = options(sizes, "coco")
    assert (told["sim_dim"], told["sgr_step"], told["module_name"]) == (24, 3, name[:3].upper())
    assert told["data_name"] == "coco_precomp"  # which its evaluation finds the vocabulary and the data by
    assert list(layout_of(settings).other_values(sgraf(sizes))) == []


def test_steps_come_from_the_weights() -> None:
    checkpoint = checkpoint_of("sgr_bigru")
    for name in [name for name in checkpoint.parts[2] if name.startswith("SGR_module.2.")]:
        checkpoint.parts[2][name.replace(".2.", ".3.")] = checkpoint.parts[2][name].clone()
    _, sizes = imported(checkpoint, published("sgr_bigru"))
    assert sgraf(sizes).module.model_dump() == {"kind": "sgr", "steps": 4}
    assert options(sizes, "f30k")["sgr_step"] == 4


@pytest.mark.parametrize(("name", "given"), [("sgr_bigru", "saf_bigru"), ("saf_bigru", "sgr_bigru")])
@pytest.mark.parametrize("told", [True, False])
def test_the_other_half_is_named(name: str, given: str, told: bool) -> None:
    checkpoint = checkpoint_of(name)
    if not told:
        checkpoint = replace(checkpoint, options={})
    with pytest.raises(
        DataError, match=rf"^m\.pth: a checkpoint of {name}, by the names of its entries; .*SGRAF writes"
    ):
        imported(checkpoint, published(given))


def test_options_that_name_the_other_half_than_the_entries_are_refused() -> None:
    with pytest.raises(DataError, match=r"its options say module_name SAF; expected module_name SGR; no other form"):
        imported(checkpoint_of("sgr_bigru", module_name="SAF"), published("sgr_bigru"))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("sgr_bigru", {"module": {"kind": "sgr", "steps": 2}}),
        ("sgr_bigru", {"ranked_regions": 36}),
        ("saf_bigru", {}),
        ("saf_bigru", {"ranked_regions": 36, "alignment_dim": 5}),
    ],
)
def test_the_released_evaluation_reads_an_export_and_computes_the_same(
    name: str, model: dict[str, Any], tmp_path: Path
) -> None:
    check_export(*small(name, **model), tmp_path)


def test_one_place_for_all_regions_is_written_as_36_alike_and_read_as_one_again() -> None:
    method, _ = small("saf_bigru")
    parts = convert.to_released(method, LAYOUTS["saf_bigru"])
    ours = method.state_dict()
    for entry in ("weight", "bias", "running_mean", "running_var"):
        written = parts[2][NORM + entry]
        assert written.shape == (36,) and (written == ours[f"region_pooling.local_norm.{entry}"]).all(), entry
    checkpoint = replace(checkpoint_of("saf_bigru"), parts=parts)
    again, sizes = imported(checkpoint, with_model(published("saf_bigru"), ranked_regions=36))
    assert sgraf(sizes).ranked_regions is None
    state = again.state_dict()
    ours["words.embed.weight"][-1] = 0.0  # the mask token's row, which no released file has
    assert all(torch.equal(value, state[entry]) for entry, value in ours.items())
    parts[2][NORM + "running_var"][7] += 1.0  # one place differs, in one of four entries
    assert sgraf(imported(checkpoint, published("saf_bigru"))[1]).ranked_regions == 36
    parts[2][NORM + "bias"] = torch.ones(35)
    with pytest.raises(DataError, match=r"similarity: v_global_w\.embedding_local\.1\."):
        imported(checkpoint, published("saf_bigru"))


def test_what_the_released_code_has_fixed_and_a_model_has_not_is_said() -> None:
    settings = with_model(published("sgr_bigru"), softmax_scale=4.0, ranked_regions=50)
    assert list(layout_of(settings).other_values(settings.model)) == [
        "its attention's softmax scale is 4; the released code has 9",
        "its images have 50 regions; the released code builds 36",
    ]
    others = {name: layout.n_regions for name, layout in LAYOUTS.items() if layout.n_regions is not None}
    assert others == {"sgr_bigru": 36, "saf_bigru": 36, "lhsc_bigru": 36}  # what their images are held against
