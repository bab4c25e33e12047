"""SCAN's released files: what their options decide, as no weight tells it; and files that its evaluation reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.errors import DataError
from itrcore.methods.scan.settings import SCANSettings
from itrcore.released import convert
from itrcore.released.exporting import options
from itrcore.settings.pooling import LSESettings
from tests.support.cross_released import check_export, checkpoint_of, imported, small, without_options
from tests.support.parity_fixtures import published, with_model

NAMES = [f"scan_{way}_{pooling}_bigru" for way in ("t2i", "i2t") for pooling in ("lse", "avg")]


def refusal(name: str, *without: str, given: str | None = None, **changes: Any) -> str:
    checkpoint = checkpoint_of(name, **changes)
    for option in without:
        del checkpoint.options[option]
    with pytest.raises(DataError) as caught:
        convert.sizes(checkpoint, published(given or name))
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_scales_are_those_of_the_options_whatever_the_settings_say(name: str) -> None:
    checkpoint = checkpoint_of(name, lambda_softmax=7, lambda_lse=20.0)
    _, sizes = imported(checkpoint, with_model(published(name), softmax_scale=1.0))
    model = sizes.settings.model
    assert isinstance(model, SCANSettings) and model.softmax_scale == 7
    assert isinstance(model.pooling, LSESettings) == name.endswith("lse_bigru")
    assert getattr(model.pooling, "scale", 20.0) == 20.0
    told = options(sizes, "coco")
    assert (told["lambda_softmax"], told.get("lambda_lse", 20.0)) == (7, 20.0)


def test_what_the_options_of_an_older_version_lack_is_what_the_released_code_takes() -> None:
    checkpoint = checkpoint_of("scan_t2i_lse_bigru")
    for option in (
        "cross_attn",
        "agg_func",
        "lambda_softmax",
        "lambda_lse",
        "raw_feature_norm",
        "bi_gru",
        "no_txtnorm",
    ):
        del checkpoint.options[option]
    model = imported(checkpoint, with_model(published("scan_t2i_lse_bigru"), softmax_scale=1.0))[1].settings.model
    assert isinstance(model, SCANSettings) and isinstance(model.pooling, LSESettings)
    assert (model.softmax_scale, model.pooling.scale) == (9.0, 6.0)
    said = refusal("scan_i2t_lse_bigru", "cross_attn")
    assert said == (
        "m.pth: a checkpoint of scan_t2i_lse_bigru, by its cross_attn; expected one as kuanghuei/SCAN writes it with "
        "cross_attn i2t. Give its method and text encoder."
    )


def test_weights_without_any_options_are_what_they_are_said_to_be() -> None:
    checkpoint = without_options(checkpoint_of("scan_t2i_lse_bigru"))
    settings = with_model(published("scan_i2t_lse_bigru"), softmax_scale=3.0, pooling={"kind": "lse", "scale": 2.0})
    assert imported(checkpoint, settings)[1].settings.model.model_dump() == {
        **settings.model.model_dump(),
        "dim": 64,
        "text": {**settings.model.text.model_dump(), "word_dim": 20},
    }


@pytest.mark.parametrize("given", NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_another_direction_or_pooling_is_refused_with_the_right_methods_name(name: str, given: str) -> None:
    if name == given:
        imported(checkpoint_of(name), published(given))
        return
    said = refusal(name, given=given)
    told = [
        option for option, at in (("cross_attn", 1), ("agg_func", 2)) if name.split("_")[at] != given.split("_")[at]
    ]
    assert said.startswith(
        f"m.pth: a checkpoint of {name}, by its {' and '.join(told)}; expected one as kuanghuei/SCAN"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"raw_feature_norm": "softmax"}, "its options say raw_feature_norm softmax; expected raw_feature_norm clipped_"),
        ({"agg_func": "Max"}, "its options say agg_func Max; expected agg_func LogSumExp; no other form is built here."),
        ({"agg_func": "Sum", "no_imgnorm": True}, "say no_imgnorm True, agg_func Sum; expected no_imgnorm False, agg_"),
        ({"no_txtnorm": True}, "its options say no_txtnorm True; expected no_txtnorm False; no other"),
        ({"bi_gru": False}, "its options say bi_gru False; expected bi_gru True; no other form is built here."),
        ({"num_layers": 2}, "its options say num_layers 2; expected num_layers 1; no other form is built here."),
        ({"precomp_enc_type": "weight_norm"}, "its options say precomp_enc_type weight_norm; expected precomp_enc_type basic"),
        ({"cross_attn": torch.ones(2)}, "its options say cross_attn a Tensor; expected cross_attn t2i"),
        ({"lambda_softmax": "9"}, "its option lambda_softmax is 9; expected a finite number above 0."),
        ({"lambda_lse": 0}, "its option lambda_lse is 0; expected a finite number above 0."),
        ({"lambda_lse": float("nan")}, "its option lambda_lse is nan; expected a finite number above 0."),
        ({"lambda_lse": True}, "its option lambda_lse is True; expected a finite number above 0."),
        ({"lambda_lse": None}, "its option lambda_lse is a NoneType; expected a finite number above 0."),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_form_that_is_not_built_here_is_one_error(changes: dict[str, Any], said: str) -> None:
    line = refusal("scan_t2i_lse_bigru", **changes)
    assert said in line and "\n" not in line


def test_a_gru_of_one_direction_is_refused_without_its_options_too() -> None:
    checkpoint = without_options(checkpoint_of("scan_t2i_lse_bigru"))
    for name in [name for name in checkpoint.parts[1] if name.endswith("_reverse")]:
        del checkpoint.parts[1][name]
    with pytest.raises(DataError, match=r"entries 4 missing: text encoder: rnn\.weight_ih_l0_reverse, "):
        imported(checkpoint, published("scan_t2i_lse_bigru"))


def test_the_mask_token_that_the_released_vocabulary_lacks_gets_a_row_and_loses_it_again() -> None:
    checkpoint = checkpoint_of("scan_t2i_avg_bigru")
    method, sizes = imported(checkpoint, published("scan_t2i_avg_bigru"))
    weight = method.state_dict()["words.embed.weight"]
    assert weight.shape == (61, 20) and sizes.n_tokens == 61
    assert torch.equal(weight[:60], checkpoint.parts[1]["embed.weight"]) and not weight[60].any()
    assert options(sizes, "f30k")["vocab_size"] == 60
    checkpoint.parts[1]["embed.weight"] = torch.ones(60)
    with pytest.raises(DataError, match=r"text encoder: embed\.weight, with a row for the mask token \(60,\) float32"):
        imported(checkpoint, published("scan_t2i_avg_bigru"))


@pytest.mark.parametrize("n_regions", [36, 7])
@pytest.mark.parametrize("name", NAMES)
def test_the_released_evaluation_reads_an_export_and_computes_the_same(
    name: str, n_regions: int, tmp_path: Path
) -> None:
    other = {"pooling": {"kind": "lse", "scale": 3.0}} if "lse" in name else {}
    method, sizes = small(name, softmax_scale=5.0, **other)
    check_export(method, sizes, tmp_path, n_regions)
