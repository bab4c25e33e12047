"""Captions of random tokens, as long as Flickr30K's or as others are: to measure times without data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itrcore.data.text.tokens import TokenIds, Tokenised

# How many of Flickr30K's 145,000 training captions have 0, 1, 2, … tokens, the first and the last special one included.
# As words (nltk, <start> and <end>), 15.4 on average:
# fmt: off
WORDS = (
    0, 0, 0, 0, 11, 47, 255, 1005, 3256, 7173, 10087, 11989, 13522, 14056, 13223, 11760, 10345, 9089, 7405, 6075, 4867,
    4024, 3243, 2544, 2173, 1618, 1299, 1074, 920, 716, 592, 440, 362, 336, 255, 206, 153, 163, 120, 86, 90, 59, 57, 50,
    33, 41, 23, 18, 21, 12, 6, 16, 7, 15, 11, 8, 3, 7, 6, 5, 2, 4, 2, 1, 0, 0, 2, 1, 1, 2, 0, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    1, 0, 0, 1,
)
# As word pieces (bert-base-uncased, [CLS] and [SEP]), 16.0 on average:
PIECES = (
    0, 0, 0, 0, 9, 31, 181, 780, 2646, 6033, 8882, 10886, 12597, 13268, 12974, 11899, 10753, 9353, 8004, 6664, 5429, 4527,
    3719, 2930, 2495, 1994, 1575, 1263, 1055, 920, 719, 555, 459, 410, 342, 280, 195, 182, 156, 122, 121, 92, 69, 63, 41,
    60, 32, 27, 29, 20, 21, 15, 13, 15, 10, 16, 9, 9, 9, 8, 4, 2, 3, 2, 2, 2, 1, 2, 2, 1, 2, 0, 0, 4, 2, 1, 1, 0, 1, 0, 0,
    0, 1, 0, 0, 0, 1,
)
# fmt: on
F30K_WORDS = 8481  # of SCAN's Flickr30K vocabulary
F30K_IDS = TokenIds(F30K_WORDS + 1, F30K_WORDS, np.arange(4, F30K_WORDS))


def captions(n: int, known: TokenIds, counts: Sequence[int], rng: np.random.Generator) -> list[Tokenised]:
    """n captions of random tokens between two special ones, lengths drawn from `counts`; each token is one word."""
    lengths = rng.choice(len(counts), n, p=np.array(counts) / sum(counts))
    return [
        Tokenised([1, *rng.choice(known.replacements, length - 2).tolist(), 2], [-1, *range(length - 2), -1])
        for length in lengths
    ]
