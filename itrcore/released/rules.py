"""How a released name and value become ours, and back: the rules in which layouts are written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """What a released entry is here.

    released: its name, or the beginning of its name where it ends in a dot; `#` stands for a number
    ours: the same here; several where the released entry holds ours one after the other along its first axis
    first: the released number of our 0
    transposed: a matrix whose rows are our columns
    pointwise: of a convolution one wide, whose matrix has a last axis of 1
    masked: an embedding, which has a last row for the mask token here and none there
    """

    released: str
    ours: tuple[str, ...]
    first: int = 0
    transposed: bool = False
    pointwise: bool = False
    masked: bool = False

    @property
    def change(self) -> str:
        """What was done to a released value before its shape is shown, for people."""
        if self.masked:
            return ", with a row for the mask token"
        return ", transposed" if self.transposed else ""

    def to_ours(self, name: str) -> tuple[str, ...] | None:
        """Our names for a released one; None where the rule does not apply to it."""
        return self._follow(self._patterns[0], name, self.ours, -self.first)

    def to_released(self, name: str) -> str | None:
        """The released name for ours; None where the rule does not apply to it."""
        for pattern in self._patterns[1:]:
            if names := self._follow(pattern, name, (self.released,), self.first):
                return names[0]
        return None

    def split(self, value: Tensor) -> Sequence[Tensor]:
        """A released value as ours, one for each name in `ours`.

        First, where the rule says so, (a, b) is transposed to (b, a), the last axis of (a, b, 1) is removed, and (n, d)
        becomes (n + 1, d); then the first axis is cut into equal pieces. A value of another shape stays as it is.
        """
        if self.transposed and value.dim() == 2:
            value = value.T
        if self.pointwise and value.dim() == 3 and value.shape[-1] == 1:
            value = value[..., 0]
        if self.masked and value.dim() == 2:
            value = torch.cat([value, value.new_zeros(1, value.shape[1])])
        return value.chunk(len(self.ours)) if value.dim() else [value] * len(self.ours)

    def join(self, values: Mapping[str, Tensor], name: str) -> Tensor:
        """The released value of entry `name`, to which the rule applies. values: all of our entries"""
        pieces = [values[ours] for ours in self.to_ours(name) or ()]
        value = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        if self.pointwise and value.dim() == 2:
            value = value[..., None]
        if self.masked:
            value = value[:-1].clone()  # a view would be saved with all that it is a view of
        return value.T.contiguous() if self.transposed else value

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        return [
            re.compile(re.escape(name).replace(r"\#", r"(\d+)") + ("(.+)" if name.endswith(".") else ""))
            for name in (self.released, *self.ours)
        ]

    def _follow(
        self, pattern: re.Pattern[str], name: str, results: Sequence[str], shift: int
    ) -> tuple[str, ...] | None:
        match = pattern.fullmatch(name)
        if match is None:
            return None
        rest = match.groups()[-1] if pattern.pattern.endswith("(.+)") else ""
        if "#" in self.released:
            number = int(match[1]) + shift
            return tuple(result.replace("#", str(number)) + rest for result in results) if number >= 0 else None
        return tuple(result + rest for result in results)


def plain(names: Mapping[str, str]) -> tuple[Rule, ...]:
    """Rules for entries that differ by name alone, from released names to ours."""
    return tuple(Rule(released, (ours,)) for released, ours in names.items())


@dataclass(frozen=True)
class Places:
    """Batch normalisation with weights for each of a fixed number of places, such as regions.

    Ours may have a single weight: that is the released form in which all places are alike.
    beginning: of its entries' names; number: of places
    """

    beginning: str
    number: int

    def gathered(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Released entries; where all places are alike, with (1,) weights in place of (n_places,)."""
        rows = self._rows(entries)
        alike = rows and all(len(row) and bool((row == row[0]).all()) for row in rows.values())
        return {**entries, **({name: row[:1] for name, row in rows.items()} if alike else {})}

    def spread(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Entries to release: (number,) weights in place of (1,)."""
        rows = self._rows(entries)
        return {**entries, **{name: row.repeat(self.number) for name, row in rows.items() if len(row) == 1}}

    def _rows(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: row for name, row in entries.items() if name.startswith(self.beginning) and row.dim() == 1}
