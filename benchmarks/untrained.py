"""Methods of recipes/ with weights drawn at random, for simulated features and captions; for benchmarks only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.simulated_arrays import WIDTH
from itrcore.assets.concepts import untrained
from itrcore.assets.regions import Regions
from itrcore.assets.text import WordSource
from itrcore.assets.words import BiGRUSource
from itrcore.data.feeding.random_captions import F30K_IDS
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.load import load
from itrcore.settings.methods import MethodSettings

ROOT = Path(__file__).parents[1]


def settings_of(recipe: str, dim: int | None = None) -> MethodSettings:
    """The published settings; dim: another size of the embedding space."""
    settings = load(ROOT / "params.yaml").recipes[recipe].settings
    if dim is None:
        return settings
    return settings.model_copy(update={"model": settings.model.model_copy(update={"dim": dim})})


def method_of(
    settings: MethodSettings, text: WordSource | None = None, width: int = WIDTH, seed: int = 0
) -> Method[Any, Any]:
    """The method for regions of a width. text: what its text encoder is built from; None: BiGRU on words of `F30K_IDS`"""
    if text is None:
        assert isinstance(settings.model.text, BiGRUSettings)
        text = BiGRUSource(settings.model.text, F30K_IDS.size)
    return build(settings, Regions(width), text, seed, untrained() if settings.model.concepts else None)
