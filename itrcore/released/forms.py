"""What a layout of released checkpoints is made of: parts and their entries, sizes, and the options that no weight tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from itrcore.released.rules import Places, Rule

Size = Callable[[Mapping[str, Tensor]], int | None]  # from the weights under our names; None where they do not tell


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
    """One state dict.

    rules: what its entries are here, the first that fits counts
    unused: by name, or by the beginning of their names where that ends in a dot
    places: a batch normalisation that has weights for each place, if any
    """

    name: str
    rules: tuple[Rule, ...]
    unused: Mapping[str, Unused] = field(default_factory=dict)
    places: Places | None = None

    def unused_as(self, name: str) -> str | None:
        """As what a released name is known to be unused, if it is."""
        return next((key for key in self.unused if name == key or (key[-1] == "." and name.startswith(key))), None)

    def ours(self, name: str) -> tuple[Rule, tuple[str, ...]] | None:
        """The rule for a released name, and our names; None where there is none."""
        return next(((rule, ours) for rule in self.rules if (ours := rule.to_ours(name))), None)

    def name_there(self, ours: str) -> tuple[Rule, str] | None:
        """The rule for a name of ours, and the released name."""
        return next(((rule, name) for rule in self.rules if (name := rule.to_released(ours))), None)


@dataclass(frozen=True)
class Needed:
    """What an option must say for the weights to be this method's: no weight tells.

    otherwise: what the released code takes where a file's options do not have it
    """

    value: bool | int | str
    otherwise: bool | int | str


@dataclass(frozen=True)
class Number:
    """An option that says a number of the method's settings, and what the released code takes without it."""

    option: str
    otherwise: float


@dataclass(frozen=True)
class Layout:
    """A method's released checkpoint.

    source: repository and branch or folder
    data_parallel: whether its evaluation wraps the model in DataParallel and loads with `strict=False`, so that entries
        without the prefix `module.` would be passed over without a word
    sizes: `model` in the method's settings → what the weights say of it
    tokens: the number of token ids; width: of the region features, where it reads any
    built: shapes that the released code has whatever the options say
    needs: options by name; a file that has no options at all is taken to be what it is said to be
    numbers: `model` in the method's settings → the option that says it
    flat: one state dict, with `config`, in place of a list of parts with `opt`
    switch: what has to be changed in the released source before it builds this one, as it stands there
    """

    source: str
    parts: tuple[Part, ...]
    data_parallel: bool
    sizes: Mapping[str, Size]
    tokens: Size
    width: Size | None
    built: Mapping[str, tuple[int, ...]]
    needs: Mapping[str, Needed] = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)
    flat: bool = False
    switch: str | None = None

    def contradicted(self, options: Mapping[str, Any]) -> list[str]:
        """The options that say another thing than this method needs."""
        return [name for name, need in self.needs.items() if options and not _says(options, name, need)]


def _says(options: Mapping[str, Any], name: str, need: Needed) -> bool:
    found = options.get(name, need.otherwise)
    return isinstance(found, bool | int | float | str) and found == need.value


# Encoders that do not scale to unit length have the same weights.
NORMALISED = {name: Needed(False, False) for name in ("no_imgnorm", "no_txtnorm")}


def axis(name: str, number: int, less: int = 0) -> Size:
    """The length of one axis of a weight, less a number."""

    def size(found: Mapping[str, Tensor]) -> int | None:
        return found[name].shape[number] - less if name in found and found[name].dim() > number else None

    return size


def ratio(name: str) -> Size:
    """How many times wider than high a weight is."""

    def size(found: Mapping[str, Tensor]) -> int | None:
        if name not in found or found[name].dim() != 2:
            return None
        high, wide = found[name].shape
        return wide // high if high else None

    return size


def numbered(beginning: str) -> Size:
    """How many different numbers follow in the names that begin so."""
    pattern = re.compile(re.escape(beginning) + r"(\d+)\.")

    def size(found: Mapping[str, Tensor]) -> int | None:
        return len({match[1] for match in map(pattern.match, found) if match}) or None

    return size
