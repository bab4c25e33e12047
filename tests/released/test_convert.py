"""Between released entries and our weights: nothing left out in either direction, and all that is wrong said at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from itrcore.assets.pieces import BertSource
from itrcore.assets.regions import Regions
from itrcore.assets.words import BiGRUSource
from itrcore.errors import ConfigError, DataError
from itrcore.files import read_json, sha256
from itrcore.pretrained import bert
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.exporting import export_run, options, other_shapes
from itrcore.released.layouts import LAYOUTS, layout_of
from itrcore.settings.encoders import BertSettings, BertShape
from itrcore.settings.methods import MethodSettings
from tests.support.helpers import released_file
from tests.support.parity_fixtures import fixture_of, import_file, published, released_parts, write_checkpoint
from tests.support.released_modules import released_modules
from tests.support.tiny_project import project, rewrite, train_in

FAMILIES = sorted(name for name in LAYOUTS if not name.endswith("_grid"))


def checkpoint_of(name: str) -> Checkpoint:
    fixture = fixture_of(name)
    flat = name.endswith("_clip")
    return Checkpoint(Path("model_best.pth"), released_parts(fixture), 25, 512.5, 28300, fixture["opt"], flat)


unchanged = cache(checkpoint_of)  # none may change its parts


def imported(checkpoint: Checkpoint, name: str) -> dict[str, torch.Tensor]:
    method = convert.empty(convert.sizes(checkpoint, published(name)))
    return convert.weights(checkpoint, layout_of(published(name)), method)


def refusal(checkpoint: Checkpoint, name: str) -> str:
    with pytest.raises(DataError) as caught:
        imported(checkpoint, name)
    return str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_export_gives_back_every_used_entry_bit_for_bit(tmp_path: Path, name: str) -> None:
    layout = layout_of(published(name))
    method, original, _ = import_file(write_checkpoint(fixture_of(name), tmp_path / "a.pth"), published(name))
    replace(original, path=tmp_path / "b.pth", parts=convert.to_released(method, layout)).write(layout.data_parallel)
    exported = Checkpoint.read(tmp_path / "b.pth")
    for part, before, after in zip(layout.parts, original.parts, exported.parts, strict=True):
        assert before.keys() == after.keys()
        used = before.keys() - part.unused.keys()
        assert all(torch.equal(before[entry], after[entry]) for entry in used) and used
    again, _, _ = import_file(tmp_path / "b.pth", published(name))
    first, second = method.state_dict(), again.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[entry], second[entry]) for entry in first)


def test_unused_entries_are_written_as_a_training_starts_them() -> None:
    checkpoint = checkpoint_of("esa_bert")
    method = convert.empty(convert.sizes(checkpoint, published("esa_bert")))
    images, texts = convert.to_released(method, LAYOUTS["esa_bert"])
    fresh = nn.BatchNorm1d(64).state_dict()
    for entry in fresh:
        written = images[f"mlp.bns.1.{entry}"]
        assert torch.equal(written, fresh[entry]) and written.dtype == fresh[entry].dtype, entry
    assert texts["bert.pooler.dense.weight"].shape == (768, 768) and not texts["bert.pooler.dense.weight"].any()
    assert texts["bert.pooler.dense.bias"].shape == (768,) and not texts["bert.pooler.dense.bias"].any()


@pytest.mark.parametrize("name", FAMILIES)
def test_an_exported_file_loads_strictly_where_the_released_evaluation_loads_it(tmp_path: Path, name: str) -> None:
    layout, checkpoint = layout_of(published(name)), checkpoint_of(name)
    sizes = convert.sizes(checkpoint, published(name))
    method = convert.empty(sizes)
    method.load_state_dict(convert.weights(checkpoint, layout, method))
    replace(checkpoint, path=tmp_path / "m.pth", parts=convert.to_released(method, layout)).write(layout.data_parallel)
    stored = released_file(tmp_path / "m.pth")
    wrapped = name.endswith("_bert")  # VSE∞'s master, ESA_BERT and ESL wrap before they load, the others do not
    parts = [stored["state_dict"]] if checkpoint.flat else stored["model"]
    for module, part in zip(released_modules(sizes), parts, strict=True):
        (nn.DataParallel(module) if wrapped else module).load_state_dict(part, strict=True)


@pytest.mark.parametrize("name", [name for name in FAMILIES if not name.endswith("_clip")])
def test_options_have_every_field_that_the_released_evaluation_reads(name: str) -> None:
    sizes = convert.sizes(checkpoint_of(name), published(name))
    told = options(sizes, "f30k")
    read_by_all = (
        "data_name data_path vocab_path vocab_size batch_size workers img_dim embed_size no_imgnorm no_txtnorm"
    )
    read_by_all += " margin max_violation grad_clip learning_rate optim precomp_enc_type backbone_source backbone_path"
    of_text = "word_dim num_layers" if name.endswith("bigru") else ""
    of_method = {
        "esa": "hardnum",
        "esl": "kernel_size",
        "lhsc": "bi_gru sim_dim drop_out",
        "saf": "bi_gru sim_dim module_name sgr_step",
        "sgr": "bi_gru sim_dim module_name sgr_step",
        "scan": "bi_gru cross_attn agg_func raw_feature_norm lambda_softmax",
    }.get(name.split("_")[0], "")
    of_method += " lambda_lse" if "lse" in name else ""
    assert set(f"{read_by_all} {of_text} {of_method}".split()) <= told.keys()
    dim = 512 if name.startswith("esl") else 64
    assert (told["img_dim"], told["embed_size"], told["vocab_size"]) == (48, dim, 60)
    whole_name = name.startswith(("lhsc", "saf", "sgr", "scan"))  # the others' codes add `_precomp` to it
    assert told["data_name"] == ("f30k_precomp" if whole_name else "f30k") and told.get("word_dim", 20) == 20
    assert told.get("hardnum", 2) == told.get("kernel_size", 2) == 2


def test_a_run_that_was_trained_with_another_loss_gives_its_evaluation_the_usual_margin() -> None:
    settings = published("vse_infty_bigru").model_dump(mode="json")
    settings["loss"] = {"kind": "symmetric", "initial_scale": 14.3, "max_scale": 100.0}
    sizes = convert.sizes(unchanged("vse_infty_bigru"), MethodSettings.model_validate(settings))
    assert options(sizes, "f30k")["margin"] == 0.2
    settings["loss"] = {"kind": "hinge", "margin": 0.3, "warmup_epochs": 1}
    sizes = convert.sizes(unchanged("vse_infty_bigru"), MethodSettings.model_validate(settings))
    assert options(sizes, "f30k")["margin"] == 0.3


def test_sizes_come_from_the_weights_and_the_rest_from_the_settings() -> None:
    checkpoint = checkpoint_of("vse_infty_bigru")
    for part in checkpoint.parts:
        gru = nn.GRU(12, 6, bidirectional=True).state_dict()
        part |= {f"gpool.gru.{name}": value for name, value in gru.items()} | {"gpool.linear.weight": torch.ones(1, 6)}
    sizes = convert.sizes(checkpoint, published("vse_infty_bigru"))
    assert (sizes.image.width, sizes.n_tokens, sizes.source) == (48, 60, bigru_source(sizes.settings, 60))
    expected = published("vse_infty_bigru").model_dump(mode="json")
    expected["model"]["dim"], expected["model"]["text"]["word_dim"] = 64, 20
    expected["model"]["pooling"] |= {"code_dim": 12, "hidden_dim": 6}
    assert sizes.settings == MethodSettings.model_validate(expected)
    imported(checkpoint, "vse_infty_bigru")


def test_everything_missing_unexpected_and_misshapen_is_listed_in_one_error() -> None:
    checkpoint = checkpoint_of("esa_bigru")
    images, texts = checkpoint.parts
    del images["fc.weight"], texts["rnn.bias_hh_l0"]  # the first decides sizes
    texts |= {"rnn.weight_ih_l1": torch.ones(2), "gate.weight": torch.ones(2)}
    images["mlp.bns.1.gain"] = torch.ones(64)
    images["linear1.bias"], texts["embed.weight"] = torch.ones(63), texts["embed.weight"].half()
    said = refusal(checkpoint, "esa_bigru")
    assert said.startswith("model_best.pth: entries ") and "KevinLight831/ESA, folder ESA_BIGRU" in said
    assert "2 missing: image encoder: fc.weight, text encoder: rnn.bias_hh_l0;" in said
    names = "image encoder: mlp.bns.1.gain, text encoder: rnn.weight_ih_l1, text encoder: gate.weight;"
    assert f"3 unexpected: {names}" in said
    assert "image encoder: linear1.bias (63,) float32, not (" in said
    assert "text encoder: embed.weight (60, 20) float16, not (60, 20) float32" in said


def test_a_layer_that_a_bert_lacks_is_listed_entry_by_entry() -> None:
    checkpoint = checkpoint_of("vse_infty_bert")
    for name in [name for name in checkpoint.parts[1] if name.startswith("bert.encoder.layer.0.")]:
        del checkpoint.parts[1][name]
    said = refusal(checkpoint, "vse_infty_bert")
    assert "text encoder: bert.encoder.layer.0.attention.self.query.weight" in said and "unexpected" in said


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [parts[0].pop(name) for name in list(parts[0]) if name.startswith("mlp.bns.1.")],
        lambda parts: [parts[1].pop(name) for name in list(parts[1]) if name.startswith("bert.pooler.")],
        lambda parts: parts[1].update({"bert.embeddings.position_ids": torch.arange(32)[None]}),
    ],
    ids=["no second norm", "no pooling layer", "position ids"],
)
def test_entries_known_to_be_unused_may_be_there_or_not(change: Callable[[Any], Any]) -> None:
    checkpoint = checkpoint_of("esa_bert")
    change(checkpoint.parts)
    imported(checkpoint, "esa_bert")


def test_a_checkpoint_of_another_method_is_recognised() -> None:
    said = refusal(checkpoint_of("esa_bigru"), "vse_infty_bigru")
    assert said == (
        "model_best.pth: a checkpoint of esa_bigru, by the names of its entries; expected one as woodfrog/vse_infty, "
        "branch bigru writes it. Give its method and text encoder."
    )


@pytest.mark.parametrize(("theirs", "given"), itertools.permutations(FAMILIES, 2))
def test_any_two_families_are_told_apart_in_a_short_line(theirs: str, given: str) -> None:
    said = refusal(unchanged(theirs), given)
    assert said.startswith(f"model_best.pth: a checkpoint of {theirs}, by ") and len(said) < 240


def test_a_checkpoint_of_grid_features_is_recognised() -> None:
    checkpoint = checkpoint_of("vse_infty_bert")
    grid = {f"image_encoder.{name}": value for name, value in checkpoint.parts[0].items()}
    changed = replace(
        checkpoint, parts=[grid, checkpoint.parts[1]], options=checkpoint.options | {"precomp_enc_type": "backbone"}
    )
    assert "It was trained on grid features" in refusal(changed, "vse_infty_bert")


@pytest.mark.parametrize("option", ["no_imgnorm", "no_txtnorm"])
@pytest.mark.parametrize("name", [name for name in FAMILIES if not name.endswith("_clip")])
def test_encoders_that_do_not_scale_to_unit_length_are_refused_as_no_weight_tells(name: str, option: str) -> None:
    checkpoint = checkpoint_of(name)
    told = replace(checkpoint, options={**checkpoint.options, option: True})
    assert f"its options say {option} True; expected {option} False; no other form" in refusal(told, name)


def test_another_number_of_parts_is_said() -> None:
    checkpoint = checkpoint_of("esa_bigru")
    said = refusal(replace(checkpoint, parts=[*checkpoint.parts, {}]), "esa_bigru")
    assert "a `model` of 3 parts; expected a `model` of 2 (image encoder, text encoder)" in said


def test_sizes_that_no_method_can_have_are_said() -> None:
    checkpoint = checkpoint_of("esa_bigru")
    checkpoint.parts[0]["fc.weight"] = torch.ones(63, 48)
    assert "its weights' sizes fit no esa_bigru (model.dim" in refusal(checkpoint, "esa_bigru")


def test_a_method_without_released_checkpoints_is_said_with_those_that_have() -> None:
    with pytest.raises(ConfigError, match=r"^vse_pp_bigru has no released checkpoints; .*: esa_bert, esa_b"):
        layout_of(published("vse_pp_bigru"))


def bigru_source(settings: MethodSettings, n_tokens: int) -> BiGRUSource:
    text: Any = settings.model.text
    return BiGRUSource(text, n_tokens)


def bert_source(settings: MethodSettings, config: Any) -> BertSource:
    text: Any = settings.model.text
    return BertSource(text, config)


def small_bert(heads: int) -> tuple[Checkpoint, BertShape]:
    """A checkpoint of a BERT with 48 dimensions."""
    size = BertShape(hidden=48, layers=2, heads=heads, intermediate=40, positions=16)
    settings = convert.sizes(checkpoint_of("esa_bert"), published("esa_bert")).settings
    method = convert.empty(Sizes(settings, Regions(24), bert_source(settings, bert.config_of(size, 50)), 50))
    parts = convert.to_released(method, LAYOUTS["esa_bert"])
    return Checkpoint(Path("small.pth"), parts, 1, 100.0, 10, {}), size


def test_a_berts_heads_come_from_its_configuration_where_its_size_does_not_tell() -> None:
    checkpoint, size = small_bert(heads=4)
    with pytest.raises(DataError, match=r"^small\.pth: its BERT has 48 dimensions, .* attention heads"):
        convert.sizes(checkpoint, published("esa_bert"))
    given = convert.sizes(checkpoint, published("esa_bert"), bert.config_of(size, 50))
    assert given.source.config.num_attention_heads == 4
    convert.weights(checkpoint, LAYOUTS["esa_bert"], convert.empty(given))


def test_a_bert_of_the_settings_own_size_has_their_heads_and_the_other_sizes_of_the_weights() -> None:
    checkpoint, size = small_bert(heads=6)
    settings = published("esa_bert").model_dump(mode="json")
    settings["model"]["text"] |= {"weights": "random", "shape": {**size.model_dump(), "layers": 9, "positions": 99}}
    sizes = convert.sizes(checkpoint, MethodSettings.model_validate(settings))
    assert isinstance(sizes.settings.model.text, BertSettings) and sizes.settings.model.text.shape == size
    assert (sizes.source.config.num_attention_heads, sizes.n_tokens) == (6, 50)


def test_what_the_released_code_would_not_load_as_it_stands_is_said() -> None:
    words = convert.empty(convert.sizes(checkpoint_of("vse_infty_bigru"), published("vse_infty_bigru")))
    assert other_shapes(words, LAYOUTS["vse_infty_bigru"]) == []
    tiny = convert.empty(convert.sizes(checkpoint_of("vse_infty_bert"), published("vse_infty_bert")))
    pieces, layers = other_shapes(tiny, LAYOUTS["vse_infty_bert"])
    assert "bert.embeddings.word_embeddings.weight is (60, 768); the released code builds (30522, 768)" in pieces
    assert "bert.encoder.layer.11.output.dense.weight is not there" in layers
    from transformers import BertConfig

    settings = published("vse_infty_bert")
    with torch.device("meta"):
        base = convert.empty(Sizes(settings, Regions(2048), bert_source(settings, BertConfig()), 30522))
    assert other_shapes(base, LAYOUTS["vse_infty_bert"]) == []


def test_an_export_says_what_no_weights_shape_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    three = {"data": "tiny", "method": "esa_bert", "seed": 1}
    other = {"methods.gpo.model.pooling.temperature": 0.25, "methods.esa_bert.model.text.shape.heads": 4}
    project(tmp_path, {**other, "runs.three": three})
    said = {
        name: [
            line
            for line in export_run(train_in(tmp_path, name), tmp_path / name / "m.pth").cautions
            # Shapes, in which all that is tiny differs, and its name.
            if "; the released code builds (" not in line and "; the released code opens " not in line
        ]
        for name in ("one", "two", "three")
    }
    assert said["one"] == []
    assert said["two"] == ["its pooling's temperature is 0.25; the released code has 0.1"]
    base = "the released code builds bert-base-uncased, with 12"
    heads = [f"its BERT's num_hidden_layers is 1; {base}", f"its BERT's num_attention_heads is 4; {base}"]
    assert said["three"] == heads
    assert Checkpoint.read(tmp_path / "three" / "m.pth").iterations is None
    kept = tmp_path / "runs" / "tiny" / "three" / "text"
    config, pieces = (kept / "bert.json").read_text("utf-8"), (kept / "tokenizer.json").read_text("utf-8")
    assert config.count('"hidden_act": "gelu"') == pieces.count('"lowercase": true') == 1
    (kept / "bert.json").write_text(config.replace('"gelu"', '"relu"').replace("1e-12", "1e-05"), "utf-8")
    (kept / "tokenizer.json").write_text(pieces.replace('"lowercase": true', '"lowercase": false'), "utf-8")
    files = {name: sha256(kept.parent / name) for name in read_json(kept.parent / "run.json")["files"]}
    rewrite(kept.parent / "run.json", files=files)
    again = export_run(kept.parent, tmp_path / "three" / "again.pth").cautions
    assert again[-3:] == [
        "its BERT's hidden_act is relu; the released code builds bert-base-uncased, with gelu",
        "its BERT's layer_norm_eps is 1e-05; the released code builds bert-base-uncased, with 1e-12",
        "its captions keep upper case; the released code's BERT is uncased",
    ]
