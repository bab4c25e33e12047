"""CLIPs: read as they were published or refused in one line, and vectors of captions that padding cannot reach."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itrcore.data.feeding.batches import TextBatch
from itrcore.data.text.wordpieces import SPECIAL
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.pretrained import clip, weights
from tests.support.clip_data import CAPTIONS, DIM, SHAPE, clip_folder, small
from tests.support.helpers import bert_folder, offline


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def refusal(name: Path | str, revision: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        clip.pretrained(str(name), revision)
    said = str(caught.value)
    assert said.startswith(f"{name}: ") and "\n" not in said
    return said


def batch(captions: list[str]) -> TextBatch:
    tokens = small().limited(SHAPE.positions)
    return TextBatch.pad([np.array(tokens.encode(caption).ids) for caption in captions])


def test_a_folders_weights_are_the_models_and_nothing_is_printed(tmp_path: Path, capsys: Any) -> None:
    written = clip_folder(tmp_path)
    capsys.readouterr()
    assert same(clip.pretrained(str(tmp_path)), written)
    assert capsys.readouterr() == ("", "")


def test_half_precision_weights_are_read_as_float32(tmp_path: Path) -> None:
    written: torch.nn.Module = clip_folder(tmp_path, dtype=torch.float16)
    read = clip.pretrained(str(tmp_path))
    assert {weight.dtype for weight in read.parameters()} == {torch.float32}
    assert same(read, written.float())


def drop(folder: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {key: weight for key, weight in weights.items() if not key.startswith(name)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    "name", ["logit_scale", "visual_projection.weight", "text_model.encoder.layers.1.mlp.fc1.bias"]
)
def test_weights_that_are_missing_are_named_and_not_drawn(tmp_path: Path, name: str) -> None:
    clip_folder(tmp_path)
    drop(tmp_path, name)
    assert f"lacks weights of the CLIP that its config.json describes: {name}; expected all" in refusal(tmp_path)


def test_weights_of_another_size_are_named(tmp_path: Path) -> None:
    clip_folder(tmp_path)
    config = read_json(tmp_path / "config.json")
    config["text_config"]["max_position_embeddings"] = 99
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "describes: text_model.embeddings.position_embedding.weight; expected all" in refusal(tmp_path)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    bert_folder(tmp_path, [*SPECIAL, "a"])
    assert "no CLIP can be had from here (its config.json says bert)" in refusal(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-40]),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text("{}"),
        lambda folder: (folder / "config.json").unlink(),
    ],
    ids=["cut", "no weights", "no JSON", "no kind", "no configuration"],
)
def test_a_damaged_folder_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    clip_folder(tmp_path)
    damage(tmp_path)
    said = refusal(tmp_path)
    assert "no CLIP can be had from here (" in said and "config.json and model.safetensors" in said


def test_without_network_a_name_on_the_hub_is_refused_with_its_revision(tmp_path: Path) -> None:
    program = """
from itrcore.errors import DataError
from itrcore.pretrained import clip
try:
    clip.pretrained("lab/none", "v1")
except DataError as error:
    print(error)
"""
    (said,) = offline(program, tmp_path)
    assert said.startswith("lab/none: no CLIP can be had from here at revision v1 (") and "HF_HUB_OFFLINE" in said


def test_a_random_clip_has_the_sizes_asked_for_and_is_else_openais(capsys: Any) -> None:
    config: Any = clip.config_of(SHAPE, 40, DIM)
    model = clip.configured(config)
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert shapes["text_model.embeddings.token_embedding.weight"] == (40, 16)
    assert shapes["text_model.embeddings.position_embedding.weight"] == (12, 16)
    assert shapes["text_model.encoder.layers.1.mlp.fc1.weight"] == (24, 16)
    assert shapes["vision_model.embeddings.patch_embedding.weight"] == (24, 3, 16, 16)
    assert shapes["vision_model.embeddings.position_embedding.weight"] == (5, 24)  # four patches and the class token
    assert shapes["vision_model.encoder.layers.1.mlp.fc1.weight"] == (32, 24)
    assert shapes["visual_projection.weight"] == (DIM, 24) and shapes["text_projection.weight"] == (DIM, 16)
    towers = (config.text_config, config.vision_config)
    assert [tower.num_attention_heads for tower in towers] == [4, 2]
    assert {tower.hidden_act for tower in towers} == {"quick_gelu"}
    assert {len(tower.encoder.layers) for tower in (model.text_model, model.vision_model)} == {2}
    torch.testing.assert_close(model.logit_scale.detach().exp(), torch.tensor(1 / 0.07), rtol=1e-4, atol=0)
    assert capsys.readouterr() == ("", "")


def test_pixels_are_as_transformers_own_processor_makes_them() -> None:
    from transformers import CLIPImageProcessorPil

    theirs: Any = CLIPImageProcessorPil()
    ours = clip.pixel_input(clip.config_of(SHAPE.model_copy(update={"picture": 224}), 40, DIM))
    assert (ours.mean, ours.std) == (tuple(theirs.image_mean), tuple(theirs.image_std))
    assert 1 / ours.scale == theirs.rescale_factor
    assert (ours.picture, ours.framing) == (theirs.crop_size["height"], "crop")
    assert (ours.bgr, ours.random_crop, ours.flip) == (False, None, False)


@torch.no_grad()
def test_vectors_are_those_that_transformers_makes(tmp_path: Path) -> None:
    model = clip_folder(tmp_path)
    texts, pixels = batch(CAPTIONS), torch.randn(3, 3, 32, 32)
    mask = (torch.arange(texts.ids.shape[1]) < texts.lengths[:, None]).long()
    theirs = model(input_ids=texts.ids, attention_mask=mask, pixel_values=pixels)
    for ours, wanted in (
        (clip.text_features(model, texts.ids, texts.lengths - 1), theirs.text_embeds),
        (clip.image_features(model, pixels), theirs.image_embeds),
    ):
        assert ours.shape[1] == DIM
        torch.testing.assert_close(torch.nn.functional.normalize(ours), wanted, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_captions_vector_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    model = clip_folder(tmp_path)

    def vectors(texts: TextBatch) -> Tensor:
        return clip.text_features(model, texts.ids, texts.lengths - 1)

    short, long = "a man.", CAPTIONS[2]
    together = vectors(batch([short, long]))
    torch.testing.assert_close(vectors(batch([short]))[0], together[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(vectors(batch([long]))[0], together[1], rtol=0, atol=1e-6)
    other = batch([short, long])
    other.ids[0, other.lengths[0] :] = 7  # whatever stands after a caption's end
    torch.testing.assert_close(vectors(other), together, rtol=0, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_configuration_comes_back_whole_and_does_not_say_where_it_was(tmp_path: Path) -> None:
    clip_folder(tmp_path / "somewhere")
    config: Any = clip.pretrained(str(tmp_path / "somewhere")).config
    config.vision_config.layer_norm_eps = 1e-7
    weights.save_config(config, tmp_path / "clip.json")
    assert "somewhere" not in (tmp_path / "clip.json").read_text()
    again: Any = clip.read_config(tmp_path / "clip.json")
    assert (again.vision_config.layer_norm_eps, again.text_config.hidden_size, again.projection_dim) == (1e-7, 16, DIM)
    weights.save_config(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "clip.json").read_text()
    for damage in ("{", '{"text_config": {"hidden_size": "wide"}}'):
        (tmp_path / "clip.json").write_text(damage)
        with pytest.raises(DataError, match=r"clip.json: cannot be read \(.*a CLIP's configuration"):
            clip.read_config(tmp_path / "clip.json")
