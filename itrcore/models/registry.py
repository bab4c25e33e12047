"""Building the method that settings name, for a data set."""

from __future__ import annotations

import torch

from itrcore.models import parts
from itrcore.models.base import Method
from itrcore.models.image import ImageInputs
from itrcore.models.settings import MethodSettings
from itrcore.models.text import TextInputs


def build(settings: MethodSettings, image: ImageInputs, text: TextInputs, seed: int) -> Method:
    """A method with freshly drawn weights, but for those that `image` and `text` bring.

    seed: decides the weights, whatever was drawn before
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = parts.load(parts.METHODS[settings.model.kind])(settings.model, settings.loss, image, text)
    return method
