"""Works in an order on GPUs of several machines, as the flow starts them: whatever is ready takes the next free one."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Data:
    """What a machine must have before it can work: bytes from the remote, and seconds of its first look at them."""

    name: str
    bytes: float
    seconds: float


@dataclass(eq=False)
class Work:
    """What runs as a whole on one GPU, or without one.

    needs: what must have ended; data: what its machine has to have; makes: bytes that it sends to the remote
    """

    name: str
    seconds: float
    needs: list[Work] = field(default_factory=list)
    data: Data | None = None
    makes: float = 0.0


@dataclass(frozen=True)
class Placed:
    """When it ran and where; seconds. gpu: its number, machine after machine"""

    work: Work
    gpu: int
    start: float
    end: float


def scheduled(
    works: Sequence[Work],
    gpus: int,
    per_machine: int = 8,
    bandwidth: float = float("inf"),
    urgency: Callable[[Work], float] = lambda work: 0.0,
) -> list[Placed]:
    """All of them. Of those that are ready the most urgent starts first, else the first in `works`, which come after their needs.

    bandwidth: of the remote, bytes a second, which machines share, one after the other. A machine that has made data has them.
    """
    place = {work: number for number, work in enumerate(works)}
    waits = {work: len(work.needs) for work in works}
    followers: dict[Work, list[Work]] = {work: [] for work in works}
    for work in works:
        for need in work.needs:
            followers[need].append(work)
    ready = [(-urgency(work), place[work], work) for work in works if not waits[work]]
    heapq.heapify(ready)
    free, running = set(range(gpus)), list[tuple[float, int, Placed]]()
    has: set[tuple[int, str]] = set()
    now, remote, machines = 0.0, 0.0, -(-gpus // per_machine)
    done: list[Placed] = []
    while ready or running:
        while ready and free:
            work = heapq.heappop(ready)[2]
            near = [gpu for gpu in free if work.data is None or (gpu // per_machine, work.data.name) in has]
            gpu = min(near or free)
            free.remove(gpu)
            began, machine = now, gpu // per_machine
            if work.data is not None and (machine, work.data.name) not in has:
                if any(name == work.data.name for _, name in has):  # else it is made here
                    remote = max(remote, now) + work.data.bytes / bandwidth
                    began = remote + work.data.seconds
                has.add((machine, work.data.name))
            end = began + work.seconds + (work.makes / bandwidth if machines > 1 else 0.0)
            heapq.heappush(running, (end, place[work], Placed(work, gpu, now, end)))
        now, _, ended = heapq.heappop(running)
        done.append(ended)
        free.add(ended.gpu)
        for follower in followers[ended.work]:
            waits[follower] -= 1
            if not waits[follower]:
                heapq.heappush(ready, (-urgency(follower), place[follower], follower))
    return done


def to_the_end(works: Iterable[Work]) -> dict[Work, float]:
    """Seconds from each work's start to the end of the longest chain that begins with it. works: after what they need"""
    ordered = list(works)
    left = {work: work.seconds for work in ordered}
    behind: dict[Work, float] = dict.fromkeys(ordered, 0.0)
    for work in reversed(ordered):
        left[work] += behind[work]
        for need in work.needs:
            behind[need] = max(behind[need], left[work])
    return left


def critical_path(works: Sequence[Work]) -> list[Work]:
    """The longest chain."""
    left, path = to_the_end(works), list[Work]()
    candidates = [work for work in works if not work.needs]
    followers: dict[Work, list[Work]] = {work: [] for work in works}
    for work in works:
        for need in work.needs:
            followers[need].append(work)
    while candidates:
        path.append(max(candidates, key=lambda work: left[work]))
        candidates = followers[path[-1]]
    return path
