"""Models of transformers as extractors: patches of CLIP, SigLIP and DINOv2, cells of a ResNet, object queries of a DETR.

Pictures are prepared by the model's own processor, in its form for Pillow also where torchvision is installed: the same bytes
on every machine. Features are the model's last hidden state, of patches alone: a token for the class is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor

from itrcore.errors import DataError
from itrcore.extraction.extractor import Extracted, Extractor, Frame, on_grid
from itrcore.fetch import hub
from itrcore.pretrained import weights
from itrcore.settings.features import DetrSettings, PatchSettings

_KEY = "features.extractor.weights"
_CROPPED_BELOW = 384  # of ConvNeXt's processor, which ResNets have: from this side on it takes the whole picture
# Kind → the model's class, and what its config.json may say: CLIP and SigLIP are published with their text sides.
_MODELS = {
    "clip": ("CLIPVisionModel", ("clip", "clip_vision_model")),
    "siglip": ("SiglipVisionModel", ("siglip", "siglip_vision_model")),
    "dinov2": ("Dinov2Model", ("dinov2",)),
    "resnet": ("ResNetModel", ("resnet",)),
    "detr": ("DetrForObjectDetection", ("detr",)),
}
_CLASS_TOKENS = {"clip": 1, "dinov2": 1}


class _Published(Extractor):
    """A model and its processor."""

    def __init__(self, settings: PatchSettings | DetrSettings, device: torch.device) -> None:
        """`DataError` where the model cannot be had, is of another kind or lacks weights, or its processor is not there."""
        import transformers

        name, types = _MODELS[settings.kind]

        def check(config: dict[str, Any]) -> None:
            if (found := config.get("model_type")) not in types:
                raise ValueError(f"its config.json says {found}, not {settings.kind}")

        hub.check_folder(settings.weights, f"a {settings.kind}'s", _KEY)
        model = weights.pretrained(
            settings.kind, getattr(transformers, name), settings.weights, settings.revision, check
        )
        self._processor = _processor(settings)
        self._model = model.eval().to(device)
        description = {
            **settings.model_dump(mode="json"),
            "sha256": weights.weights_digest(model),
            "preprocessing": json.loads(self._processor.to_json_string()),  # lists in place of tuples
        }
        super().__init__(description, device)


class Grid(_Published):
    """Patches or cells, row by row of the part of the picture that the model is shown."""

    def __init__(self, settings: PatchSettings, device: torch.device) -> None:
        """As of `_Published`; `DataError` also where the processor does not make pictures of one size."""
        super().__init__(settings, device)
        self._kind, self._whole = settings.kind, settings.framing == "whole"
        self._framing = _Framing(self._processor, settings.weights)

    def _extract(self, pictures: Sequence[Image]) -> Extracted:
        if self._whole:
            height, width = self._framing.side
            resample = Resampling(int(self._processor.resample))
            shown = [picture.resize((width, height), resample) for picture in pictures]
            prepared = self._processor(shown, do_resize=False, do_center_crop=False, return_tensors="pt")
        else:
            prepared = self._processor(list(pictures), return_tensors="pt")
        pixels = prepared["pixel_values"].to(self.device)
        hidden = self._model(pixels).last_hidden_state
        frames: list[Frame] = [
            (0, 0, *picture.size) if self._whole else self._framing.of(*picture.size) for picture in pictures
        ]
        return on_grid(self._as_map(hidden, pixels), frames, [picture.size for picture in pictures])

    def _as_map(self, hidden: Tensor, pixels: Tensor) -> Tensor:
        """(n, width, rows, columns)"""
        if hidden.ndim == 4:
            return hidden
        rows, columns = (side // self._model.config.patch_size for side in pixels.shape[-2:])
        patches = hidden[:, _CLASS_TOKENS.get(self._kind, 0) :]
        return patches.transpose(1, 2).reshape(len(pixels), -1, rows, columns)


class Detr(_Published):
    """The queries that are surest of an object, the surest first, each with its box."""

    def __init__(self, settings: DetrSettings, device: torch.device) -> None:
        """As of `_Published`; `DataError` also where the model has fewer queries than are asked for."""
        super().__init__(settings, device)
        self._kept, queries = settings.regions, self._model.config.num_queries
        if self._kept > queries:
            raise DataError.at(
                settings.weights, f"{queries} object queries", f"at least features.extractor.regions, {self._kept}"
            )

    def _extract(self, pictures: Sequence[Image]) -> Extracted:
        # One by one: pictures of different sizes would be padded, and so change each other's features.
        features, boxes = zip(*map(self._of, pictures), strict=True)
        return Extracted(np.stack(features), np.stack(boxes))

    def _of(self, picture: Image) -> tuple[np.ndarray, np.ndarray]:
        prepared = self._processor([picture], return_tensors="pt").to(self.device)
        output = self._model(**prepared)
        sure = output.logits[0].softmax(-1)[:, :-1].amax(-1)  # the last class is "no object"
        kept = sure.argsort(descending=True, stable=True)[: self._kept]
        x, y, w, h = output.pred_boxes[0, kept].float().cpu().unbind(1)  # the centre, as shares of the picture
        shares = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1).clamp(0, 1)
        boxes = shares * torch.tensor([*picture.size, *picture.size])
        return output.last_hidden_state[0, kept].float().cpu().numpy(), boxes.float().numpy()


class _Framing:
    """What a processor shows of a picture.

    side: height and width of what the model is given
    """

    def __init__(self, processor: Any, name: str) -> None:
        size, crop = processor.size, processor.crop_size if processor.do_center_crop else None
        self._short: int | None = size.shortest_edge
        if self._short and (share := getattr(processor, "crop_pct", None)):
            self.side = (self._short, self._short)
            self._short = int(self._short / share) if self._short < _CROPPED_BELOW else None
        elif crop:
            self.side = (crop.height, crop.width)
        else:
            self.side = (size.height, size.width)
        self._stretched = None if self._short else self.side if not crop else (size.height, size.width)
        if not processor.do_resize or None in self.side or self._stretched == (None, None):
            raise DataError.at(
                name,
                "its preprocessor_config.json does not bring pictures to one size",
                "a size of height and width, or of shortest_edge with a crop of the centre",
            )

    def of(self, width: int, height: int) -> Frame:
        """The part of a picture that is left when it was resized and its centre cut out; beyond it where that adds a border."""
        if self._short:
            scale = self._short / min(width, height)
            resized_w, resized_h = width * scale, height * scale
        else:
            assert self._stretched is not None
            resized_h, resized_w = self._stretched
        shown_h, shown_w = self.side
        w, h = shown_w * width / resized_w, shown_h * height / resized_h
        return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2


def _processor(settings: PatchSettings | DetrSettings) -> Any:
    from transformers import AutoImageProcessor

    name, revision = settings.weights, settings.revision
    read: Any = AutoImageProcessor.from_pretrained  # without types
    try:
        return read(name, revision=revision or "main", backend="pil", trust_remote_code=False)
    except Exception as error:  # transformers and the hub's client have errors of their own
        what = f"processor of a {settings.kind}"
        raise hub.refused(what, name, revision, error, "folder with preprocessor_config.json") from error
