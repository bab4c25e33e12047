"""What `evaluation:` and `report:` in params.yaml may say."""

from __future__ import annotations

from typing import Literal

from itrcore.settings.strict import Count, Settings


class EvaluationSettings(Settings):
    """Sizes that bound memory, what is stored, and what the report shows.

    vectors: how those of methods of one vector per item are stored; float16 takes half the room and rounds similarities
    """

    batch_size: Count
    tile: Count  # images and captions per similarity tile
    vectors: Literal["float16", "float32"]
    retrieved: Count  # rows shown for each query of the report
    queries: Count  # queries shown per direction, half of them good and half bad


class ReportSettings(Settings):
    """The report's own choices."""

    title: str
