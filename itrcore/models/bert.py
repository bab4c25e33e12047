"""BERTs as text encoders: published ones from the hub or a folder, and small ones that start at random."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from itrcore.errors import DataError
from itrcore.files import read_json, write_json
from itrcore.models.settings import BertShape

if TYPE_CHECKING:
    from transformers import BertConfig, BertModel


def configured(config: BertConfig) -> BertModel:
    """A BERT without pooling layer, which no method here reads; its weights are drawn at random."""
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
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what it would tell of weights is judged here
    loaded: Any
    try:
        known, _ = BertConfig.get_config_dict(name, revision=revision)
        if (kind := known.get("model_type", "bert")) != "bert":  # some others' weights would fit, and mean nothing
            raise ValueError(f"its config.json says {kind}")
        if "hidden_size" not in known:  # transformers would take bert-base's sizes
            raise ValueError("no config.json that says its sizes")
        loaded = BertModel.from_pretrained(
            name,
            revision=revision or "main",
            add_pooling_layer=False,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # transformers, the hub's client and readers of weights have errors of their own
        at = f" at revision {revision}" if revision else ""
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise DataError.at(
            name,
            f"no BERT can be had from here{at} ({reason})",
            "a name on the Hugging Face hub, or a folder with config.json and model.safetensors",
            do="The hub needs network access, and that HF_HUB_OFFLINE is not set; or give a folder with its files.",
        ) from error
    model: BertModel
    model, found = loaded
    if unusable := sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])}):
        shown = ", ".join(unusable[:5]) + (f" and {len(unusable) - 5} more" if len(unusable) > 5 else "")
        raise DataError.at(name, f"lacks weights of the BERT that its config.json describes: {shown}", "all of them")
    return model


def weights_digest(model: BertModel) -> str:
    """SHA-256 over the weights: the same for the same BERT, wherever it was read from."""
    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(f"{name}\0".encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def described(config: BertConfig) -> dict[str, Any]:
    """The configuration as JSON values, but for where it was read from."""
    return {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}


def save_config(config: BertConfig, path: Path) -> None:
    """Write the configuration as JSON."""
    write_json(path, described(config))


def read_config(path: Path) -> BertConfig:
    """Read what `save_config` wrote; `DataError` where it is missing or damaged."""
    from transformers import BertConfig

    try:
        return BertConfig.from_dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise DataError.at(path, f"cannot be read ({error})", "a BERT's configuration", do="Run: dvc repro") from error
