"""Which rows of a leaderboard differ by more than noise: intervals over images, and a test of each row against the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from itrcore.protocols.uncertainty import ALPHA, FIGURES, LEVEL, Outcomes, intervals, p_values
from itrcore.report.ranked import images_of_captions, read_ranks
from itrcore.report.results import Results

NEAR = "not told apart from the best"
MARK = "≈"
SHOWN = ("rsum", "i2t_r1", "t2i_r1")  # whose intervals the pages show
TO_BEST = "to_best"  # how far a row is from the one with the highest rsum, in rsum: negative


@dataclass(frozen=True)
class Noise:
    """How sure a row's figures are, each over the test's images.

    interval: name of `FIGURES` → 95 % bootstrap interval; `TO_BEST` → that of the difference, of all rows but the best
    p: the same → p of the paired permutation test against the row that is best in this figure, which has none itself
    Of a row of several seeds both are of the mean of its seeds, image by image.
    """

    interval: Mapping[str, tuple[float, float]]
    p: Mapping[str, float]

    def near_best(self, key: str = "rsum") -> bool:
        """Whether the row is not told apart from another one that is the best in this figure."""
        return self.p.get(key, 0.0) >= ALPHA


@lru_cache(maxsize=16)  # the report's pages and files all ask for it
def noise(results: Results, data: str, groups: tuple[tuple[str, ...], ...]) -> tuple[Noise, ...]:
    """For each group of names of entries, one row's, in order; of equally good ones the first counts as the best.

    `DataError` where the ranks or the caption table are missing, damaged, or do not fit each other.
    """
    entries = results.of(data)
    image_of = images_of_captions(results.root, entries[0].data)
    known = {entry.name: entry.evaluation for entry in entries}
    outcomes = {
        name: Outcomes.of(read_ranks(results.root, evaluation, image_of), image_of)
        for name, evaluation in known.items()
    }
    board = [Outcomes.mean([outcomes[name] for name in group]) for group in groups]
    figures = np.array([list(each.figures().values()) for each in board]).round(9)  # so that equal ones are
    best = dict(zip(FIGURES, figures.argmax(axis=0).tolist(), strict=True))
    pairs = [(number, other) for number in range(len(board)) for other in set(best.values()) - {number}]
    p = dict(zip(pairs, p_values([board[a] - board[b] for a, b in pairs]), strict=True)) if pairs else {}
    spans = intervals([*board, *(each - board[best["rsum"]] for each in board)])
    return tuple(
        Noise(
            spans[number] | ({TO_BEST: spans[len(board) + number]["rsum"]} if number != best["rsum"] else {}),
            {key: p[number, other][key] for key, other in best.items() if other != number},
        )
        for number in range(len(board))
    )


def legend(several_seeds: bool, near: bool, interval: bool) -> list[str]:
    """What ±, intervals and the mark mean. several_seeds, near: whether a row has any, is marked; interval: is shown."""
    lines = ["±: standard deviation over seeds"] if several_seeds else []
    if interval:
        of_mean = ", of the mean of the seeds" if several_seeds else ""
        lines.append(f"{LEVEL} %: bootstrap interval over the test's images{of_mean}")
    if near:
        means = "; of several seeds, their mean for each image is compared" if several_seeds else ""
        lines.append(f"{MARK} {NEAR}: in rsum, p ≥ {ALPHA} in a paired permutation test over images{means}")
    return lines
