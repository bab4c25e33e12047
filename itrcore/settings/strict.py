"""The strict base of every configuration model: unknown keys are errors that name the nearest one. Types of numbers and names."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from itrcore.errors import nearest

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]  # never the whole
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"  # what names are made of


def _name(text: str) -> str:
    if text in ("size", "nfiles"):
        raise ValueError(
            f"{text!r} cannot be a name: DVC leaves keys of this name out when it looks for cached results"
        )
    if not re.fullmatch(NAME, text):
        raise ValueError(
            f"{text!r} cannot be a name; use letters, digits, - and _, a letter or digit first, at most 100 in all"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]  # safe as a folder, a DVC stage and an MLflow run


class Settings(BaseModel):
    """Frozen and strictly typed; unknown keys, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _name_unknown_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        """Each unknown key with the nearest valid one, beside whatever else is wrong with the known keys."""
        known = list(cls.model_fields)
        unknown = [key for key in data if key not in known] if isinstance(data, dict) else []
        if not unknown:
            return handler(data)
        problems = [_unknown(key, known) for key in unknown]
        try:
            handler({key: value for key, value in data.items() if key in known})
        except ValidationError as error:
            # A missing key most often is one of the unknown ones, misspelt: naming it twice would confuse.
            problems += [_again(item) for item in error.errors() if item["type"] != "missing" or len(item["loc"]) > 1]
        raise ValidationError.from_exception_data(cls.__name__, problems)


def _unknown(key: Any, known: list[str]) -> InitErrorDetails:
    context = {"key": repr(key), "nearest": nearest(str(key), known), "known": ", ".join(known)}
    template = "unknown key {key}{nearest} (valid here: {known})"
    return InitErrorDetails(type=PydanticCustomError("unknown_key", template, context), input=key)


def _again(item: Any) -> InitErrorDetails:
    """An error's details in the form that a new `ValidationError` takes."""
    message = PydanticCustomError(item["type"], "{message}", {**item.get("ctx", {}), "message": item["msg"]})
    return InitErrorDetails(type=message, loc=item["loc"], input=item["input"])
