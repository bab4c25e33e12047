"""SGRAF's similarity between encoders like SCAN's, as SGRAF and LHSC have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from itrcore.methods.sgraf.settings import AlignmentSettings
from itrcore.released import scan_encoders
from itrcore.released.contract import ANY, Part, Sizes, Weights, axis
from itrcore.released.rules import Places, Rule, plain

N_REGIONS = 36  # places of the batch normalisation in the attention over regions
_SOFTMAX_SCALE = 9.0  # of the words' attention

_RULES = plain(
    {
        "v_global_w.embedding_local.0.": "region_pooling.local.",
        "v_global_w.embedding_local.1.": "region_pooling.local_norm.",
        "v_global_w.embedding_global.0.": "region_pooling.mean.",
        "v_global_w.embedding_global.1.": "region_pooling.mean_norm.",
        "v_global_w.embedding_common.0.": "region_pooling.score.",
        "t_global_w.embedding_local.0.": "word_pooling.local.",
        "t_global_w.embedding_global.0.": "word_pooling.mean.",
        "t_global_w.embedding_common.0.": "word_pooling.score.",
        "sim_tranloc_w.": "measure.local.",
        "sim_tranglo_w.": "measure.whole.",
        "sim_eval_w.": "measure.score.",
    }
)


def similarity(*rules: Rule) -> Part:
    """The part of the similarity. rules: of what follows a pair's alignments"""
    return Part("similarity", (*_RULES, *rules), places=Places("v_global_w.embedding_local.1.", N_REGIONS))


def filtration(module: str) -> tuple[Rule, ...]:
    """Rules of SAF's filter over a pair's alignments. module: its name there"""
    return plain({f"{module}.attn_sim_w.": "measure.filtration.weights.", f"{module}.bn.": "measure.filtration.norm."})


def options(model: AlignmentSettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    """Beside the encoders', the size of alignments."""
    return {**scan_encoders.options(model, sizes, data), "sim_dim": model.alignment_dim}


def other_values(model: AlignmentSettings) -> Iterator[str]:
    """What the released codes of both have fixed."""
    if model.softmax_scale != _SOFTMAX_SCALE:
        yield f"its attention's softmax scale is {model.softmax_scale:g}; the released code has {_SOFTMAX_SCALE:g}"
    if model.ranked_regions not in (None, N_REGIONS):
        yield f"its images have {model.ranked_regions} regions; the released code builds {N_REGIONS}"


def _ranked_regions(weights: Weights) -> int | None:
    n_places = axis("region_pooling.local_norm.weight", 0)(weights)
    return ANY if n_places == 1 else n_places


SIZES = {
    **scan_encoders.SIZES,
    "alignment_dim": axis("measure.local.weight", 0),
    "ranked_regions": _ranked_regions,
}
