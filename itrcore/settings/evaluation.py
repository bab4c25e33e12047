"""What `evaluation:` and `report:` in params.yaml may say."""

from __future__ import annotations

from typing import Literal, get_args

from itrcore.settings.strict import Count, Settings

Gallery = Literal[1_000, 5_000, 100_000]  # images that a search is measured among
GALLERIES: tuple[int, ...] = get_args(Gallery)


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
    gallery: Gallery = 100_000  # of the plot of accuracy and the time of a search
