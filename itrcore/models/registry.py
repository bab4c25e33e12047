"""Which class a method's settings name, and building it for a data set."""

from __future__ import annotations

from typing import Any

import torch

from itrcore.models.base import Method
from itrcore.models.esa import ESA
from itrcore.models.esl import ESL
from itrcore.models.esl_clip import ESLCLIP
from itrcore.models.image import ImageInputs
from itrcore.models.lhsc import LHSC
from itrcore.models.scan import scan
from itrcore.models.settings import MethodSettings
from itrcore.models.sgraf import SGRAF
from itrcore.models.text import TextInputs
from itrcore.models.vse import VSE

METHODS: dict[str, Any] = {
    "esa": ESA,
    "esl": ESL,
    "esl_clip": ESLCLIP,
    "lhsc": LHSC,
    "scan": scan,
    "sgraf": SGRAF,
    "vse": VSE,
}


def build(settings: MethodSettings, image: ImageInputs, text: TextInputs, seed: int) -> Method:
    """A method with freshly drawn weights, but for those that `image` and `text` bring.

    seed: decides the weights, whatever was drawn before
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = METHODS[settings.model.kind](settings.model, settings.loss, image, text)
    return method
