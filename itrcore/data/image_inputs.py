"""What a method reads of an image: features of its regions, or its pixels, and how training changes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class RegionInput:
    """Region features.

    drop: the probability that training takes a region out of its image before encoding
    regions: how many every image must have, where the method has weights for that number alone; None: any number
    """

    kind: ClassVar[str] = "regions"  # in `registry.READERS`

    drop: float = 0.0
    regions: int | None = None


@dataclass(frozen=True)
class PixelInput:
    """Pixels of a square picture, normalised.

    picture: side in pixels
    framing: `crop`: the short side resized to `picture`, bicubic with antialiasing, then the centre, as CLIP has it;
        `stretch`: the whole picture resized to the square, bilinear without antialiasing, as OpenCV's INTER_LINEAR;
        `short`, `square`: as transformers' processors have it with Pillow: the short side, or both, resized to `resized`, then the
        centre
    mean, std, scale: (value / scale − mean) / std per channel, of values from 0 to 255
    bgr: channels in the order blue, green, red, in which `mean` and `std` are too
    random_crop: training cuts out the same share of both sides, at least this one; None: the whole picture
    flip: training mirrors every other picture
    resized: what sides are resized to, in pixels; None: `picture`
    resample: how, by Pillow's name; not of `stretch`
    """

    kind: ClassVar[str] = "pixels"  # in `registry.READERS`

    picture: int
    framing: Literal["crop", "stretch", "short", "square"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float
    bgr: bool
    random_crop: float | None
    flip: bool
    resized: int | None = None
    resample: str = "bicubic"
