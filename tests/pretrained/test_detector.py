"""The detector's file of bottom-up attention: loaded through names, refused where it is not whole; its ResNet is Caffe's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from itrcore.errors import DataError
from itrcore.pretrained import backbone, detector
from tests.support.backbones import grid, random_backbone


class Bottleneck(nn.Module):
    """Caffe's: the stride is in the first convolution."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module | None = None
        if stride != 1 or inside != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))


def caffe_resnet(stem: int, widths: list[int], depths: list[int]) -> tuple[nn.Sequential, nn.Sequential]:
    """The two parts of a ResNet as `original_updown_backbone.pth` has them."""

    def stage(inside: int, width: int, depth: int, stride: int) -> nn.Sequential:
        later = [Bottleneck(4 * width, width, 1) for _ in range(depth - 1)]
        return nn.Sequential(Bottleneck(inside, width, stride), *later)

    insides = [stem, *(4 * width for width in widths)]
    stages = [stage(insides[i], widths[i], depths[i], 2 if i else 1) for i in range(4)]
    first = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
    pool = nn.MaxPool2d(3, stride=2, padding=0, ceil_mode=True)
    return nn.Sequential(first, nn.BatchNorm2d(stem), nn.ReLU(), pool, *stages[:3]), nn.Sequential(stages[3])


def write_detector(path: Path, stem: int, widths: list[int], depths: list[int]) -> nn.Sequential:
    """The file of a ResNet with weights and statistics drawn at random; returns the whole of it, ready for evaluation."""
    torch.manual_seed(3)
    base, top = caffe_resnet(stem, widths, depths)
    for module in nn.Sequential(base, top).modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, least, most in (
                (module.weight, 0.2, 0.6),
                (module.bias, -0.3, 0.3),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
            ):
                nn.init.uniform_(tensor, least, most)
    torch.save({"base": base.state_dict(), "top": top.state_dict()}, path)
    return nn.Sequential(base, top).eval()


def write_small(path: Path) -> nn.Sequential:
    """The file of a ResNet as small as SHAPE's."""
    return write_detector(path, 8, [4, 6, 8, 10], [1, 2, 1, 2])


def test_the_detectors_resnet_101_is_loaded_from_its_published_layout(tmp_path: Path) -> None:
    path = tmp_path / "original_updown_backbone.pth"
    released = write_detector(path, 64, [64, 128, 256, 512], [3, 4, 23, 3])
    model, _ = backbone.pretrained(grid("detector", str(path)))
    pixels = 50 * torch.randn(2, 3, 70, 96)
    with torch.no_grad():
        theirs, ours = released(pixels), model.eval()(pixels)
    assert theirs.std() > 0.01
    assert ours.shape == (2, 3 * 3, 2048) and model.channels == 2048
    torch.testing.assert_close(ours, theirs.flatten(2).transpose(1, 2))


def test_a_small_one_gives_what_its_released_form_gives(tmp_path: Path) -> None:
    released = write_small(tmp_path / "x.pth")
    model = random_backbone(grid("detector"))
    detector.load(model, tmp_path / "x.pth")
    for size in ((64, 64), (70, 97)):
        pixels = torch.randn(2, 3, *size)
        cells = released(pixels).flatten(2).transpose(1, 2)
        torch.testing.assert_close(model.eval()(pixels), cells)


def test_names_are_the_releaseds_and_each_one_another(tmp_path: Path) -> None:
    released = write_small(tmp_path / "x.pth")
    names = [detector.released_name(name) for name in random_backbone(grid("detector")).state_dict()]
    parts = zip(("base", "top"), released, strict=True)
    assert sorted(names) == sorted(f"{part}.{name}" for part, module in parts for name in module.state_dict())
    with pytest.raises(ValueError, match=r"fc\.weight"):
        detector.released_name("fc.weight")


def test_counters_that_old_torch_did_not_write_are_not_missed(tmp_path: Path) -> None:
    write_small(tmp_path / "x.pth")
    content = torch.load(tmp_path / "x.pth")
    old = {part: {k: v for k, v in entries.items() if "num_batches" not in k} for part, entries in content.items()}
    torch.save(old, tmp_path / "x.pth")
    model = random_backbone(grid("detector"))
    detector.load(model, tmp_path / "x.pth")
    assert model.state_dict()["stem.embedder.convolution.weight"].equal(old["base"]["0.weight"])


def _without(content: Any) -> Any:
    del content["base"]["5.1.bn2.running_var"]
    return content


def _besides(content: Any) -> Any:
    content["top"]["1.weight"] = torch.zeros(2)
    return content


def _reshaped(content: Any) -> Any:
    content["base"]["0.weight"] = content["base"]["0.weight"][:, :1]
    return content


def _infinite(content: Any) -> Any:
    content["top"]["0.1.bn3.bias"][2] = torch.inf
    return content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without, r"it lacks base\.5\.1\.bn2\.running_var"),
        (_besides, r"it has besides top\.1\.weight"),
        (_reshaped, r"entry base\.0\.weight has shape \(8, 1, 7, 7\); expected shape \(8, 3, 7, 7\)"),
        (_infinite, r"entry top\.0\.1\.bn3\.bias holds NaN or infinity"),
        (lambda content: content["base"], r"it holds 0\.weight, 1\.weight"),
        (lambda content: {"base": content["base"], "top": None}, "not both state dicts"),
        (lambda content: [content], "it holds list"),
        (lambda content: {**content, "top": Path("x")}, "which could run code"),
    ],
)
def test_another_file_is_refused_and_nothing_of_it_loaded(change: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    write_small(path)
    torch.save(change(torch.load(path)), path)
    model = random_backbone(grid("detector"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DataError, match=said) as raised:
        detector.load(model, path)
    assert str(raised.value).startswith(f"{path}: ")
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("content", "said"), [(None, r"cannot be read .No such file"), (b"<html>Sign in", "a web page"), (b"", "damaged")]
)
def test_no_file_or_a_web_page_is_one_clear_error(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.pth: .*{said}.*expected original_updown_backbone\.pth"):
        detector.load(random_backbone(grid("detector")), tmp_path / "x.pth")
