"""How one released name and value become ours, and back: the vocabulary in which layouts are written."""

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
    """

    released: str
    ours: tuple[str, ...]
    first: int = 0
    transposed: bool = False

    def to_ours(self, name: str) -> tuple[str, ...] | None:
        """Our names for a released one; None where the rule is not about it."""
        return self._follow(self._patterns[0], name, self.ours, -self.first)

    def to_released(self, name: str) -> str | None:
        """The released name for ours; None where the rule is not about it."""
        for pattern in self._patterns[1:]:
            if found := self._follow(pattern, name, (self.released,), self.first):
                return found[0]
        return None

    def split(self, value: Tensor) -> Sequence[Tensor]:
        """A released value as ours, in the order of `ours`."""
        if self.transposed and value.dim() == 2:
            value = value.T
        return value.chunk(len(self.ours)) if value.dim() else [value] * len(self.ours)

    def join(self, values: Mapping[str, Tensor], name: str) -> Tensor:
        """The released value of entry `name`. values: all of our entries"""
        ours = self.to_ours(name)
        assert ours is not None
        value = values[ours[0]] if len(ours) == 1 else torch.cat([values[one] for one in ours])
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
