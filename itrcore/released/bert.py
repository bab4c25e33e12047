"""What a checkpoint's weights say of its BERT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from itrcore.released.checkpoint import Checkpoint
from itrcore.released.heads import attention_heads
from itrcore.settings.encoders import BertSettings, BertShape

if TYPE_CHECKING:
    from transformers import BertConfig

HEADS = "num_attention_heads"  # in the options of checkpoints that are exported here; no released code writes it
_PREFIX = "words.bert."
_LAYER = re.compile(re.escape(_PREFIX) + r"encoder\.layer\.(\d+)\.")
_SIZES = (
    ("vocab_size", "embeddings.word_embeddings.weight", 0),
    ("hidden_size", "embeddings.word_embeddings.weight", 1),
    ("max_position_embeddings", "embeddings.position_embeddings.weight", 0),
    ("type_vocab_size", "embeddings.token_type_embeddings.weight", 0),
    ("intermediate_size", "encoder.layer.0.intermediate.dense.weight", 0),
)


def config(checkpoint: Checkpoint, found: Mapping[str, Tensor], text: BertSettings) -> BertConfig:
    """The configuration as the weights (under our names) have it, bert-base-uncased's where one is missing.

    `DataError` where the number of attention heads cannot be known; see `attention_heads`.
    """
    from transformers import BertConfig

    known: dict[str, Any] = {}
    for key, name, axis in _SIZES:
        if (tensor := found.get(_PREFIX + name)) is not None and tensor.dim() == 2:
            known[key] = tensor.shape[axis]
    if layers := {match[1] for match in map(_LAYER.match, found) if match}:
        known["num_hidden_layers"] = len(layers)
    hidden = known.get("hidden_size", BertConfig().hidden_size)
    configured = (text.shape.hidden, text.shape.heads) if text.shape is not None else None
    known["num_attention_heads"] = attention_heads(checkpoint, HEADS, hidden, configured, "BERT")
    return BertConfig(**known)


def shape(config: BertConfig) -> BertShape:
    """The configuration as `shape` in a method's settings."""
    return BertShape(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        positions=config.max_position_embeddings,
    )
