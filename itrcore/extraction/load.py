"""An extractor from its settings, or from the description that stands with its features and in the records of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from itrcore import registry
from itrcore.errors import DataError, first_line
from itrcore.extraction.extractor import Extractor
from itrcore.settings.features import DetrSettings, ExtractorSettings, Lite0Settings, PatchSettings

_MADE = ("sha256", "preprocessing")  # of a description, beside the settings
_SETTINGS: TypeAdapter[Lite0Settings | PatchSettings | DetrSettings] = TypeAdapter(ExtractorSettings)
_CPU = torch.device("cpu")


def load(settings: ExtractorSettings, device: torch.device = _CPU) -> Extractor:
    """The extractor of these settings, tried on an empty picture.

    `DataError` where packages or weights are missing, other than the published ones, or do not fit their preprocessing.
    """
    name = settings.kind if isinstance(settings, Lite0Settings) else settings.weights
    try:
        extractor: Extractor = registry.load(registry.EXTRACTORS[settings.kind])(settings, device)
        extractor.width = extractor([Image.new("RGB", (64, 48))]).features.shape[2]
    except DataError:
        raise
    except (
        Exception
    ) as error:  # a processor may say anything of sizes: it, torch and transformers have errors of many kinds
        raise DataError.at(
            name,
            f"its preprocessor_config.json makes no pictures that it can read ({first_line(error)})",
            "a model and its own processor",
        ) from error
    return extractor


def load_described(description: Mapping[str, Any], device: torch.device = _CPU) -> Extractor:
    """The extractor that made features whose record has this description, for new pictures.

    `DataError` as of `load`, where the description is damaged, and where weights or preprocessing are not the same any more.
    """
    try:
        settings = _SETTINGS.validate_python({key: value for key, value in description.items() if key not in _MADE})
        known = {"sha256": description["sha256"], **description["preprocessing"]}
    except (ValidationError, KeyError, TypeError) as error:
        raise DataError(
            f"The description of an extractor cannot be read ({first_line(error)}). Run: dvc repro"
        ) from error
    extractor = load(settings, device)
    now = {"sha256": extractor.description["sha256"], **extractor.description["preprocessing"]}
    # A later transformers may know more of a processor: what was recorded has to be the same.
    for key in (key for key, value in known.items() if now.get(key) != value):
        raise DataError.at(
            str(description.get("weights", settings.kind)),
            f"{key} is {now.get(key)}",
            f"{known[key]}, as of the model that the features were computed with",
            do="Get the same model, or compute the features again.",
        )
    return extractor
