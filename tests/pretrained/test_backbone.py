"""Backbones of grid features: what they read, where their weights come from, which of their stages train when."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from itrcore.errors import DataError
from itrcore.pretrained import backbone
from tests.support.backbones import grid, random_backbone, resnet_folder
from tests.support.helpers import bert_folder

# ResNets of transformers


def test_imagenets_resnet_is_read_from_a_folder_without_its_head(tmp_path: Path) -> None:
    theirs = resnet_folder(tmp_path)
    model, _ = backbone.pretrained(grid(weights=str(tmp_path)))
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        cells, last = model.eval()(pixels), theirs.resnet(pixels).last_hidden_state
    assert cells.shape == (2, 2 * 3, 40)
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(cells[:, row * 3 + column], last[:, :, row, column])


def test_what_is_no_resnet_is_refused(tmp_path: Path) -> None:
    bert_folder(tmp_path / "bert", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    with pytest.raises(DataError, match=r"no ResNet can be had from here .its config.json says bert"):
        backbone.pretrained(grid(weights=str(tmp_path / "bert")))


@pytest.mark.parametrize("kind", ["imagenet_res152", "wsl"])
def test_a_resnets_folder_that_is_not_there_is_not_looked_for_on_the_hub(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        backbone.pretrained(grid(kind, str(tmp_path / "nowhere")))
    assert str(caught.value) == (
        f"{tmp_path / 'nowhere'}: no such folder; expected a ResNet's, as model.grid.weights names it."
    )


# WSL's ResNeXt


def test_wsl_says_what_to_install_where_timm_is_not(tmp_path: Path) -> None:
    try:
        import timm  # noqa: F401
    except Exception:
        with pytest.raises(DataError, match=r"needs timm, which cannot be imported .*pip install .itr\[wsl\]"):
            backbone.pretrained(grid("wsl", "timm/resnext101_32x8d.fb_wsl_ig1b_ft_in1k"))
    else:
        pytest.skip("timm is installed")


def test_wsl_is_read_from_a_folder_as_timm_has_it(tmp_path: Path) -> None:
    try:
        timm = __import__("timm")
    except Exception:
        pytest.skip("needs timm")
    torch.manual_seed(2)
    theirs = timm.create_model("resnext50_32x4d").eval()  # the same layers as ResNeXt-101, in a few seconds
    timm.models.save_for_hf(theirs, tmp_path / "hub")
    settings = grid("wsl", str(tmp_path / "hub"))
    prepared, architecture = backbone.pretrained(settings)
    pixels = torch.randn(1, 3, 64, 64)
    cells = theirs.forward_features(pixels).flatten(2).transpose(1, 2)
    torch.testing.assert_close(prepared.eval()(pixels), cells)
    restored = backbone.build(settings, architecture).eval()
    restored.load_state_dict(prepared.state_dict())
    torch.testing.assert_close(restored(pixels), cells)
    with pytest.raises(DataError, match="no ResNet of timm can be had from here"):
        backbone.pretrained(grid("wsl", str(tmp_path)))


# What is read and what trains


def test_each_backbone_reads_pixels_as_it_was_trained_on_them() -> None:
    caffe, imagenet = backbone.pixel_input(grid("detector")), backbone.pixel_input(grid())
    assert (caffe.bgr, caffe.scale, caffe.mean, caffe.std) == (True, 1.0, (102.9801, 115.9465, 122.7717), (1, 1, 1))
    assert (imagenet.bgr, imagenet.scale) == (False, 255.0)
    assert (imagenet.mean, imagenet.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert backbone.pixel_input(grid("wsl", "timm/any")) == imagenet
    assert {(given.framing, given.picture, given.random_crop, given.flip) for given in (caffe, imagenet)} == {
        ("stretch", 64, 0.6, True)
    }


STAGES = ["stages.3", "stages.2", "stages.1", "stages.0"]


@pytest.mark.parametrize(
    ("epoch", "changes", "n_open"),
    [
        (0, {}, 0),
        (1, {}, 0),
        (2, {}, 1),
        (6, {}, 1),
        (7, {}, 2),
        (12, {}, 3),
        (16, {}, 3),
        (17, {}, 4),
        (400, {}, 4),
        (0, {"warmup_epochs": 0}, 1),
        (0, {"warmup_epochs": 1, "stage_epochs": 0}, 0),
        (1, {"warmup_epochs": 1, "stage_epochs": 0}, 4),  # VSE∞'s train_grid.sh
    ],
)
def test_gradients_reach_exactly_the_stages_that_are_open(epoch: int, changes: dict[str, int], n_open: int) -> None:
    model = random_backbone(grid().model_copy(update=changes)).train()
    model.open_for(400)
    model.open_for(epoch)  # whatever was open before
    head = nn.Linear(40, 1)
    head(model(torch.randn(2, 3, 64, 64))).square().sum().backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    expected = tuple(STAGES[:n_open]) + (("stem",) if n_open == 4 else ())
    assert reached == {name for name, _ in model.named_parameters() if name.startswith(expected) and expected}
    assert head.weight.grad is not None


def test_statistics_of_batch_normalisation_stay_in_training() -> None:
    model = random_backbone(grid())
    nn.Sequential(model).train()
    model.open_for(400)
    before = {name: value.clone() for name, value in model.named_buffers()}
    pixels = 3 + torch.randn(2, 3, 64, 64)
    in_training = model(pixels)
    in_training.sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert before and all(value.equal(before[name]) for name, value in model.named_buffers())
    assert not model.eval()(pixels).allclose(in_training)  # while its weights do train


def test_the_seed_decides_a_backbones_weights() -> None:
    first, again, other = (random_backbone(grid(), seed).state_dict() for seed in (1, 1, 2))
    assert all(value.equal(again[name]) for name, value in first.items())
    assert not first["stages.0.layers.0.layer.0.convolution.weight"].equal(
        other["stages.0.layers.0.layer.0.convolution.weight"]
    )
