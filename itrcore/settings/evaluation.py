"""What `evaluation:` and `report:` in params.yaml may say."""

from __future__ import annotations

from itrcore.settings.strict import Count, Settings


class EvaluationSettings(Settings):
    """Sizes that bound memory, and what the report shows; the metrics do not depend on them."""

    batch_size: Count
    tile: Count  # images and captions per similarity tile
    retrieved: Count  # rows shown for each query of the report
    queries: Count  # queries shown per direction, half of them good and half bad


class ReportSettings(Settings):
    """The report's own choices."""

    title: str
