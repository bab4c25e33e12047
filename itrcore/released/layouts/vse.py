"""VSE∞. VSE++ has no released checkpoints on regions."""

from __future__ import annotations

from collections.abc import Iterator

from itrcore.methods.vse.settings import VSESettings
from itrcore.released import images, vse_encoders
from itrcore.released.contract import Layout, TextForm, axis
from itrcore.released.options import NORMALISED, common
from itrcore.released.text import bert, bigru
from itrcore.settings.pooling import GPOSettings

_TEMPERATURE = 0.1  # of the released GPO's softmax


def _vse_infty(branch: str, text: TextForm, data_parallel: bool) -> Layout:
    return Layout(
        source=f"woodfrog/vse_infty, branch {branch}",
        parts=vse_encoders.pooled(text, "gpool.", "pooling."),
        text=text,
        image=images.regions,
        options=common,
        sizes={
            **vse_encoders.SIZES,
            "pooling.code_dim": axis("region_pooling.gru.weight_ih_l0", 1),
            "pooling.hidden_dim": axis("region_pooling.gru.weight_hh_l0", 1),
        },
        needs=NORMALISED,
        built={"region_pooling.gru.weight_ih_l0": (96, 32)},
        other_values=_other_values,
        vocabulary=vse_encoders.vocabulary,
        data_parallel=data_parallel,
    )


def _other_values(model: VSESettings) -> Iterator[str]:
    if isinstance(model.pooling, GPOSettings) and model.pooling.temperature != _TEMPERATURE:
        yield f"its pooling's temperature is {model.pooling.temperature:g}; the released code has {_TEMPERATURE:g}"


_BIGRU = _vse_infty("bigru", bigru, data_parallel=False)
_BERT = _vse_infty("master", bert, data_parallel=True)

LAYOUTS: dict[str, Layout] = {
    "vse_infty_bigru": _BIGRU,
    "vse_infty_bert": _BERT,
    "vse_infty_bigru_grid": vse_encoders.on_grid(_BIGRU, data_parallel=True),  # this branch wraps that one alone
    "vse_infty_bert_grid": vse_encoders.on_grid(_BERT, data_parallel=True),
}
