"""BERT in released checkpoints: what its weights say of it, its word pieces, and what the released codes build."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrcore import layout
from itrcore.assets.pieces import BertSource, Pieces
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.pretrained import bert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Shape, Size, Sizes, Unused, Weights, axis
from itrcore.released.rules import Rule, plain
from itrcore.released.text.heads import attention_heads
from itrcore.released.text.vocabularies import check_size, of_data
from itrcore.settings.encoders import BertSettings, BertShape

if TYPE_CHECKING:
    from transformers import BertConfig

_POOLER = "BERT's pooling layer; words are taken from its last hidden state"

RULES: tuple[Rule, ...] = plain({"bert.": "words.bert.", "linear.": "words.linear."})
UNUSED: Mapping[str, Unused] = {
    **{
        f"bert.pooler.dense.{kind}": Unused(_POOLER, f"bert.encoder.layer.0.attention.output.dense.{kind}")
        for kind in ("weight", "bias")
    },
    "bert.embeddings.position_ids": Unused("0, 1, 2, …: a constant that transformers 3.0 to 4.30 writes"),
}
BUILT: Mapping[str, Shape] = {
    "words.bert.embeddings.word_embeddings.weight": (30522, 768),
    "words.bert.encoder.layer.11.output.dense.weight": (768, 3072),
}
N_TOKENS: Size = axis("words.bert.embeddings.word_embeddings.weight", 0)

_HEADS = "num_attention_heads"  # in the options of checkpoints that are exported here; no released code writes it
_BASE = {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
_PREFIX = "words.bert."
_LAYER = re.compile(re.escape(_PREFIX) + r"encoder\.layer\.(\d+)\.")
_SIZES = (
    ("vocab_size", "embeddings.word_embeddings.weight", 0),
    ("hidden_size", "embeddings.word_embeddings.weight", 1),
    ("max_position_embeddings", "embeddings.position_embeddings.weight", 0),
    ("type_vocab_size", "embeddings.token_type_embeddings.weight", 0),
    ("intermediate_size", "encoder.layer.0.intermediate.dense.weight", 0),
)


def own_config(settings: BertSettings) -> BertConfig | None:
    """Of a BERT whose folder the settings name."""
    path = Path(settings.weights) / "config.json"
    return bert.read_config(path) if path.is_file() else None


def source(
    checkpoint: Checkpoint,
    weights: Weights,
    settings: BertSettings,
    config: BertConfig | None,
    n_tokens: int,
    dim: int,
) -> BertSource:
    """A BERT of the given configuration, else of the weights' sizes; what they do not tell is as in bert-base-uncased.

    `DataError` where the number of attention heads cannot be known; see `attention_heads`.
    """
    config = config or _config(checkpoint, weights, settings)
    if settings.shape is not None:
        settings = settings.model_copy(update={"shape": _shape(config)})
    return BertSource(settings, config)


def side(sizes: Sizes[Any, BertSource], vocabulary: Path | None, data: str) -> Pieces:
    """With the word pieces of a given vocab.txt, else of the BERT that the settings name, else of the data set.

    `DataError` where they cannot be had, or are not as many as the checkpoint's.
    """
    settings = sizes.source.settings
    where = settings.weights
    if vocabulary is None and settings.shape is None:
        try:
            pieces = WordPieces.pretrained(where, settings.revision)
        except DataError as error:
            raise DataError(f"{error} Or name the BERT's vocab.txt with --vocab.") from error
    else:
        path = vocabulary or of_data(data, layout.PIECES)
        where, pieces = str(path), WordPieces.read(path)
    check_size(where, len(pieces), sizes.n_tokens)
    return Pieces(settings, pieces, sizes.source.config)


def own_vocabulary(settings: BertSettings, data: str) -> str:
    """The published BERT's, else the data set's."""
    return f"the word pieces of {settings.weights}" if settings.shape is None else f"the vocabulary of {data}"


def options(source: BertSource) -> dict[str, Any]:
    """What an import here cannot tell from the weights."""
    return {_HEADS: source.config.num_attention_heads}


def other_values(text: Pieces, data: str) -> Iterator[str]:
    """Where it is another BERT than bert-base-uncased."""
    for key, value in _BASE.items():
        if (ours := getattr(text.config, key)) != value:
            yield f"its BERT's {key} is {ours}; the released code builds bert-base-uncased, with {value}"
    if not text.tokeniser.lower:
        yield "its captions keep upper case; the released code's BERT is uncased"


def _config(checkpoint: Checkpoint, weights: Weights, settings: BertSettings) -> BertConfig:
    from transformers import BertConfig

    known: dict[str, Any] = {}
    for key, name, number in _SIZES:
        if (tensor := weights.get(_PREFIX + name)) is not None and tensor.dim() == 2:
            known[key] = tensor.shape[number]
    if layers := {match[1] for match in map(_LAYER.match, weights) if match}:
        known["num_hidden_layers"] = len(layers)
    hidden = known.get("hidden_size", BertConfig().hidden_size)
    configured = (settings.shape.hidden, settings.shape.heads) if settings.shape is not None else None
    known["num_attention_heads"] = attention_heads(checkpoint, _HEADS, hidden, configured, "BERT")
    return BertConfig(**known)


def _shape(config: BertConfig) -> BertShape:
    """The configuration as `shape` in a method's settings."""
    return BertShape(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        positions=config.max_position_embeddings,
    )
