"""Building the method that settings name."""

from __future__ import annotations

from typing import Any

import torch

from itrcore import registry
from itrcore.assets.image import ImageSide
from itrcore.methods.contract import Method
from itrcore.settings.methods import MethodSettings


def build(settings: MethodSettings, image: ImageSide, source: Any, seed: int) -> Method[Any, Any]:
    """A method with freshly drawn weights, but for those that `image` and `source` bring.

    source: of the text side (`TextSide.source`); seed: decides the weights, whatever was drawn before
    `DataError` where pretrained weights are of other sizes than the settings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = registry.load(registry.METHODS[settings.model.kind][1])
        method: Method[Any, Any] = made(settings=settings.model, image=image, text=source)
    return method
