"""BERTs as text encoders: published ones from the hub or a folder, and small ones that start at random."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrcore.pretrained import weights
from itrcore.settings.encoders import BertShape

if TYPE_CHECKING:
    from transformers import BertConfig, BertModel


def configured(config: BertConfig) -> BertModel:
    """A BERT with weights drawn at random, without the pooling layer, which no method here reads."""
    from transformers import BertModel

    return BertModel(config, add_pooling_layer=False)


def config_of(shape: BertShape, n_pieces: int) -> BertConfig:
    """The configuration of a BERT that starts at random; what `shape` leaves open is as in bert-base-uncased."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=n_pieces,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.positions,
    )


def pretrained(name: str, revision: str | None = None) -> BertModel:
    """A published BERT, in float32: its name on the Hugging Face hub, with a `revision` of it, or a folder.

    `DataError` where it cannot be had, is no BERT, or lacks weights: transformers would draw these at random.
    """
    from transformers import BertModel

    model: BertModel = weights.pretrained("BERT", BertModel, name, revision, _is_bert, add_pooling_layer=False)
    return model


def known_config(name: str, revision: str | None = None) -> BertConfig:
    """The configuration of a published BERT, for its sizes: that of bert-base where it is not on this disk."""
    from transformers import BertConfig

    config: BertConfig = weights.config_on_disk(BertConfig, name, revision) or BertConfig()
    return config


def _is_bert(config: dict[str, Any]) -> None:
    if (kind := config.get("model_type", "bert")) != "bert":  # some others' weights would fit, and mean nothing
        raise ValueError(f"its config.json says {kind}")
    if "hidden_size" not in config:  # transformers would take bert-base's sizes
        raise ValueError("no config.json that says its sizes")


def read_config(path: Path) -> BertConfig:
    """Read what `save_config` wrote; `DataError` where it is missing or damaged."""
    from transformers import BertConfig

    config: BertConfig = weights.read_config("BERT", BertConfig, path)
    return config
