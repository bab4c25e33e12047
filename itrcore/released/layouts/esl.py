"""ESL on sets: encoders without pooling, and the similarity, which has weights of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from itrcore.methods.esl.settings import ESLSettings
from itrcore.released import images, levels, vse_encoders
from itrcore.released.contract import Layout, Part, Sizes
from itrcore.released.options import NORMALISED, common
from itrcore.released.rules import Rule
from itrcore.released.text import bert

_SWITCH = "heuristic_strategy = True in lib/vse.py, where it stands at the other"


def _esl(strategy: str, switch: str | None) -> Layout:
    similarity = (
        *levels.of_sides("", strategy, "region_levels", "word_levels"),
        *levels.of_measure(""),
        Rule("sims.calculator_1.lynorm_#.", ("measure.norms.#.",)),
        Rule("sims.calculator_1.temp_scale.weight", ("measure.log_smooth",)),
    )
    return Layout(
        source="CrossmodalGroup/ESL",
        parts=(vse_encoders.images(), vse_encoders.texts(bert), Part("similarity", similarity)),
        text=bert,
        image=images.regions,
        options=_options,
        sizes={**vse_encoders.SIZES, **levels.sizes(strategy, "region_levels")},
        needs=NORMALISED,
        built=levels.BUILT,
        other_values=_other_values,
        data_parallel=True,
        switch=switch,
    )


def _options(model: ESLSettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    return {**common(model, sizes, data), "kernel_size": model.kernel}


def _other_values(model: ESLSettings) -> Iterator[str]:
    if model.grid is not None:
        yield "ESL's evaluation stops at batches of pictures; its training reads them"


_HEURISTIC, _ADAPTIVE = _esl("heuristic", switch=_SWITCH), _esl("adaptive", switch=None)

LAYOUTS: dict[str, Layout] = {
    "esl_h_bert": _HEURISTIC,
    "esl_a_bert": _ADAPTIVE,
    "esl_h_bert_grid": vse_encoders.on_grid(_HEURISTIC, data_parallel=True),
    "esl_a_bert_grid": vse_encoders.on_grid(_ADAPTIVE, data_parallel=True),
}
