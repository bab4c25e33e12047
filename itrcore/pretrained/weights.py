"""Published transformers of any kind: read whole or refused in one line, told apart by digest, described as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from itrcore.errors import DataError, first_line
from itrcore.fetch import hub
from itrcore.files import read_json, write_json
from itrcore.pretrained import torch_file

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def pretrained(
    kind: str,
    model: Any,
    name: str,
    revision: str | None,
    check: Callable[[dict[str, Any]], None],
    **options: Any,
) -> Any:
    """A published model in float32, with every weight.

    kind: what users call it, such as `BERT`; model: transformers' class; name: on the Hugging Face hub, or a folder
    revision: of the hub's repository; options: of `from_pretrained`
    check: raises `ValueError` where the values of config.json are of another kind of model
    `DataError` where it cannot be had, is of another kind, or lacks weights: transformers would draw these at random.
    """
    from transformers import PreTrainedConfig

    _quieten()  # missing weights are reported below
    try:
        torch_file.check_folder(name)
        config, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
        check(config)
        loaded, report = model.from_pretrained(
            name,
            revision=revision or "main",
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except Exception as error:  # transformers, the hub's client and readers of weights have errors of their own
        raise hub.refused(kind, name, revision, error, "folder with config.json and model.safetensors") from error
    if unusable := sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}):
        shown = ", ".join(unusable[:5]) + (f" and {len(unusable) - 5} more" if len(unusable) > 5 else "")
        raise DataError.at(name, f"lacks weights of the {kind} that its config.json describes: {shown}", "all of them")
    return loaded


def config_on_disk(config: Any, name: str, revision: str | None) -> Any | None:
    """The configuration of a published model, as `config`, transformers' class; None where it is not on this disk."""
    _quieten()
    try:
        return config.from_pretrained(name, revision=revision or "main", local_files_only=True)
    except Exception:  # whatever is wrong with it is reported when the model itself is read
        return None


def weights_digest(model: nn.Module | None) -> str | None:
    """SHA-256 over the weights: the same for the same model, wherever it was read from. None for none."""
    if model is None:
        return None
    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(f"{name}\0".encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def described(config: PreTrainedConfig) -> dict[str, Any]:
    """The configuration as JSON values, without the place that it was read from."""
    return {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}


def save_config(config: PreTrainedConfig, path: Path) -> None:
    """Write the configuration as JSON."""
    write_json(path, described(config))


def read_config(kind: str, config: Any, path: Path) -> Any:
    """Read what `save_config` wrote, as transformers' class `config`; `DataError` where it is missing or damaged."""
    _quieten()
    try:
        return config.from_dict(read_json(path))
    except Exception as error:  # transformers' errors for values of the wrong type have no common base
        raise DataError.at(
            path, f"cannot be read ({first_line(error)})", f"a {kind}'s configuration", do="Run: dvc repro"
        ) from error


def _quieten() -> None:
    """No progress bars, and no warnings, such as of SigLIP's published configuration, which names tokens that it does not have."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
