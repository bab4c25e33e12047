"""Released checkpoints of SCAN, and of SGRAF and LHSC, which took their encoders and attention from it."""

from __future__ import annotations

from collections.abc import Mapping

from itrcore.released.forms import NORMALISED, Layout, Needed, Number, Part, Size, axis, numbered, ratio
from itrcore.released.rules import Places, Rule, plain

REGIONS = 36  # places of the batch normalisation in SGRAF's attention over regions, and in LHSC's

# A GRU of one direction or of several layers shows in its entries; these say why they are refused.
_ENCODERS = {**NORMALISED, "bi_gru": Needed(True, True), "num_layers": Needed(1, 1)}
# What the released SCAN takes for attention where its options do not say.
_ATTENTION = {
    "raw_feature_norm": Needed("clipped_l2norm", "clipped_l2norm"),
    "precomp_enc_type": Needed("basic", "basic"),
}
_POOLING = {"lse": "LogSumExp", "avg": "Mean"}

_EMBEDDING = Rule("embed.weight", ("words.embed.weight",), masked=True)
_SIZES = {"dim": axis("regions.fc.weight", 0), "text.word_dim": axis("words.embed.weight", 1)}

_ALIGNMENT = plain(
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
_REASONING = plain(
    {
        "SGR_module.#.graph_query_w.": "measure.reasoning.#.query.",
        "SGR_module.#.graph_key_w.": "measure.reasoning.#.key.",
        "SGR_module.#.sim_graph_w.": "measure.reasoning.#.out.",
    }
)


def _filtration(module: str) -> tuple[Rule, ...]:
    return plain({f"{module}.attn_sim_w.": "measure.filtration.weights.", f"{module}.bn.": "measure.filtration.norm."})


def _graph() -> tuple[Rule, ...]:
    """LHSC's layers between regions; of their linear maps all but `fc1` and `fc2` are convolutions one wide."""
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


def _scan(direction: str, pooling: str) -> Layout:
    needs = {"cross_attn": Needed(direction, "t2i"), "agg_func": Needed(_POOLING[pooling], "LogSumExp")}
    numbers = {"softmax_scale": Number("lambda_softmax", 9.0)}
    if pooling == "lse":
        numbers["pooling.scale"] = Number("lambda_lse", 6.0)
    return Layout(
        "kuanghuei/SCAN",
        (
            Part("image encoder", plain({"fc.": "regions.fc."})),
            Part("text encoder", (_EMBEDDING, *plain({"rnn.": "words.gru."}))),
        ),
        False,
        _SIZES,
        axis("words.embed.weight", 0),
        axis("regions.fc.weight", 1),
        {},
        {**_ENCODERS, **_ATTENTION, **needs},
        numbers,
    )


def _aligned(
    source: str,
    images: tuple[Rule, ...],
    texts: tuple[Rule, ...],
    measure: tuple[Rule, ...],
    sizes: Mapping[str, Size],
    needs: Mapping[str, Needed],
) -> Layout:
    """SGRAF's similarity between encoders."""
    return Layout(
        source,
        (
            Part("image encoder", (*plain({"fc.": "regions.fc."}), *images)),
            Part("text encoder", (_EMBEDDING, *plain({"cap_rnn.": "words.gru."}), *texts)),
            Part(
                "similarity",
                (*_ALIGNMENT, *measure),
                places=Places("v_global_w.embedding_local.1.", REGIONS),
            ),
        ),
        False,
        {
            **_SIZES,
            "alignment_dim": axis("measure.local.weight", 0),
            "ranked_regions": axis("region_pooling.local_norm.weight", 0),
            **sizes,
        },
        axis("words.embed.weight", 0),
        axis("regions.fc.weight", 1),
        {},
        {**_ENCODERS, **needs},
    )


def _sgraf(module: str, measure: tuple[Rule, ...], sizes: Mapping[str, Size]) -> Layout:
    return _aligned("Paranioar/SGRAF", (), (), measure, sizes, {"module_name": Needed(module, module)})


# By family (`MethodSettings.family`).
CROSS_ATTENTION: dict[str, Layout] = {
    **{f"scan_{way}_{pooling}_bigru": _scan(way, pooling) for way in ("t2i", "i2t") for pooling in _POOLING},
    "sgr_bigru": _sgraf("SGR", _REASONING, {"module.steps": numbered("measure.reasoning.")}),
    "saf_bigru": _sgraf("SAF", _filtration("SAF_module"), {}),
    "lhsc_bigru": _aligned(
        "lDarryll/LHSC",
        _graph(),
        _WORD_ATTENTION,
        _filtration("cal_sim_base_atten"),
        {"layers": numbered("regions.graph."), "heads": ratio("regions.graph.0.theta.0.weight")},
        {},
    ),
}
