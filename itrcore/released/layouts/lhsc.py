"""LHSC: layers of relations between regions and between words, below SAF's similarity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from itrcore.methods.sgraf.settings import LHSCSettings
from itrcore.released import alignment, images, scan_encoders
from itrcore.released.contract import Layout, Sizes, numbered, ratio
from itrcore.released.rules import Rule
from itrcore.released.text import bigru

_FIXED = {"layers": 4, "heads": 4}
_PADDING = {
    "masked": "padding masked: a caption is the same in any batch; the released figures are those of padding: released",
    "released": "padding released: what pads captions takes part, and they depend on their batch, as in the released code",
}


def _graph() -> tuple[Rule, ...]:
    """Layers between regions; of their linear maps all but `fc1` and `fc2` are convolutions one wide."""
    layer = "regions.graph.#."
    # theta, theta1, theta2, theta3
    heads = {f"{side}{head or ''}.": f"{side}.{head}." for side in ("theta", "phi") for head in range(4)}
    wide = {**heads, "g.": "value.", "W.0.": "out."}
    flat = {"fc1.": "query.", "fc2.": "key.", "W.1.": "norm."}
    return tuple(
        Rule(f"IM_GCN_#.{theirs}", (layer + ours,), first=1, pointwise=names is wide)
        for names in (wide, flat)
        for theirs, ours in names.items()
    )


_WORD_ATTENTION = tuple(
    Rule(f"W_att#.embedding_{theirs}.0.", (f"words.attention.#.{ours}.",), first=1)
    for theirs, ours in (("local", "local"), ("global", "context"), ("v", "value"))
)


def _options(model: LHSCSettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    return {**alignment.options(model, sizes, data), "drop_out": 0.0}  # in its attention between words


def _other_values(model: LHSCSettings) -> Iterator[str]:
    yield from alignment.other_values(model)
    for key, value in _FIXED.items():
        if (ours := getattr(model, key)) != value:
            yield f"it has {ours} {key}; the released code builds {value}"
    if model.padding == "masked":
        yield "what pads its captions takes no part (padding: masked); in the released code it does"


def _remarks(model: LHSCSettings) -> Iterator[str]:
    yield _PADDING[model.padding]


LAYOUTS: dict[str, Layout] = {
    "lhsc_bigru": Layout(
        source="lDarryll/LHSC",
        parts=(
            scan_encoders.images(*_graph()),
            scan_encoders.texts("cap_rnn", *_WORD_ATTENTION),
            alignment.similarity(*alignment.filtration("cal_sim_base_atten")),
        ),
        text=bigru,
        image=images.regions,
        options=_options,
        sizes={
            **alignment.SIZES,
            "layers": numbered("regions.graph."),
            "heads": ratio("regions.graph.0.theta.0.weight"),
        },
        needs=scan_encoders.NEEDS,
        other_values=_other_values,
        n_regions=alignment.N_REGIONS,
        remarks=_remarks,
    )
}
