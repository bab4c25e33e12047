"""ESA."""

from __future__ import annotations

from typing import Any

from itrcore.methods.vse.settings import ESASettings
from itrcore.released import images, vse_encoders
from itrcore.released.contract import Layout, Sizes, TextForm
from itrcore.released.options import NORMALISED, common
from itrcore.released.text import bert, bigru


def _esa(folder: str, text: TextForm, data_parallel: bool) -> Layout:
    return Layout(
        source=f"KevinLight831/ESA, folder {folder}",
        parts=vse_encoders.pooled(text, "linear1.", "pooling.linear."),
        text=text,
        image=images.regions,
        options=_options,
        sizes=vse_encoders.SIZES,
        needs=NORMALISED,
        vocabulary=vse_encoders.vocabulary,
        data_parallel=data_parallel,
    )


def _options(model: ESASettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    return {**common(model, sizes, data), "hardnum": model.views}


_BIGRU = _esa("ESA_BIGRU", bigru, data_parallel=False)
_BERT = _esa("ESA_BERT", bert, data_parallel=True)

LAYOUTS: dict[str, Layout] = {
    "esa_bigru": _BIGRU,
    "esa_bert": _BERT,
    "esa_bigru_grid": vse_encoders.on_grid(_BIGRU, data_parallel=False),
    "esa_bert_grid": vse_encoders.on_grid(_BERT, data_parallel=True),
}
