"""How a published model reads pictures: its image processor's steps as a `PixelInput`, and a file for it.

Our own decoding is faster and lets a GPU keep bytes; tests compare its pixels with the processors' own.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import TypeAdapter

from itrcore.data.image_inputs import PixelInput
from itrcore.errors import DataError, first_line
from itrcore.fetch import hub
from itrcore.files import read_json, write_json


def pixel_input(name: str, revision: str | None = None) -> PixelInput:
    """Of a published model: a name on the Hugging Face hub, with a `revision` of it, or a folder; training changes nothing.

    `DataError` where its preprocessor_config.json cannot be had, or asks for steps that are not known here.
    """
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(name, revision=revision or "main", backend="pil")  # type: ignore[no-untyped-call]
    except Exception as error:  # transformers and the hub's client have errors of their own
        raise hub.refused("image processor", name, revision, error, "folder with preprocessor_config.json") from error
    try:
        return _of(processor)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError.at(
            name,
            f"its preprocessor_config.json asks for what is not done here ({first_line(error)})",
            "pictures resized with Pillow, cropped to the centre and normalised",
        ) from error


def _of(processor: Any) -> PixelInput:
    if not (processor.do_resize and processor.do_rescale and processor.do_normalize):
        raise ValueError("do_resize, do_rescale and do_normalize must be true")
    size = {key: value for key, value in dict(processor.size).items() if value is not None}
    short = list(size) == ["shortest_edge"]
    resized = size["shortest_edge"] if short else size["height"]
    if not short and size != {"height": resized, "width": resized}:
        raise ValueError(f"size {size}")
    picture = resized
    if processor.do_center_crop:
        crop = dict(processor.crop_size)
        picture = crop["height"]
        if crop["width"] != picture or picture > resized:
            raise ValueError(f"crop_size {crop} of size {size}")
    elif short:
        raise ValueError(f"size {size} without do_center_crop: pictures would not be square")
    mean, std = list(processor.image_mean), list(processor.image_std)
    if getattr(processor, "rescale_offset", False):  # EfficientNet's, which ALIGN has: 1 is taken off before
        mean = [value + 1 for value in mean]
    if getattr(processor, "include_top", False):  # the same: divided twice
        std = [value**2 for value in std]
    return PixelInput(
        picture=picture,
        framing="short" if short else "square",
        mean=_three(mean),
        std=_three(std),
        scale=1 / processor.rescale_factor,
        bgr=False,
        random_crop=None,
        flip=False,
        resized=resized,
        resample=Image.Resampling(int(processor.resample)).name.lower(),
    )


def _three(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def save(given: PixelInput, path: Path) -> None:
    """Write it as JSON."""
    write_json(path, asdict(given))


def read(path: Path) -> PixelInput:
    """Read what `save` wrote; `DataError` where it is missing or damaged."""
    try:
        return TypeAdapter(PixelInput).validate_json(json.dumps(read_json(path)), strict=True)
    except (OSError, ValueError, TypeError) as error:
        raise DataError.at(
            path, f"cannot be read ({first_line(error)})", "how pictures are read", do="Run: dvc repro"
        ) from error
