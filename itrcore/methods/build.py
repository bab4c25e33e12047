"""Building the method that its settings name."""

from __future__ import annotations

from typing import Any

import torch

from itrcore import registry
from itrcore.assets.image import ImageSide
from itrcore.data.concepts.concepts import Concepts
from itrcore.methods.contract import Method
from itrcore.settings.methods import MethodSettings


def build(
    settings: MethodSettings, image: ImageSide, source: Any, seed: int, concepts: Concepts | None = None
) -> Method[Any, Any]:
    """A method whose weights are drawn at random, except the pretrained ones that `image` and `source` bring.

    source: of the text side (`TextSide.source`); seed: the weights follow from it alone
    concepts: of the data set, for a method that reads them
    `DataError` where the pretrained weights have other sizes than the settings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make = registry.load(registry.METHODS[settings.model.kind][1])
        read = {} if concepts is None else {"concepts": concepts}
        method: Method[Any, Any] = make(settings=settings.model, image=image, text=source, **read)
    return method
