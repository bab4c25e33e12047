"""SCAN: what its attention attends to, and how it is pooled, is in its options alone."""

from __future__ import annotations

from typing import Any

from itrcore.methods.scan.settings import SCANSettings
from itrcore.released import images, scan_encoders
from itrcore.released.contract import Layout, Needed, Number, Sizes
from itrcore.released.text import bigru
from itrcore.settings.pooling import LSESettings

_POOLING = {"lse": "LogSumExp", "avg": "Mean"}


def _scan(direction: str, pooling: str) -> Layout:
    numbers = {"softmax_scale": Number("lambda_softmax", 9.0)}
    if pooling == "lse":
        numbers["pooling.scale"] = Number("lambda_lse", 6.0)
    return Layout(
        source="kuanghuei/SCAN",
        parts=(scan_encoders.images(), scan_encoders.texts("rnn")),
        text=bigru,
        image=images.regions,
        options=_options,
        sizes=scan_encoders.SIZES,
        numbers=numbers,
        needs={
            **scan_encoders.NEEDS,
            # With what the released code takes where its options do not say.
            "raw_feature_norm": Needed("clipped_l2norm", "clipped_l2norm"),
            "precomp_enc_type": Needed("basic", "basic"),
            "cross_attn": Needed(direction, "t2i"),
            "agg_func": Needed(_POOLING[pooling], "LogSumExp"),
        },
    )


def _options(model: SCANSettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    pooling = {"lambda_lse": model.pooling.scale} if isinstance(model.pooling, LSESettings) else {}
    return {**scan_encoders.options(model, sizes, data), "lambda_softmax": model.softmax_scale, **pooling}


LAYOUTS: dict[str, Layout] = {
    f"scan_{direction}_{pooling}_bigru": _scan(direction, pooling)
    for direction in ("t2i", "i2t")
    for pooling in _POOLING
}
