"""The hidden states of a frozen text encoder: computed once for each caption, and kept in a file for all runs that share it."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from itrcore import code
from itrcore.announce import announced
from itrcore.data.feeding import kept
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.device import make_accelerator
from itrcore.files import digest
from itrcore.layers.text_encoders import BertEncoder
from itrcore.methods.contract import Method
from itrcore.settings.training import TrainingSettings

_TOGETHER = 64  # captions that are read at once, of similar length


def frozen_encoder(method: Method[Any, Any]) -> BertEncoder | None:
    """The method's text encoder, where that is a frozen BERT."""
    return next((module for module in method.modules() if isinstance(module, BertEncoder) and module.frozen), None)


def with_states(split: Split, method: Method[Any, Any], of: str, path: Path, training: TrainingSettings) -> Split:
    """The split with the hidden states of its captions, where the method reads them with a frozen BERT; else the split itself.

    of: digest of the tokeniser and the BERT's weights (`TextSide.digest`); path: the file that keeps the states
    """
    encoder = frozen_encoder(method)
    if encoder is None:
        return split
    table, again = split.tokens, "its captions are read again"
    decided = digest(
        [of, table.ids.tolist(), table.starts.tolist(), code.of(BertEncoder.__module__), torch.__version__]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # another training that begins now waits, and finds them
        arrays = kept.read(path, decided, again)
        if arrays is None:
            arrays = {"states": _computed(encoder, table, make_accelerator(training).device)}
            kept.write(path, decided, arrays, again)
    part = copy(split)
    part.tokens = replace(table, states=arrays["states"])
    return part


def _computed(encoder: BertEncoder, table: TokenTable, device: torch.device) -> Tensor:
    """(n_tokens, hidden) float16"""
    states = torch.empty(len(table.ids), encoder.linear.in_features, dtype=torch.float16)
    order = np.argsort(table.lengths, kind="stable")
    encoder = encoder.to(device).eval()
    with announced(f"Reading {len(table):,} captions with the frozen BERT") as count:
        for start in range(0, len(order), _TOGETHER):
            count(start, len(order))
            rows = order[start : start + _TOGETHER]
            for row, found, length in zip(
                rows, encoder.states(table.batch(rows).to(device)).cpu(), table.lengths[rows], strict=True
            ):
                states[table.starts[row] : table.starts[row + 1]] = found[:length]
    return states
