"""Released files on grid features: the ResNet inside them is read by its names, and written back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.data.feeding.batches import PixelBatch
from itrcore.errors import ConfigError, DataError
from itrcore.pretrained import backbone
from itrcore.pretrained.detector import released_name
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.exporting import options
from itrcore.released.layouts import layout_of
from itrcore.settings.encoders import GridSettings, ResNetShape
from itrcore.settings.methods import MethodSettings, SetSettings
from tests.support.parity_fixtures import OWN, load, published, released_parts

SHAPE = ResNetShape(embedding=8, widths=[8, 12, 16, 24], depths=[2, 1, 3, 1])
# The method on grid features, and the fixture of the same on regions.
FAMILIES = {
    "vse_infty_bert_grid": "vse_infty_bert_s7",
    "esa_bert_grid": "esa_bert_s7",
    "esl_h_bert_grid": "esl_bert_h_s7",
}


def settings(name: str, source: str = "detector") -> MethodSettings:
    changed = published(name).model_dump(mode="json")
    changed["model"]["grid"]["backbone"] = source
    return MethodSettings.model_validate(changed)


def grid_of(given: MethodSettings) -> GridSettings:
    assert isinstance(given.model, SetSettings) and given.model.grid is not None
    return given.model.grid


def checkpoint_of(name: str) -> tuple[Checkpoint, dict[str, torch.Tensor]]:
    """A file as its released training writes it, and the ResNet in it under our names."""
    images, *others = released_parts(load(OWN / f"{FAMILIES[name]}.json"))
    dim = len(images["fc.bias"])
    grid = grid_of(settings(name))
    torch.manual_seed(0)
    resnet = backbone.build(grid, backbone.random(grid, SHAPE)).state_dict()
    for entry, value in resnet.items():
        if entry.endswith("running_mean"):
            value.normal_()
    inner = {entry: value for entry, value in images.items() if not entry.startswith(("fc.", "mlp."))}
    inner |= {"fc.weight": torch.randn(dim, SHAPE.widths[-1]), "fc.bias": torch.randn(dim)}
    part = {f"backbone.{released_name(entry)}": value for entry, value in resnet.items()}
    part |= {"backbone.resnet.conv1.weight": part["backbone.base.0.weight"]}
    part |= {"backbone.resnet.fc.weight": torch.ones(3, SHAPE.widths[-1]), "backbone.resnet.fc.bias": torch.ones(3)}
    part |= {f"image_encoder.{entry}": value for entry, value in inner.items()}
    told = {"precomp_enc_type": "backbone", "backbone_source": "detector"}
    return Checkpoint(Path("model_best.pth"), [part, *others], 3, 1.0, 1, told), resnet


def imported(checkpoint: Checkpoint, given: MethodSettings) -> tuple[Any, Sizes[Any, Any]]:
    sizes = convert.sizes(checkpoint, given)
    method = convert.empty(sizes)
    method.load_state_dict(convert.weights(checkpoint, layout_of(given), method))
    return method.eval(), sizes


@pytest.mark.parametrize("name", FAMILIES)
def test_the_resnet_and_all_else_are_read_and_written_back(name: str, tmp_path: Path) -> None:
    given = settings(name)
    checkpoint, resnet = checkpoint_of(name)
    method, sizes = imported(checkpoint, given)
    resnet_of = sizes.image.architecture
    assert (resnet_of["hidden_sizes"], resnet_of["depths"]) == (SHAPE.widths, SHAPE.depths)
    assert resnet_of["downsample_in_bottleneck"]
    with torch.no_grad():
        pixels = torch.randn(2, 3, 64, 64)
        features, lengths = method.regions(PixelBatch(pixels))
        plain = backbone.build(grid_of(given), backbone.random(grid_of(given), SHAPE)).eval()
        plain.load_state_dict(resnet)
        part = checkpoint.parts[0]
        expected = plain(pixels) @ part["image_encoder.fc.weight"].T + part["image_encoder.fc.bias"]
    torch.testing.assert_close(features, expected)
    assert lengths.tolist() == [4, 4] and features.std() > 0.1
    layout = layout_of(given)
    file = replace(checkpoint, path=tmp_path / "m.pth", parts=convert.to_released(method, layout))
    replace(file, options=options(sizes, "f30k")).write(layout.data_parallel)
    again = Checkpoint.read(tmp_path / "m.pth")
    for number, (before, after) in enumerate(zip(checkpoint.parts, again.parts, strict=True)):
        used = {entry for entry in before if layout.parts[number].unused_as(entry) is None}
        assert used <= after.keys() and all(torch.equal(before[entry], after[entry]) for entry in used)
        assert not any(entry.startswith("backbone.resnet.") for entry in after)
    told = again.options
    assert (told["precomp_enc_type"], told["backbone_source"], told["img_dim"]) == ("backbone", "detector", 24)
    assert told["input_scale_factor"] == grid_of(given).picture / 256
    second, _ = imported(again, given)
    assert all(torch.equal(value, method.state_dict()[entry]) for entry, value in second.state_dict().items())


def test_a_file_on_grid_features_is_told_from_one_on_regions() -> None:
    checkpoint, _ = checkpoint_of("esa_bert_grid")
    with pytest.raises(
        DataError, match=r"^model_best\.pth: a checkpoint of esa_bert_grid, by the names of its entries"
    ):
        imported(checkpoint, published("esa_bert"))


def test_a_block_that_a_resnet_lacks_is_listed_entry_by_entry() -> None:
    checkpoint, _ = checkpoint_of("esa_bert_grid")
    del checkpoint.parts[0]["backbone.base.6.1.bn2.running_var"]
    with pytest.raises(DataError, match=r"1 missing: image encoder: backbone\.base\.6\.1\.bn2\.running_var;"):
        imported(checkpoint, settings("esa_bert_grid"))
    del checkpoint.parts[0]["backbone.base.0.weight"]
    checkpoint.parts[0]["backbone.top.0.0.conv4.weight"] = torch.ones(1)
    with pytest.raises(DataError) as caught:
        imported(checkpoint, settings("esa_bert_grid"))
    assert "backbone.base.0.weight" in str(caught.value)
    assert "1 unexpected: image encoder: backbone.top.0.0.conv4.weight;" in str(caught.value)


def test_another_resnet_than_the_methods_is_refused_as_its_strides_are_in_no_weight() -> None:
    checkpoint, _ = checkpoint_of("esa_bert_grid")
    checkpoint.options["backbone_source"] = "imagenet_res152"
    with pytest.raises(DataError, match=r"its backbone_source is imagenet_res152; expected detector, as the method's"):
        imported(checkpoint, settings("esa_bert_grid"))


@pytest.mark.parametrize("source", ["imagenet_res152", "wsl"])
def test_resnets_whose_form_or_names_are_others_here_have_no_released_layout(source: str) -> None:
    expected = rf"^esa_bert_grid: released checkpoints with model\.grid\.backbone {source} are not"
    with pytest.raises(ConfigError, match=expected):
        layout_of(settings("esa_bert_grid", source))


def test_sizes_of_a_resnet_that_starts_at_random_come_from_the_weights() -> None:
    changed = settings("esa_bert_grid").model_dump(mode="json")
    other = {"embedding": 4, "widths": [4, 4, 4, 4], "depths": [1, 1, 1, 1]}
    changed["model"]["grid"] |= {"weights": "random", "shape": other}
    checkpoint, _ = checkpoint_of("esa_bert_grid")
    _, sizes = imported(checkpoint, MethodSettings.model_validate(changed))
    assert grid_of(sizes.settings).shape == SHAPE
