"""Which rows of a leaderboard differ by more than noise: intervals over images, and a test of each row against the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from itrcore.protocols import contract
from itrcore.protocols.uncertainty import ALPHA, LEVEL, Outcomes, intervals, p_values
from itrcore.registry import WHOLE_SPLIT
from itrcore.report.ranked import images_of_captions, read_outcomes, read_ranks
from itrcore.report.results import Results
from itrcore.runs.records import Evaluation

NEAR = "not told apart from the best"
MARK = "≈"
# Whose intervals the pages show.
SHOWN = ("rsum", "mean", *(f"{side}_{key}" for side in ("i2t", "t2i", "i2i", "t2t") for key in ("r1", "map_at_r")))
TO_BEST = "to_best"  # how far a row is from the one with the highest rsum, in rsum: negative


@dataclass(frozen=True)
class Noise:
    """How sure a row's figures are, each over the test's images.

    interval: figure → 95 % bootstrap interval; `TO_BEST` → that of the difference, of all rows but the best
    p: the same → p of the paired permutation test against the row that is best in this figure, which has none itself
    Of a row of several seeds both are of the mean of its seeds, image by image.
    """

    interval: Mapping[str, tuple[float, float]]
    p: Mapping[str, float]

    def near_best(self, key: str = "rsum") -> bool:
        """Whether the row is not told apart from another one that is the best in this figure."""
        return self.p.get(key, 0.0) >= ALPHA


@lru_cache(maxsize=64)  # the report's pages and files all ask for it
def noise(
    results: Results, data: str, groups: tuple[tuple[str, ...], ...], protocol: str = WHOLE_SPLIT
) -> tuple[Noise, ...]:
    """For each group of names of entries, one row's, in order; of equally good ones the first counts as the best.

    protocol: by which; of its figures those that are shares of queries, or sums of such, have intervals and p
    `DataError` where ranks, outcomes or the caption table are missing, damaged, or do not fit each other.
    """
    entries = results.of(data)
    image_of = images_of_captions(results.root, entries[0].data)

    def outcomes(evaluation: Evaluation) -> Outcomes | None:
        if protocol == WHOLE_SPLIT:
            return Outcomes.of(read_ranks(results.root, evaluation, image_of), image_of)
        return read_outcomes(results.root, evaluation, protocol, int(image_of[-1]) + 1)

    known = {entry.name: outcomes(entry.evaluation) for entry in entries}
    found = [Noise({}, {}) for _ in groups]
    board = {number: _mean([known[name] for name in group]) for number, group in enumerate(groups)}
    rows = {number: each for number, each in board.items() if each is not None}
    if not rows or len({each.keys for each in rows.values()}) > 1:
        return tuple(found)
    keys = next(iter(rows.values())).keys
    lowest = {figure.key for figure in contract.protocol(protocol).figures if figure.kind != "percent"}
    signs = np.array([-1.0 if key in lowest else 1.0 for key in keys])
    figures = signs * np.array([list(each.figures().values()) for each in rows.values()]).round(
        9
    )  # so that equal ones are
    numbers = list(rows)
    best = {key: numbers[place] for key, place in zip(keys, figures.argmax(axis=0).tolist(), strict=True)}
    pairs = [(number, other) for number in rows for other in set(best.values()) - {number}]
    p = dict(zip(pairs, p_values([rows[a] - rows[b] for a, b in pairs]), strict=True)) if pairs else {}
    leading = best["rsum"] if protocol == WHOLE_SPLIT else None
    behind = [] if leading is None else [each - rows[leading] for each in rows.values()]
    spans = intervals([*rows.values(), *behind])
    for place, number in enumerate(rows):
        interval = dict(spans[place])
        if leading not in (None, number):
            interval[TO_BEST] = spans[len(rows) + place]["rsum"]
        found[number] = Noise(interval, {key: p[number, other][key] for key, other in best.items() if other != number})
    return tuple(found)


def _mean(outcomes: Sequence[Outcomes | None]) -> Outcomes | None:
    known = [each for each in outcomes if each is not None]
    return Outcomes.mean(known) if len(known) == len(outcomes) else None


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
