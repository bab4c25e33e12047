"""The captions of a split as tokens, and what training views make of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from itrcore.data.feeding.batches import TextBatch
from itrcore.data.text.tokens import TokenIds, Tokenised
from itrcore.settings.methods import TokenViewSettings


@dataclass(frozen=True)
class TokenTable:
    """Flat, as millions of small arrays would take several times the memory.

    ids: (n_tokens,) int32; words: (n_tokens,) int32, see `Tokenised`; starts: (n_captions + 1,) where each caption starts
    states: (n_tokens, d) what a frozen text encoder makes of each token, where that is known beforehand
    """

    ids: np.ndarray
    words: np.ndarray
    starts: np.ndarray
    states: Tensor | None = None

    @classmethod
    def of(cls, captions: Iterable[Tokenised]) -> TokenTable:
        """From the tokens of each caption in turn."""
        ids, words, starts = array("i"), array("i"), array("q", [0])
        for caption in captions:
            ids.extend(caption.ids)
            words.extend(caption.words)
            starts.append(len(ids))
        return cls(np.array(ids, np.int32), np.array(words, np.int32), np.array(starts, np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(n_captions,) tokens of each caption."""
        return np.diff(self.starts)

    def ids_of(self, row: int) -> np.ndarray:
        """(length,) token ids of a caption."""
        return self.ids[self.starts[row] : self.starts[row + 1]]

    def words_of(self, row: int) -> np.ndarray:
        """(length,) the word of each of a caption's tokens, -1 for special tokens."""
        return self.words[self.starts[row] : self.starts[row + 1]]

    def first(self, captions: int) -> TokenTable:
        """The table of the first captions. captions: how many"""
        end = self.starts[captions]
        states = None if self.states is None else self.states[:end]
        return TokenTable(self.ids[:end], self.words[:end], self.starts[: captions + 1], states)

    def batch(self, rows: Sequence[int] | np.ndarray) -> TextBatch:
        """The captions of these rows, padded to the longest of them."""
        places = [np.arange(self.starts[row], self.starts[row + 1]) for row in rows]
        return self._batch([self.ids[place] for place in places], places)

    def touched(
        self, rows: np.ndarray, settings: TokenViewSettings, known: TokenIds, rng: np.random.Generator
    ) -> TextBatch:
        """The same, changed by `touch_tokens`. With `states` words may only be removed."""
        return self._batch(*touch_tokens(self, rows, settings, known, rng))

    def _batch(self, ids: Sequence[np.ndarray], places: Sequence[np.ndarray]) -> TextBatch:
        if self.states is None:
            return TextBatch.pad(ids)
        states = pad_sequence([self.states[torch.from_numpy(place)] for place in places], batch_first=True)
        return replace(TextBatch.pad(ids), states=states)


def touch_tokens(
    table: TokenTable, rows: np.ndarray, settings: TokenViewSettings, known: TokenIds, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The given captions with words masked, replaced or removed at random; special tokens stay.

    A word's pieces share its fate; of a replaced word each piece is replaced by a random one of its own.
    Returns the ids of each caption, (length,), and the places in the table that these tokens come from.
    """
    places = np.concatenate([np.arange(table.starts[row], table.starts[row + 1]) for row in rows])
    lengths = table.lengths[rows]
    tokens, words = table.ids[places], table.words[places]
    ends = lengths.cumsum()
    # A special token counts as a word here, though it is never touched; so does each caption's first token.
    begins = np.r_[True, words[1:] != words[:-1]] | (words < 0)
    begins[ends - lengths] = True
    unit = begins.cumsum() - 1
    touched = (rng.random(unit[-1] + 1) < settings.touch)[unit] & (words >= 0)
    kind = rng.random(unit[-1] + 1)[unit]
    masked = touched & (kind < settings.mask)
    replaced = touched & ~masked & (kind < settings.mask + settings.random)
    removed = touched & ~masked & ~replaced
    tokens[masked] = known.mask
    tokens[replaced] = known.replacements[rng.integers(0, len(known.replacements), int(replaced.sum()))]
    owner = np.repeat(np.arange(len(rows)), lengths)
    ends = np.bincount(owner[~removed], minlength=len(rows)).cumsum()[:-1]
    return np.split(tokens[~removed], ends), np.split(places[~removed], ends)
