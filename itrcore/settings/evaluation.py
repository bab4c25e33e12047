"""What `evaluation:` and `report:` in params.yaml may say."""

from __future__ import annotations

from typing import Literal, get_args

from itrcore.settings.strict import Count, Settings

Gallery = Literal[1_000, 5_000, 100_000]  # images that a search is measured among
GALLERIES: tuple[int, ...] = get_args(Gallery)


class EvaluationSettings(Settings):
    """Sizes that bound memory, and what the report shows; the metrics do not depend on them."""

    batch_size: Count
    tile: Count  # images and captions per similarity tile
    retrieved: Count  # rows shown for each query of the report
    queries: Count  # queries shown per direction, half of them good and half bad


class ReportSettings(Settings):
    """The report's own choices."""

    title: str
    gallery: Gallery = 100_000  # of the plot of accuracy and the time of a search
