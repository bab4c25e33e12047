"""Image sides: what a run reads and builds its encoder from, prepared, saved, restored, told apart by digest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from itrcore import registry
from itrcore.assets.grid import Grid, prepare, restore
from itrcore.assets.regions import Regions
from itrcore.data.image_inputs import RegionInput
from itrcore.errors import DataError
from itrcore.pretrained import backbone
from tests.support.backbones import grid, resnet_folder
from tests.support.helpers import image_batch


def backbone_of(side: Grid) -> backbone.Backbone:
    """The backbone of an encoder that is made of an image side."""
    encoder = side.encoder(6, 0.2)
    assert (encoder.drop, encoder.fc.out_features) == (0.2, 6)
    return encoder.backbone


def test_the_same_weights_have_one_digest_wherever_they_lie(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        resnet_folder(tmp_path / folder)
    changed = resnet_folder(tmp_path / "c")
    with torch.no_grad():
        changed.resnet.encoder.stages[1].layers[0].layer[0].normalization.running_mean[0] += 1
    changed.save_pretrained(tmp_path / "c")
    digests = [prepare(grid(weights=str(tmp_path / folder)), None).digest for folder in "abc"]
    assert digests[0] == digests[1] != digests[2]
    assert prepare(grid(), None).digest not in digests


@pytest.mark.parametrize("kind", ["imagenet_res152", "detector"])
def test_a_run_is_rebuilt_from_its_folder_alone(kind: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    if kind == "detector":
        prepared = prepare(grid("detector"), None)
    else:
        resnet_folder(weights, downsample_in_first_stage=True)
        prepared = prepare(grid(weights=str(weights)), None)
    trained = backbone_of(prepared).eval()
    prepared.save(tmp_path / "image")
    for path in weights.glob("*"):
        path.unlink()
    restored = restore(prepared.settings, tmp_path / "image", None)
    assert restored.input(0.2) == prepared.input(0.2) == backbone.pixel_input(prepared.settings)
    again = backbone_of(restored).eval()
    again.load_state_dict(trained.state_dict())
    pixels = torch.randn(2, 3, 70, 64)
    torch.testing.assert_close(again(pixels), trained(pixels))


def test_a_run_without_its_architecture_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"backbone\.json: cannot be read .* dvc repro"):
        restore(grid(), tmp_path, None)
    (tmp_path / "backbone.json").write_text("[1")
    with pytest.raises(DataError, match=r"backbone\.json: cannot be read .* dvc repro"):
        restore(grid(), tmp_path, None)


def test_every_backbone_that_is_made_is_another_one(tmp_path: Path) -> None:
    resnet_folder(tmp_path)
    prepared = prepare(grid(weights=str(tmp_path)), None)
    first, second = backbone_of(prepared), backbone_of(prepared)
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert next(second.parameters()).any()


def test_region_features_are_known_by_their_width_alone(tmp_path: Path) -> None:
    module = registry.load(registry.IMAGE_SIDES["regions"])
    side: Regions = module.prepare(None, 7)
    side.save(tmp_path / "image")
    assert not (tmp_path / "image").exists()
    again: Regions = module.restore(None, tmp_path / "image", side.width)
    assert (again.width, again.digest) == (7, None)
    assert again.input(0.2) == RegionInput(0.2)  # images lose regions as they are read, not in the encoder
    features, lengths = again.encoder(4, 0.2)(image_batch([3, 2], 7))
    assert features.shape == (2, 3, 4) and lengths.tolist() == [3, 2]


def test_a_method_on_regions_says_what_lacks_them(tmp_path: Path) -> None:
    module = registry.load(registry.IMAGE_SIDES["regions"])
    with pytest.raises(
        DataError, match="no region features, which this method reads; choose a method that reads pictures"
    ):
        module.prepare(None, None)
    with pytest.raises(DataError, match=r"run\.json: no width; expected the width of the region features"):
        module.restore(None, tmp_path / "image", None)


def test_pictures_bring_nothing_of_their_own(tmp_path: Path) -> None:
    module = registry.load(registry.IMAGE_SIDES["pictures"])
    side = module.prepare(None, 7)
    side.save(tmp_path / "image")
    assert not (tmp_path / "image").exists()
    for each in (side, module.restore(None, tmp_path / "image", None)):
        assert (each.width, each.digest) == (None, None)
