"""What a data set's leaderboard says first: which row is best, by how much beyond noise, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from itrcore.protocols.uncertainty import ALPHA
from itrcore.report.leaderboard import Row
from itrcore.report.noise import TO_BEST
from itrcore.report.results import Results
from itrcore.runs.records import Evaluation


@dataclass(frozen=True)
class Cost:
    """Means over a row's seeds; an ensemble's are the sums of its members'. What was not measured is None.

    caption_ms: milliseconds to encode a caption and score it with all images
    """

    parameters: float
    train_seconds: float | None
    caption_ms: float | None


@dataclass(frozen=True)
class Answer:
    """ahead_of: the next row that is told apart from the best one; near: those that are not, best first

    cheapest: of the best and those, the one that answers a caption fastest, where that is known
    """

    best: Row
    ahead_of: Row | None
    near: tuple[Row, ...]
    cheapest: Row
    cost: Mapping[str, Cost]  # name of a row → its cost


def answer(results: Results, data: str, board: Sequence[Row]) -> Answer:
    """The answer of one data set's rows, at least one, with the figures of the whole split."""
    best = next(row for row in board if TO_BEST not in row.values)
    others = [row for row in board if row is not best]
    near = tuple(row for row in others if row.noise.near_best())
    apart = [row for row in others if row.noise.p["rsum"] < ALPHA]
    known = {entry.name: entry.evaluation for entry in results.of(data)}
    cost = {row.name: _cost(row, known) for row in board}

    def price(row: Row) -> tuple[bool, float, float]:
        of_row = cost[row.name]
        return of_row.caption_ms is None, of_row.caption_ms or 0.0, of_row.parameters

    return Answer(best, apart[0] if apart else None, near, min((best, *near), key=price), cost)


def _cost(row: Row, known: Mapping[str, Evaluation]) -> Cost:
    seeds = [entry.evaluation for entry in row.entries]
    # The models behind each seed; the members of an ensemble need not be configured.
    models = [[known.get(name) for name in seed.members] or [seed] for seed in seeds]
    return Cost(
        fmean(seed.parameters for seed in seeds),
        _mean(models, lambda model: model.train_seconds),
        _mean(models, _caption_ms),
    )


def _caption_ms(model: Evaluation) -> float | None:
    encode, score = model.encode_caption_ms, model.score_caption_ms
    return None if encode is None or score is None else encode + score


def _mean(models: Sequence[Sequence[Evaluation | None]], cost: Callable[[Evaluation], float | None]) -> float | None:
    """The mean over seeds of the sums over models; None where one is not known."""
    costs = [[None if model is None else cost(model) for model in of_seed] for of_seed in models]
    if any(value is None for of_seed in costs for value in of_seed):
        return None
    return fmean(sum(value for value in of_seed if value is not None) for of_seed in costs)
