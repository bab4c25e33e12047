"""The strict base of every configuration model: unknown keys are errors that name the nearest valid one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from itrcore.errors import nearest


class Settings(BaseModel):
    """Frozen, strictly typed, no unknown key, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = list(cls.model_fields)
            for key in data:
                if key not in known:
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key {key}{nearest} (valid here: {known})",
                        {"key": repr(key), "nearest": nearest(key, known), "known": ", ".join(known)},
                    )
        return data
