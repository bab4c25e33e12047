"""How released checkpoints name their weights, method by method, as data: to take another method in, add its layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from itrcore.errors import ConfigError
from itrcore.released import grid
from itrcore.released.clip import NAMES as CLIP
from itrcore.released.cross_attention import CROSS_ATTENTION
from itrcore.released.forms import NORMALISED, Layout, Part, Size, Unused, axis, ratio
from itrcore.released.rules import Rule, plain
from itrcore.settings.methods import MethodSettings, SetSettings

_SECOND_NORM = {
    f"mlp.bns.1.{name}": Unused("the MLP's second batch normalisation, which its forward never uses", like, value)
    for name, like, value in (
        ("weight", "mlp.layers.1.bias", 1.0),
        ("bias", "mlp.layers.1.bias", 0.0),
        ("running_mean", "mlp.layers.1.bias", 0.0),
        ("running_var", "mlp.layers.1.bias", 1.0),
        ("num_batches_tracked", "mlp.bns.0.num_batches_tracked", 0.0),
    )
}
_BERT_UNUSED = {
    "bert.pooler.dense.weight": Unused(
        "BERT's pooling layer; words are taken from its last hidden state",
        "bert.encoder.layer.0.attention.output.dense.weight",
    ),
    "bert.pooler.dense.bias": Unused(
        "BERT's pooling layer; words are taken from its last hidden state",
        "bert.encoder.layer.0.attention.output.dense.bias",
    ),
    "bert.embeddings.position_ids": Unused("0, 1, 2, …: a constant that transformers 3.0 to 4.30 writes"),
}
_REGIONS = {
    "fc.": "regions.fc.",
    "mlp.layers.0.": "regions.hidden.",
    "mlp.layers.1.": "regions.out.",
    "mlp.bns.0.": "regions.norm.",
}
_BIGRU = {"embed.": "words.embed.", "rnn.": "words.gru."}
_BERT = {"bert.": "words.bert.", "linear.": "words.linear."}

_BERT_BASE = {
    "words.bert.embeddings.word_embeddings.weight": (30522, 768),
    "words.bert.encoder.layer.11.output.dense.weight": (768, 3072),
}
_GPO_SIZES = {
    "pooling.code_dim": axis("region_pooling.gru.weight_ih_l0", 1),
    "pooling.hidden_dim": axis("region_pooling.gru.weight_hh_l0", 1),
}
_GPO_BUILT = {"region_pooling.gru.weight_ih_l0": (96, 32)}
_NINE_BLOCKS = {"measure.weight": (1, 9)}


def _esa(source: str, text: str, data_parallel: bool) -> Layout:
    return _pooled(source, text, data_parallel, {"linear1.": "{}_pooling.linear."}, {}, {})


def _vse_infty(source: str, text: str, data_parallel: bool) -> Layout:
    return _pooled(source, text, data_parallel, {"gpool.": "{}_pooling."}, _GPO_SIZES, _GPO_BUILT)


def _pooled(
    source: str,
    text: str,
    data_parallel: bool,
    pooling: Mapping[str, str],
    sizes: Mapping[str, Size],
    built: Mapping[str, tuple[int, ...]],
) -> Layout:
    """The layout that VSE∞ began: an image and a text encoder, each with its pooling."""
    bert = text == "bert"
    region_names = {released: ours.format("region") for released, ours in pooling.items()}
    word_names = {released: ours.format("word") for released, ours in pooling.items()}
    word_sizes = {} if bert else {"text.word_dim": axis("words.embed.weight", 1)}
    return Layout(
        source,
        (
            Part("image encoder", plain({**_REGIONS, **region_names}), _SECOND_NORM),
            Part("text encoder", plain({**(_BERT if bert else _BIGRU), **word_names}), _BERT_UNUSED if bert else {}),
        ),
        data_parallel,
        {"dim": axis("regions.fc.weight", 0), **word_sizes, **sizes},
        axis("words.bert.embeddings.word_embeddings.weight" if bert else "words.embed.weight", 0),
        axis("regions.fc.weight", 1),
        {**built, **(_BERT_BASE if bert else {})},
        needs=NORMALISED,
    )


def _esl(strategy: str, switch: str | None) -> Layout:
    """ESL on sets: encoders without pooling, and the similarity, which has weights of its own."""
    similarity = (
        *_levels("", strategy, "region_levels", "word_levels"),
        *_measure(""),
        Rule("sims.calculator_1.lynorm_#.", ("measure.norms.#.",)),
        Rule("sims.calculator_1.temp_scale.weight", ("measure.log_smooth",)),
    )
    return Layout(
        "CrossmodalGroup/ESL",
        (
            Part("image encoder", plain(_REGIONS), _SECOND_NORM),
            Part("text encoder", plain(_BERT), _BERT_UNUSED),
            Part("similarity", similarity),
        ),
        True,
        {"dim": axis("regions.fc.weight", 0), **_level_sizes(strategy, "region_levels")},
        axis("words.bert.embeddings.word_embeddings.weight", 0),
        axis("regions.fc.weight", 1),
        {**_BERT_BASE, **_NINE_BLOCKS},
        needs=NORMALISED,
        switch=switch,
    )


def _esl_clip(strategy: str, switch: str | None) -> Layout:
    """ESL on CLIP: one flat state dict of OpenAI's CLIP and what follows its towers."""
    start = "pool_frames.cross_attn."
    scale = Unused(
        "a temperature of the sets' attention, which single vectors do not have",
        f"{start}sims.calculator_1.temp_scale_1.weight",
        math.log(1 / 0.07),
    )
    positions = Unused("0, 1, 2, …: a constant that transformers up to 4.30 writes")
    return Layout(
        "kkzhang95/ESL",
        (
            Part(
                "CLIP and similarity",
                (*CLIP, *_levels(start, strategy, "image_levels", "text_levels"), *_measure(start)),
                {
                    f"{start}sims.calculator_1.temp_scale.weight": scale,
                    "clip.text_model.embeddings.position_ids": positions,
                    "clip.vision_model.embeddings.position_ids": positions,
                },
            ),
        ),
        False,
        {"dim": axis("clip.visual_projection.weight", 0), **_level_sizes(strategy, "image_levels")},
        axis("clip.text_model.embeddings.token_embedding.weight", 0),
        None,
        _NINE_BLOCKS,
        flat=True,
        switch=switch,
    )


