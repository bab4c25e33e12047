"""How released checkpoints name their weights, method by method, as data: to take another method in, add its layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from itrcore.errors import ConfigError
from itrcore.models.settings import MethodSettings


@dataclass(frozen=True)
class Unused:
    """An entry that the released code writes and never computes with.

    like: the entry of the same part whose shape and type it has, and value: what it starts as, so that it can be written
    back; an entry that only some versions of a library write has no `like` and is not.
    """

    why: str
    like: str | None = None
    value: float = 0.0


@dataclass(frozen=True)
class Part:
    """One state dict. names: the beginnings of the released names → of ours, the longest that fits counts."""

    name: str
    names: Mapping[str, str]
    unused: Mapping[str, Unused] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A method's released checkpoint.

    source: repository and branch or folder
    data_parallel: whether its evaluation wraps the model in DataParallel and loads with `strict=False`, so that entries
        without the prefix `module.` would be passed over without a word
    sizes: what the weights say of `model` in the method's settings → (our name, axis)
    width, tokens: where the features' width and the number of token ids are seen: (our name, axis)
    built: shapes that the released code has whatever the options say
    """

    source: str
    parts: tuple[Part, ...]
    data_parallel: bool
    sizes: Mapping[str, tuple[str, int]]
    width: tuple[str, int]
    tokens: tuple[str, int]
    built: Mapping[str, tuple[int, ...]]


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
    "pooling.code_dim": ("region_pooling.gru.weight_ih_l0", 1),
    "pooling.hidden_dim": ("region_pooling.gru.weight_hh_l0", 1),
}
_GPO_BUILT = {"region_pooling.gru.weight_ih_l0": (96, 32)}


def _esa(source: str, text: str, data_parallel: bool) -> Layout:
    return _two_encoders(source, text, data_parallel, {"linear1.": "{}_pooling.linear."}, {}, {})


def _vse_infty(source: str, text: str, data_parallel: bool) -> Layout:
    return _two_encoders(source, text, data_parallel, {"gpool.": "{}_pooling."}, _GPO_SIZES, _GPO_BUILT)


def _two_encoders(
    source: str,
    text: str,
    data_parallel: bool,
    pooling: Mapping[str, str],
    sizes: Mapping[str, tuple[str, int]],
    built: Mapping[str, tuple[int, ...]],
) -> Layout:
    """The layout that VSE∞ began: an image and a text encoder, each with its pooling."""
    bert = text == "bert"
    region_names = {released: ours.format("region") for released, ours in pooling.items()}
    word_names = {released: ours.format("word") for released, ours in pooling.items()}
    word_sizes = {} if bert else {"text.word_dim": ("words.embed.weight", 1)}
    return Layout(
        source,
        (
            Part("image encoder", {**_REGIONS, **region_names}, _SECOND_NORM),
            Part("text encoder", {**(_BERT if bert else _BIGRU), **word_names}, _BERT_UNUSED if bert else {}),
        ),
        data_parallel,
        {"dim": ("regions.fc.weight", 0), **word_sizes, **sizes},
        ("regions.fc.weight", 1),
        ("words.bert.embeddings.word_embeddings.weight" if bert else "words.embed.weight", 0),
        {**built, **(_BERT_BASE if bert else {})},
    )


# By family (`MethodSettings.family`). VSE∞'s branch `bigru` wraps its model for grid features alone.
LAYOUTS: dict[str, Layout] = {
    "esa_bigru": _esa("KevinLight831/ESA, folder ESA_BIGRU", "bigru", data_parallel=False),
    "esa_bert": _esa("KevinLight831/ESA, folder ESA_BERT", "bert", data_parallel=True),
    "vse_infty_bigru": _vse_infty("woodfrog/vse_infty, branch bigru", "bigru", data_parallel=False),
    "vse_infty_bert": _vse_infty("woodfrog/vse_infty, branch master", "bert", data_parallel=True),
}


def layout_of(settings: MethodSettings) -> Layout:
    """The released layout of a method. `ConfigError` where there is none."""
    layout = LAYOUTS.get(settings.family)
    if layout is None:
        raise ConfigError(
            f"{settings.family} has no released checkpoints; methods that have: {', '.join(sorted(LAYOUTS))}"
        )
    return layout
