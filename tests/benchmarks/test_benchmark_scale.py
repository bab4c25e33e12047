"""The simulation: its schedule against the best one of tiny graphs, the real graph's tasks, a method's operations."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from benchmarks.scale.__main__ import measured_steps
from benchmarks.scale.schedule import Data, Placed, Work, critical_path, scheduled, to_the_end
from benchmarks.scale.stages import SEEDS, experiment
from benchmarks.scale.steps import CARDS, rates
from benchmarks.untrained import settings_of


def graph(seed: int) -> list[Work]:
    drawn = random.Random(seed)
    works: list[Work] = []
    for number in range(6):
        needs = [work for work in works if drawn.random() < 0.3]
        works.append(Work(str(number), float(drawn.randint(1, 5)), needs))
    return works


def best(works: list[Work], gpus: int) -> float:
    """The shortest end of all schedules: at every moment any of the ready works may start, or none."""

    @cache
    def after(done: frozenset[Work], running: frozenset[tuple[float, Work]]) -> float:
        if len(done) == len(works):
            return 0.0
        begun = done | {work for _, work in running}
        ready = [work for work in works if work not in begun and done.issuperset(work.needs)]
        ends = [after(done, running | {(work.seconds, work)}) for work in ready if len(running) < gpus]
        if running:
            step = min(left for left, _ in running)
            ended = {work for left, work in running if left == step}
            going = frozenset((left - step, work) for left, work in running if left > step)
            ends.append(step + after(done | ended, going))
        return min(ends)

    return after(frozenset(), frozenset())


def check(works: list[Work], placed: list[Placed]) -> float:
    """Everything ran once, after what it needs, and no GPU had two at once; when it ended."""
    assert sorted(each.work.name for each in placed) == sorted(work.name for work in works)
    ends = {each.work: each.end for each in placed}
    assert all(each.start >= ends[need] for each in placed for need in each.work.needs)
    for gpu in {each.gpu for each in placed}:
        own = sorted((each.start, each.end) for each in placed if each.gpu == gpu)
        assert all(before[1] <= after[0] for before, after in pairwise(own))
    return max(ends.values())


@pytest.mark.parametrize("gpus", [1, 2, 3])
def test_no_schedule_is_wrong_or_better_than_the_best_and_none_is_twice_as_long(gpus: int) -> None:
    for seed in range(12):
        works = graph(seed)
        left, least = to_the_end(works), best(works, gpus)
        chain = sum(work.seconds for work in critical_path(works))
        assert chain == max(left.values()) == best(works, len(works))
        for urgency in (lambda _: 0.0, left.__getitem__):
            end = check(works, scheduled(works, gpus, urgency=urgency))
            assert least <= end <= (2 - 1 / gpus) * least + 1e-9  # Graham's bound of every list schedule
            assert end >= max(chain, sum(work.seconds for work in works) / gpus)
        assert check(works, scheduled(works, len(works))) == chain


def test_a_second_machine_waits_for_data_and_results_cross_the_remote() -> None:
    data = Data("f30k", bytes=100.0, seconds=3.0)
    made = Work("prepare", 10.0, [], data)
    runs = [Work(str(number), 20.0, [made], data, makes=10.0) for number in range(3)]
    works = [made, *runs]
    end = check(works, scheduled(works, 4, per_machine=2, bandwidth=10.0))
    # 10 to prepare; the third run's machine gets 100 bytes in 10 s and looks at them for 3; then 20, and 1 to send the result.
    assert end == 10 + 10 + 3 + 20 + 1
    assert check(works, scheduled(works, 4, per_machine=4, bandwidth=10.0)) == 30  # one machine sends nothing


def test_the_flow_s_tasks_of_all_seeds() -> None:
    params, tasks = experiment("f30k")
    methods = {run.method for run in params.runs.values()}
    assert len(params.runs) == SEEDS * len(methods)
    titles = [task.title for task in tasks]
    assert set(params.runs) <= set(titles) and titles[-1] == "report"
    for task in tasks:
        assert all(titles.index(before.title) < titles.index(task.title) for before in task.needs)


def test_a_step_has_its_products_and_half_a_card_takes_twice_as_long() -> None:
    settings, width = settings_of("vse_pp_bigru"), 256
    card = CARDS["h100"]
    half = replace(
        card,
        bf16=card.bf16 / 2,
        float32=card.float32 / 2,
        bytes=card.bytes / 2,
        kernel=card.kernel * 2,
        word=card.word * 2,
    )
    (fast, operations), (slow, same) = (rates(settings, each, width=width) for each in (card, half))
    projection = 2 * settings.recipe.batch_size * 36 * width * settings.model.dim
    assert operations == same > 2 * projection  # forward, and for the weights backward
    for part in ("step", "image", "caption", "pair"):
        assert getattr(slow, part) == pytest.approx(2 * getattr(fast, part))


def test_measured_steps_take_the_place_of_estimates() -> None:
    ways = {
        "bf16 device": {"steps_per_s": 50.0},
        "bf16 host": {"steps_per_s": 40.0},
        "float32 host": "failed: no memory",
    }
    value = {"sections": {"b": {"esa_bigru": {"ways": ways}, "lhsc_bigru": "skipped: no time left"}}}
    assert measured_steps(value) == {"esa_bigru": 50.0}
