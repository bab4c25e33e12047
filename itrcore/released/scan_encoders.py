"""The encoders of SCAN's code, which those of SGRAF and LHSC took over: one linear layer over regions, and a BiGRU."""

from __future__ import annotations

from typing import Any

from itrcore.released.contract import Needed, Part, Sizes, axis
from itrcore.released.options import NORMALISED, common
from itrcore.released.rules import Rule, plain
from itrcore.settings.methods import ModelSettings

# A GRU of one direction or of several layers shows in its entries; these say why they are refused.
NEEDS = {**NORMALISED, "bi_gru": Needed(True, True), "num_layers": Needed(1, 1)}
SIZES = {"dim": axis("regions.fc.weight", 0)}


def images(*rules: Rule) -> Part:
    """The image encoder. rules: of what it has besides"""
    return Part("image encoder", (*plain({"fc.": "regions.fc."}), *rules))


def texts(gru: str, *rules: Rule) -> Part:
    """The text encoder. gru: its GRU's name; rules: of what it has besides"""
    embedding = Rule("embed.weight", ("words.embed.weight",), masked=True)
    return Part("text encoder", (embedding, *plain({f"{gru}.": "words.gru."}), *rules))


def options(model: ModelSettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    """Their codes make file names of the data's name alone, and their vocabularies have no mask token."""
    return {**common(model, sizes, data), "data_name": f"{data}_precomp", "vocab_size": sizes.n_tokens - 1}
