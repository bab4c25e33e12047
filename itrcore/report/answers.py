"""What a data set's leaderboard says first: which row is best, by how much beyond noise, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from itrcore.protocols.uncertainty import ALPHA
from itrcore.report.leaderboard import Row
from itrcore.report.noise import TO_BEST
from itrcore.report.results import Results
from itrcore.runs.records import Evaluation


@dataclass(frozen=True)
class Cost:
    """Means over a row's seeds; an ensemble's are the sums of its members'. What is not known is None.

    caption_ms: milliseconds to encode a caption and search a gallery with it; measured: or else extrapolated
    """

    parameters: float
    train_seconds: float | None
    caption_ms: float | None
    measured: bool


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


def answer(results: Results, data: str, board: Sequence[Row], gallery: int) -> Answer:
    """The answer of one data set's rows, at least one, with the figures of the whole split. gallery: images that are searched"""
    best = next(row for row in board if TO_BEST not in row.values)
    others = [row for row in board if row is not best]
    near = tuple(row for row in others if row.noise.near_best())
    apart = [row for row in others if row.noise.p["rsum"] < ALPHA]
    known = {entry.name: entry.evaluation for entry in results.of(data)}
    cost = {row.name: _cost(row, known, gallery) for row in board}

    def price(row: Row) -> tuple[bool, float, float]:
        of_row = cost[row.name]
        return of_row.caption_ms is None, of_row.caption_ms or 0.0, of_row.parameters

    return Answer(best, apart[0] if apart else None, near, min((best, *near), key=price), cost)


def _cost(row: Row, known: Mapping[str, Evaluation], gallery: int) -> Cost:
    # The models behind each seed; the members of an ensemble need not be configured.
    models = [known.get(name) for entry in row.entries for name in entry.evaluation.members or [entry.name]]
    trained = [None if model is None else model.train_seconds for model in models]
    search = f"search_{gallery}_ms"
    times = [row.values.get(key) for key in ("encode_caption_ms", search)]
    return Cost(
        row.values["parameters"].mean,
        None if None in trained else sum(filter(None, trained)) / len(row.entries),
        None if None in times else sum(time.mean for time in times if time is not None),
        search not in row.extrapolated,
    )
