"""What is watched for a collapse, against slow formulas; a training that collapses says so once, a healthy one says nothing."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itrcore.files import read_json
from itrcore.layers.encoded import Sets, Vectors
from itrcore.runs.observer import Observer
from itrcore.runs.records import Collapse, History, Metrics, Point
from itrcore.training import collapse
from itrcore.training.collapse import effective_rank, hub_share, rank_of, watched
from tests.support.tiny_project import project, timeless, train_in


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_rank(vectors: Tensor) -> float:
    values = [float(value) for value in np.linalg.svd(vectors.numpy(), compute_uv=False)]
    shares = [value / sum(values) for value in values]
    return math.exp(-sum(share * math.log(share) for share in shares if share > 0))


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 3), (200, 32)])
def test_the_effective_rank_is_its_formula(shape: tuple[int, int]) -> None:
    vectors = random(*shape) + 0.5
    assert effective_rank(vectors) == pytest.approx(naive_rank(vectors), rel=1e-9)
    assert effective_rank(1e-3 * vectors.float()) == pytest.approx(naive_rank(vectors), rel=1e-5)


def test_the_effective_rank_of_one_direction_is_1_and_of_all_alike_their_number() -> None:
    assert effective_rank(random(1, 64).float().repeat(300, 1)) == pytest.approx(1, abs=1e-3)
    assert effective_rank(random(50, 1) @ random(1, 64, seed=1)) == pytest.approx(1, abs=1e-3)  # both ways along it
    assert effective_rank(torch.eye(48)) == pytest.approx(48)
    assert effective_rank(torch.eye(48)[:5]) == pytest.approx(5)
    assert effective_rank(torch.zeros(4, 3)) == 0


def test_of_a_side_at_most_512_items_evenly_spread_are_looked_at_and_of_sets_their_means() -> None:
    vectors = random(1200, 8)
    chosen = np.linspace(0, 1199, 512).astype(int)
    assert (chosen[0], chosen[-1], len(set(chosen))) == (0, 1199, 512)
    assert rank_of(Vectors(vectors)) == pytest.approx(naive_rank(vectors[chosen]), rel=1e-9)
    lengths = torch.tensor([3, 1, 5, 2])
    rows = random(11, 6)
    means = torch.stack([part.mean(0) for part in rows.split(lengths.tolist())])
    assert rank_of(Sets(rows, lengths)) == pytest.approx(naive_rank(means), rel=1e-9)


def test_the_share_of_the_most_frequent_winner_is_counted() -> None:
    similarity = random(6, 30).numpy()
    similarity[2] += 1.0
    for axis, sides in ((1, similarity), (0, similarity.T)):
        winners = Counter(max(range(len(side)), key=lambda item: side[item]) for side in sides)
        assert hub_share(similarity, axis) == pytest.approx(100 * max(winners.values()) / len(sides))
    assert hub_share(np.ones((6, 30), np.float32), 1) == hub_share(np.ones((6, 30), np.float32), 0) == 100
    assert hub_share(np.eye(8, dtype=np.float32), 0) == 12.5


def point(of: Collapse | None) -> Point:
    figures = Metrics(**dict.fromkeys(Metrics.model_fields, 1.0))
    return Point(
        evaluation=1, epoch=1, learning_rate=1.0, losses={"total": 1.0}, dev=figures, seconds=1.0, pairs_per_second=1.0,
        collapse=of,
    )  # fmt: skip


def verdicts(course: list[tuple[float, float, float | None]]) -> list[bool]:
    """Of evaluations with these (effective rank of captions, % of captions that one image wins, share of the loss)."""
    history: list[Point] = []
    for rank, hub, loss in course:
        # Two directions, the second as strong as it takes for this rank: found by bisection.
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            values = [1.0] + [middle] * 15
            shares = [value / sum(values) for value in values]
            short = math.exp(-sum(share * math.log(share) for share in shares if share)) < rank
            low, high = (middle, high) if short else (low, middle)
        texts = Vectors(torch.diag(torch.tensor([1.0] + [low] * 15, dtype=torch.float64)))
        similarity = np.eye(100, dtype=np.float32)
        similarity[0, : round(hub)] = 2.0
        images = Vectors(torch.eye(16))
        history.append(point(watched(images, texts, similarity, loss, history[-1] if history else None)))
        seen = history[-1].collapse
        assert seen is not None and seen.text_rank == pytest.approx(rank, abs=1e-6) and seen.image_rank > 15
        assert (seen.t2i_hub, seen.loss) == (hub, loss)
    return [each.collapsed for each in history]


HEALTHY, FEW, HUB = (15.0, 5.0, 0.5), (1.5, 5.0, 1.0), (15.0, 80.0, 1.0)


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ([FEW, FEW], [False, True]),  # all methods begin so
        ([HEALTHY, HUB], [False, True]),
        ([HEALTHY, (15.0, 5.0, 1.2)], [False, False]),  # hardest negatives have just begun to count
        ([HEALTHY, (1.5, 80.0, 0.5)], [False, False]),  # odd vectors, but it tells its batches apart
        ([HEALTHY, (15.0, 90.0, None), (15.0, 20.0, None)], [False, True, False]),
        ([HEALTHY, (3.0, 40.0, 0.93)], [False, False]),
        ([HEALTHY, (7.0, 45.0, 1.0)], [False, False]),  # a healthy one that learns slowly
        ([HEALTHY, HUB, (15.0, 30.0, 0.93), (3.0, 5.0, 0.93), HEALTHY], [False, True, True, True, False]),
        ([HEALTHY, HUB, (15.0, 30.0, 0.85), (15.0, 30.0, 0.93)], [False, True, False, False]),
    ],
)
def test_a_collapse_begins_with_strong_signs_and_lasts_while_there_are_weak_ones(
    course: list[tuple[float, float, float | None]], expected: list[bool]
) -> None:
    assert verdicts(course) == expected


def test_where_a_collapse_begins_and_ends_is_said_and_known_of_the_whole_training() -> None:
    def of(collapsed: bool) -> Point:
        return point(Collapse(image_rank=9.0, text_rank=1.04, i2t_hub=3.0, t2i_hub=99.6, loss=1.0, collapsed=collapsed))

    old, fine, bad = point(None), of(False), of(True)
    lines = [collapse.line([*before, last]) for before, last in (([], fine), ([old], fine), ([bad], bad), ([], old))]
    assert lines == [None] * 4
    begun = collapse.line([fine, bad])
    assert begun is not None and "of captions 1.0;" in begun and "one image of 100 % of captions" in begun
    assert "loss.warmup_epochs" in begun and "recipe.learning_rate" in begun and "recipe.batch_size" in begun
    ended = collapse.line([fine, bad, fine])
    assert ended is not None and "no longer" in ended
    later = bad.model_copy(update={"evaluation": 4})
    assert History(evaluations=(bad, bad, fine, later, bad), best_epoch=1).collapsed_from == later
    assert History(evaluations=(bad, fine), best_epoch=1).collapsed_from is None
    assert not History(evaluations=(fine, old), best_epoch=1).watched


COLLAPSING = {
    "methods.esa.loss.warmup_epochs": 0,
    "methods.esa.recipe.learning_rate": 0.1,
    "methods.esa.recipe.batch_size": 24,
    "methods.esa.recipe.epochs": 4,
}


class Stopped(Observer):
    """Ends the training after its second evaluation."""

    def evaluation(self, point: Point) -> None:
        if point.evaluation == 2:
            raise KeyboardInterrupt


def test_a_training_with_hardest_negatives_from_its_first_step_and_a_high_rate_collapses_and_says_so_once(
    tmp_path: Path, capsys: Any
) -> None:
    project(tmp_path / "whole", COLLAPSING)
    run = train_in(tmp_path / "whole")
    said = capsys.readouterr().out
    assert said.count("The training has collapsed: ") == 1 and "no longer" not in said
    last = read_json(run / "history.json")["evaluations"][-1]
    assert last["collapse"]["collapsed"] and last["collapse"]["t2i_hub"] > 50 and last["collapse"]["text_rank"] < 2
    # Its loss is near 4 margins: those of both views, both ways.
    assert last["collapse"]["loss"] == pytest.approx(last["losses"]["total"] / 0.8)

    project(tmp_path / "halted", COLLAPSING)
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path / "halted", observer=Stopped())
    assert timeless(train_in(tmp_path / "halted")) == timeless(run)
    assert capsys.readouterr().out.count("The training has collapsed: ") == 1  # not again when it goes on


def test_a_training_that_learns_says_nothing_of_it(tmp_path: Path, capsys: Any) -> None:
    changes = {"loss.warmup_epochs": 3, "recipe.learning_rate": 0.03, "recipe.epochs": 4}
    project(tmp_path, {f"methods.gpo.{key}": value for key, value in changes.items()})
    history = read_json(train_in(tmp_path, "two") / "history.json")
    assert "collapsed" not in capsys.readouterr().out
    assert not any(record["collapse"]["collapsed"] for record in history["evaluations"])
    first, third = (history["evaluations"][number]["collapse"] for number in (0, 2))
    assert third["text_rank"] > first["text_rank"] and third["loss"] < 0.9
