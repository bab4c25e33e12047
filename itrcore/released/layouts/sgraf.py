"""SGRAF's two halves, SGR and SAF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itrcore.methods.sgraf.settings import ReasoningSettings, SGRAFSettings
from itrcore.released import alignment, images, scan_encoders
from itrcore.released.contract import Layout, Needed, Size, Sizes, numbered
from itrcore.released.rules import Rule, plain
from itrcore.released.text import bigru

_STEPS = 3  # of SGR, where the options do not say
_REASONING = plain(
    {
        "SGR_module.#.graph_query_w.": "measure.reasoning.#.query.",
        "SGR_module.#.graph_key_w.": "measure.reasoning.#.key.",
        "SGR_module.#.sim_graph_w.": "measure.reasoning.#.out.",
    }
)


def _half(module: str, rules: tuple[Rule, ...], sizes: Mapping[str, Size]) -> Layout:
    return Layout(
        source="Paranioar/SGRAF",
        parts=(scan_encoders.images(), scan_encoders.texts("cap_rnn"), alignment.similarity(*rules)),
        text=bigru,
        image=images.regions,
        options=_options,
        sizes={**alignment.SIZES, **sizes},
        needs={**scan_encoders.NEEDS, "module_name": Needed(module, module)},
        other_values=alignment.other_values,
        n_regions=alignment.N_REGIONS,
    )


def _options(model: SGRAFSettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    # Read for SAF too.
    steps = model.module.steps if isinstance(model.module, ReasoningSettings) else _STEPS
    return {**alignment.options(model, sizes, data), "sgr_step": steps}


LAYOUTS: dict[str, Layout] = {
    "sgr_bigru": _half("SGR", _REASONING, {"module.steps": numbered("measure.reasoning.")}),
    "saf_bigru": _half("SAF", alignment.filtration("SAF_module"), {}),
}
