"""LHSC's released files: convolutions one wide, heads and layers by name, ways of padding, and what its evaluation reads."""

from __future__ import annotations

import contextlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itrcore.errors import ConfigError, DataError
from itrcore.evaluation.evaluate import evaluate
from itrcore.files import sha256
from itrcore.methods.sgraf.settings import LHSCSettings
from itrcore.released import convert, importing
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.exporting import export_run, options
from itrcore.released.layouts import LAYOUTS
from itrcore.runs.observer import Observer
from tests.support.cross_released import check_export, checkpoint_of, imported, regions, similarity, small
from tests.support.parity_fixtures import published, with_model
from tests.support.scores import similarities
from tests.support.tiny_project import PARAMS, project, train_in, write_params

PADDED = "what pads its captions takes no part (padding: masked); in the released code it does"


def other_values(sizes: Sizes[Any, Any]) -> list[str]:
    return list(LAYOUTS["lhsc_bigru"].other_values(sizes.settings.model))


def test_each_head_and_layer_is_the_one_of_that_name() -> None:
    checkpoint = checkpoint_of("lhsc_bigru")
    state = imported(checkpoint, published("lhsc_bigru"))[0].state_dict()
    images, texts, _ = checkpoint.parts
    for layer in range(4):
        for side in ("theta", "phi"):
            for head in range(4):
                name = f"IM_GCN_{layer + 1}.{side}{head or ''}"
                ours = f"regions.graph.{layer}.{side}.{head}"
                assert torch.equal(state[f"{ours}.weight"][..., None], images[f"{name}.weight"])
                assert torch.equal(state[f"{ours}.bias"], images[f"{name}.bias"])
        for ours, theirs in (("local", "local"), ("context", "global"), ("value", "v")):
            name = f"W_att{layer + 1}.embedding_{theirs}.0.weight"
            assert torch.equal(state[f"words.attention.{layer}.{ours}.weight"], texts[name])


def test_layers_and_heads_come_from_the_weights() -> None:
    settings = with_model(published("lhsc_bigru"), layers=2, heads=2, ranked_regions=None)
    model = imported(checkpoint_of("lhsc_bigru"), settings)[1].settings.model
    assert isinstance(model, LHSCSettings)
    assert (model.layers, model.heads, model.ranked_regions, model.alignment_dim) == (4, 4, 36, 24)


def test_a_layer_that_one_side_lacks_and_a_wider_convolution_are_named() -> None:
    checkpoint = checkpoint_of("lhsc_bigru")
    images, texts, _ = checkpoint.parts
    for name in [name for name in texts if name.startswith("W_att4.")]:
        del texts[name]
    images["IM_GCN_1.g.weight"] = torch.ones(64, 64, 3)
    with pytest.raises(DataError) as caught:
        imported(checkpoint, published("lhsc_bigru"))
    said = str(caught.value)
    assert "6 missing: text encoder: W_att4.embedding_local.0.weight, " in said
    assert "image encoder: IM_GCN_1.g.weight (64, 64, 3) float32, not (64, 64) float32" in said


@pytest.mark.parametrize("ranked", [None, 36])
def test_the_released_evaluation_reads_an_export_and_computes_the_same(ranked: int | None, tmp_path: Path) -> None:
    method, sizes = small("lhsc_bigru", padding="released", ranked_regions=ranked)
    check_export(method, sizes, tmp_path)
    told = options(sizes, "f30k")
    assert (told["sim_dim"], told["drop_out"], told["data_name"]) == (6, 0.0, "f30k_precomp")
    assert other_values(sizes) == []


def test_a_model_that_masks_padding_exports_with_a_caution_and_differs_from_the_released_evaluation(
    tmp_path: Path,
) -> None:
    method, sizes = small("lhsc_bigru")
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check_export(method, sizes, tmp_path)
    assert other_values(sizes) == [PADDED]


def test_fewer_layers_and_heads_are_exported_with_cautions_and_more_heads_refused() -> None:
    method, sizes = small("lhsc_bigru", layers=3, heads=2, padding="released")
    assert other_values(sizes) == [
        "it has 3 layers; the released code builds 4",
        "it has 2 heads; the released code builds 4",
    ]
    parts = convert.to_released(method, LAYOUTS["lhsc_bigru"])
    again, sizes_again = imported(Checkpoint(Path("m.pth"), parts, 1, None, None, {}), sizes.settings)
    assert sizes_again.settings == sizes.settings
    assert torch.equal(similarity(again, regions(9)), similarity(method, regions(9)))
    with pytest.raises(
        ConfigError, match=r"^regions\.graph\.0\.theta\.4\.weight has no place in the checkpoints of lDarr"
    ):
        convert.to_released(small("lhsc_bigru", heads=8)[0], LAYOUTS["lhsc_bigru"])


def lhsc(**model: Any) -> dict[str, Any]:
    """Changes of the tiny project: run `one` is LHSC."""
    method = deepcopy(PARAMS["methods"]["esa"])
    method["model"] = {
        "kind": "lhsc", "dim": 8, "text": {**method["model"]["text"], "word_dim": 6}, "layers": 4, "heads": 4,
        "padding": "masked", "softmax_scale": 9.0, "alignment_dim": 4, "dropout": 0.1, **model,
    }  # fmt: skip
    return {"methods.lhsc": method, "runs.one.method": "lhsc"}


def test_a_trained_run_goes_out_and_in_again_with_the_same_similarities(tmp_path: Path) -> None:
    params = project(tmp_path, lhsc())
    train_in(tmp_path)
    with contextlib.chdir(tmp_path):
        evaluate(params, "one")
        exported = export_run(Path("runs/tiny/one"), path := Path("out/model_best.pth"))
        assert exported.cautions == [PADDED, "its images have 6 regions; the released code builds 36"]
        assert exported.vocabulary == Path("out/tiny_precomp_vocab.json")  # `data_name`, and `_vocab.json`
        assert Checkpoint.read(path).options["data_name"] == "tiny_precomp"
        index = Path("data/tiny/shards/regions/dev.arrow")
        whole = index.read_bytes()
        index.write_bytes(b"")
        with pytest.raises(DataError, match=r"dev\.arrow: this file is damaged"):
            export_run(Path("runs/tiny/one"), Path("not/half.pth"))
        assert not Path("not").exists()
        index.write_bytes(whole)
        Path("data/tiny/shards").rename("gone")
        assert export_run(Path("runs/tiny/one"), path).cautions == [PADDED]  # nothing here tells how many there were
        Path("gone").rename("data/tiny/shards")
        assert Checkpoint.read(path).parts[2]["v_global_w.embedding_local.1.weight"].shape == (36,)
        loaded = importing.load(path, params.method_with("lhsc"), exported.vocabulary, "tiny")
        assert "padding masked: a caption is the same in any batch; " in "\n".join(loaded.summary())
        settings = with_model(params.method_with("lhsc"), padding="released")
        assert "padding released: " in "\n".join(importing.load(path, settings, exported.vocabulary, "tiny").summary())
        checkpoint = {"path": str(path), "sha256": sha256(path), "text_digest": loaded.text.digest}
        new = {"data": "tiny", "method": "lhsc", "checkpoint": checkpoint}
        params = write_params(Path("."), {**lhsc(), "runs.new": new})
        importing.import_run(params, "new", Observer())
        evaluate(params, "new")
        ours, theirs = (similarities(name) for name in ("one", "new"))
        np.testing.assert_array_equal(ours, theirs)