def _levels(start: str, strategy: str, images: str, texts: str) -> tuple[Rule, ...]:
    """Both sides' levels, which the released codes count from 1: the input is their level 0."""
    names = ("kernel_img_#", "kernel_txt_#", "kernels") if strategy == "heuristic" else ("masks_#", "masks_#", "masks")
    return tuple(
        Rule(f"{start}plus_encoder.encoders_1.{side}_levels.{name}.weight", (f"{ours}.{names[2]}.#",), first=1)
        for side, name, ours in (("image", names[0], images), ("text", names[1], texts))
    )


def _measure(start: str) -> tuple[Rule, ...]:
    """What both branches have of it."""
    return (
        Rule(f"{start}sims.calculator_1.masks_#.weight", ("measure.masks.#",)),
        Rule(f"{start}sims.calculator_1.sim_eval.weight", ("measure.weight",)),
        Rule(f"{start}sims.calculator_1.temp_scale_1.weight", ("measure.sigma",)),
        Rule(f"{start}sims.calculator_1.temp_scale_2.weight", ("measure.log_lambda",)),
    )


def _level_sizes(strategy: str, levels: str) -> dict[str, Size]:
    kernel = axis(f"{levels}.kernels.0", 2) if strategy == "heuristic" else ratio(f"{levels}.masks.0")
    return {"levels": axis("measure.weight", 1, less=1), "kernel": kernel}


_BERT_SWITCH = "heuristic_strategy = {} in lib/vse.py, where it stands at the other"
_CLIP_SWITCH = "heuristic_strategy = {} in modules/transformer.py, where it stands at the other"

# By family on regions, or on CLIP's pixels. VSE∞'s branch `bigru` wraps its model for grid features alone.
_LAYOUTS: dict[str, Layout] = {
    "esa_bigru": _esa("KevinLight831/ESA, folder ESA_BIGRU", "bigru", data_parallel=False),
    "esa_bert": _esa("KevinLight831/ESA, folder ESA_BERT", "bert", data_parallel=True),
    "esl_h_bert": _esl("heuristic", switch=_BERT_SWITCH.format(True)),
    "esl_a_bert": _esl("adaptive", switch=None),
    "esl_h_clip": _esl_clip("heuristic", switch=None),
    "esl_a_clip": _esl_clip("adaptive", switch=_CLIP_SWITCH.format(False)),
    "vse_infty_bigru": _vse_infty("woodfrog/vse_infty, branch bigru", "bigru", data_parallel=False),
    "vse_infty_bert": _vse_infty("woodfrog/vse_infty, branch master", "bert", data_parallel=True),
}


def _on_grid(layout: Layout, data_parallel: bool) -> Layout:
    """The same method on grid features: another image encoder, and pixels in place of regions."""
    regions, *others = layout.parts
    copy = Unused("the ResNet once more, with the classifier that it came with")
    part = Part(regions.name, grid.on_grid(regions.rules), {grid.COPY: copy})
    return replace(layout, parts=(part, *others), width=None, data_parallel=data_parallel)


# By family (`MethodSettings.family`).
LAYOUTS: dict[str, Layout] = {
    **_LAYOUTS,
    **{
        f"{family}_grid": _on_grid(layout, layout.data_parallel or family == "vse_infty_bigru")
        for family, layout in _LAYOUTS.items()
        if not layout.flat
    },
    **CROSS_ATTENTION,
}


def layout_of(settings: MethodSettings) -> Layout:
    """The released layout of a method. `ConfigError` where there is none."""
    layout = LAYOUTS.get(settings.family)
    if layout is None:
        raise ConfigError(
            f"{settings.family} has no released checkpoints; methods that have: {', '.join(sorted(LAYOUTS))}"
        )
    grid = settings.model.grid if isinstance(settings.model, SetSettings) else None
    if grid is not None and grid.backbone != "detector":
        # timm names a ResNeXt's entries otherwise; and of ImageNet's ResNets the released codes change the form, so that the
        # same weights would give other cells here.
        raise ConfigError(
            f"{settings.family}: released checkpoints with model.grid.backbone {grid.backbone} are not read or written; "
            "those with detector are"
        )
    return layout
