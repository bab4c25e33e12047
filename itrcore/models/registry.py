"""Which class a method's settings name, and building it for a data set."""

from __future__ import annotations

from typing import Any

import torch

from itrcore.models.base import Method
from itrcore.models.esa import ESA
from itrcore.models.settings import MethodSettings
from itrcore.models.text import TextInputs
from itrcore.models.vse import VSE

METHODS: dict[str, Any] = {
    "esa": ESA,
    "vse": VSE,
}


def build(settings: MethodSettings, width: int, text: TextInputs, seed: int) -> Method:
    """A method with freshly drawn weights, but for those that `text` brings.

    width: of the region features; seed: decides the weights, whatever was drawn before
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = METHODS[settings.model.kind](settings.model, settings.loss, width, text)
    return method
