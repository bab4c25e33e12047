"""The ResNets behind grid features: published ones and small ones that start at random, opened for training in stages.

    detector          bottom-up attention's ResNet-101 in Caffe's form, from `original_updown_backbone.pth`
    imagenet_res152   transformers' ResNet, such as microsoft/resnet-152
    wsl               ResNeXt-101 32×8d of weakly supervised learning, through timm where it is installed

A backbone that starts at random is a ResNet of the given shape, for `detector` in Caffe's form too.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from itrcore.data.image_inputs import PixelInput
from itrcore.errors import DataError, first_line
from itrcore.fetch import hub
from itrcore.pretrained import detector, torch_file, weights
from itrcore.settings.encoders import GridSettings, ResNetShape

if TYPE_CHECKING:
    from transformers import ResNetModel

_RESNET_101 = ResNetShape(embedding=64, widths=[256, 512, 1024, 2048], depths=[3, 4, 23, 3])
_RESNET_152 = ResNetShape(embedding=64, widths=[256, 512, 1024, 2048], depths=[3, 8, 36, 3])
_TIMM = "timm"  # in an architecture: the name that timm knows it by
_INSTALL = 'Install it: pip install "itr[wsl]" (timm needs the torchvision that was built for the installed torch).'


class Backbone(nn.Module):
    """A ResNet without its head. Its batch normalisation keeps the statistics that it came with, in training too.

    channels: of each cell
    All of it is frozen until `open_for` is called.
    """

    def __init__(self, stem: nn.Module, stages: Sequence[nn.Module], channels: int, settings: GridSettings) -> None:
        super().__init__()
        self.stem, self.stages, self.channels = stem, nn.ModuleList(stages), channels
        self.warmup_epochs, self.stage_epochs = settings.warmup_epochs, settings.stage_epochs
        self.requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) → (n, cells, channels), row by row of the picture; 256 × 256 pixels make 8 × 8 cells."""
        x = self.stem(pixels)
        for stage in self.stages:
            x = stage(x)
        cells: Tensor = x.flatten(2).transpose(1, 2)
        return cells

    def open_for(self, epoch: int) -> None:
        """Let the last stages train: none in the warm-up, then one, and after every `stage_epochs` epochs one more.

        The stem, which is three layers, opens with the first stage. Source: VSE∞'s train.py (`fixed_blocks`).
        """
        since, n_stages = epoch - self.warmup_epochs, len(self.stages)
        n_open = 1 + since // self.stage_epochs if self.stage_epochs else n_stages
        if since < 0:
            n_open = 0
        for n_behind, stage in enumerate(reversed(self.stages)):
            stage.requires_grad_(n_behind < n_open)
        self.stem.requires_grad_(n_open >= n_stages)

    def train(self, mode: bool = True) -> Backbone:
        """As for any module, but batch normalisation stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def pixel_input(settings: GridSettings) -> PixelInput:
    """The pictures that a backbone reads, prepared as they were when it was trained."""
    caffe = settings.backbone == "detector"
    return PixelInput(
        picture=settings.picture,
        framing="stretch",
        mean=(102.9801, 115.9465, 122.7717) if caffe else (0.485, 0.456, 0.406),
        std=(1.0, 1.0, 1.0) if caffe else (0.229, 0.224, 0.225),
        scale=1.0 if caffe else 255.0,
        bgr=caffe,
        random_crop=settings.random_crop,
        flip=settings.flip,
    )


def build(settings: GridSettings, architecture: dict[str, Any]) -> Backbone:
    """A backbone with weights drawn at random. architecture: as `random` and `pretrained` return it"""
    if _TIMM in architecture:
        return _of_timm(_timm().create_model(architecture[_TIMM]), settings)
    from transformers import ResNetConfig, ResNetModel

    model = ResNetModel(ResNetConfig.from_dict(architecture))
    if settings.backbone == "detector":
        # As in Caffe: pixels that do not fill the last window make one of their own; others pad the first window.
        model.embedder.pooler = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    return _of_transformers(model, settings)


def random(settings: GridSettings, shape: ResNetShape) -> dict[str, Any]:
    """The architecture of a backbone that starts at random, as JSON values."""
    from transformers import ResNetConfig

    return weights.described(
        ResNetConfig(
            embedding_size=shape.embedding,
            hidden_sizes=list(shape.widths),
            depths=list(shape.depths),
            downsample_in_bottleneck=settings.backbone == "detector",  # the stride in the first of its three layers
        )
    )


def untrained(settings: GridSettings) -> dict[str, Any]:
    """The architecture of a backbone as its settings name it, whatever is on this disk. `DataError` where it needs timm."""
    if settings.backbone == "wsl":
        _timm()
        return {_TIMM: "resnext101_32x8d"}
    return random(settings, settings.shape or (_RESNET_101 if settings.backbone == "detector" else _RESNET_152))


def pretrained(settings: GridSettings) -> tuple[Backbone, dict[str, Any]]:
    """A published backbone, in float32, and its architecture.

    `DataError` where it cannot be had, is something else, or lacks weights.
    """
    name = settings.weights
    if settings.backbone == "detector":
        architecture = random(settings, _RESNET_101)
        backbone = build(settings, architecture)
        detector.load(backbone, Path(name))
        return backbone, architecture
    hub.check_folder(name, "a ResNet's", "model.grid.weights")
    if settings.backbone == "wsl":
        return _pretrained_timm(settings)
    from transformers import ResNetModel

    model = weights.pretrained("ResNet", ResNetModel, name, None, _is_resnet)
    return _of_transformers(model, settings), weights.described(model.config)


def _of_transformers(model: ResNetModel, settings: GridSettings) -> Backbone:
    return Backbone(
        model.embedder, list(model.encoder.stages), weights.described(model.config)["hidden_sizes"][-1], settings
    )


def _is_resnet(config: dict[str, Any]) -> None:
    if (kind := config.get("model_type")) != "resnet" or "hidden_sizes" not in config:
        raise ValueError(f"its config.json says {kind}" if kind else "no config.json that says it is one")


def _pretrained_timm(settings: GridSettings) -> tuple[Backbone, dict[str, Any]]:
    name = settings.weights
    source = "local-dir" if Path(name).is_dir() else "hf-hub"
    timm = _timm()
    try:
        torch_file.check_folder(name)
        model = timm.create_model(f"{source}:{name}", pretrained=True)
        return _of_timm(model, settings), {_TIMM: model.pretrained_cfg["architecture"]}
    except Exception as error:  # timm, the hub's client and readers of weights have errors of their own
        raise hub.refused("ResNet of timm", name, None, error, "folder with its config.json and weights") from error


def _of_timm(model: Any, settings: GridSettings) -> Backbone:
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
    return Backbone(stem, stages, model.num_features, settings)


def _timm() -> Any:
    try:
        return import_module("timm")
    except Exception as error:  # a torchvision that was built for another torch raises errors of any kind
        raise DataError(
            f"grid.backbone wsl needs timm, which cannot be imported ({first_line(error)}). {_INSTALL}"
        ) from error
