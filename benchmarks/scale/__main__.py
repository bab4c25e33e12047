"""The command; see the package."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import benchmarks.scale
from benchmarks.scale.schedule import Work, critical_path, scheduled, to_the_end
from benchmarks.scale.stages import SEEDS, dvc_takes, whole
from benchmarks.scale.steps import CARDS
from itrcore.files import read_json, write_json
from itrcore.terminal import say

GPUS = (1, 2, 4, 8, 16, 32, 64)
_HOUR = 3600.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=benchmarks.scale.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--card", choices=CARDS, default="h100", help="the GPU that is estimated (%(default)s)")
    parser.add_argument("--gpu", type=Path, metavar="FILE", help="what `python -m benchmarks.gpu --json` wrote")
    parser.add_argument("--machine", type=int, default=8, metavar="N", help="GPUs of a machine (%(default)s)")
    parser.add_argument("--gbit", type=float, default=10.0, help="of the remote, a second (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--figure", type=Path, help="draw hours and speed-up into this PNG")
    given = parser.parse_args()
    dvc = dvc_takes()
    steps = {} if given.gpu is None else measured_steps(read_json(given.gpu))
    works, trainings = whole(given.card, dvc, steps, say)
    found = {
        order: {gpus: figures(works, gpus, given.machine, given.gbit, order == "longest first") for gpus in GPUS}
        for order in ("as the flow does", "longest first")
    }
    path = critical_path(works)
    _print(trainings, found, works, path)
    say(
        f"DVC, measured now: {dvc.task:.1f} s for a task and {dvc.target:.2f} s for each target, with two cores' other work."
    )
    value = {
        "card": asdict(CARDS[given.card]),
        "seeds": SEEDS,
        "machine": given.machine,
        "gbit": given.gbit,
        "dvc": asdict(dvc),
        "trainings": {name: {**asdict(each), "seconds": each.seconds} for name, each in trainings.items()},
        "work_hours": sum(work.seconds for work in works) / _HOUR,
        "critical_path": [{"task": work.name, "hours": work.seconds / _HOUR} for work in path],
        "hours": found,
    }
    if given.json:
        write_json(given.json, value)
    if given.figure:
        draw(value, given.figure)
    return 0


def measured_steps(value: dict[str, Any]) -> dict[str, float]:
    """Recipe → steps a second in bf16, from a file of `benchmarks.gpu`."""
    found = {}
    for recipe, of in value["sections"].get("b", {}).items():
        ways = of.get("ways", {}) if isinstance(of, dict) else {}
        speeds = [ways[way]["steps_per_s"] for way in ("bf16 device", "bf16 host") if isinstance(ways.get(way), dict)]
        if speeds:
            found[recipe] = speeds[0]
    return found


def figures(works: list[Work], gpus: int, machine: int, gbit: float, longest_first: bool) -> dict[str, float]:
    """Hours, and the share of the GPUs' time in which they had work."""
    left = to_the_end(works)
    placed = scheduled(
        works, gpus, machine, gbit * 1e9 / 8, (lambda work: left[work]) if longest_first else lambda _: 0.0
    )
    end = max(each.end for each in placed)
    return {"hours": end / _HOUR, "busy": sum(each.end - each.start for each in placed) / end / gpus}


def _print(
    trainings: dict[str, Any], found: dict[str, dict[int, dict[str, float]]], works: list[Work], path: list[Work]
) -> None:
    say(f"{'training':24} {'ms a step':>9} {'steps':>8} {'hours':>6} {'on dev':>7} {'test, s':>8}  step")
    for name, each in trainings.items():
        hours = f"{each.steps / _HOUR:6.2f} {each.dev / _HOUR:7.2f}"
        say(f"{name:24} {each.step * 1e3:9.1f} {each.number:8,} {hours} {each.test:8.1f}  {each.how}")
    say(f"\n{'GPUs':>4}" + "".join(f"   {order:>16}, speed-up, busy" for order in found))
    for gpus in GPUS:
        parts = [(of[gpus]["hours"], of[1]["hours"] / of[gpus]["hours"], of[gpus]["busy"]) for of in found.values()]
        say(f"{gpus:4}" + "".join(f"   {hours:14.1f} h {times:9.1f} {busy:5.0%}" for hours, times, busy in parts))
    total = sum(work.seconds for work in works) / _HOUR
    say(
        f"{len(works)} tasks, {total:.1f} hours of work; the longest chain takes {sum(work.seconds for work in path) / _HOUR:.1f}:"
    )
    for work in path:
        say(f"  {work.seconds / _HOUR:6.2f} h  {work.name}")


def draw(value: dict[str, Any], path: Path) -> None:
    """Hours against GPUs, both orders, with the two bounds: all work shared out evenly, and the longest chain."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), dpi=150)
    chain = sum(each["hours"] for each in value["critical_path"])
    axes.plot(
        GPUS, [value["work_hours"] / gpus for gpus in GPUS], ":", color="0.5", label="all work, shared out evenly"
    )
    axes.axhline(chain, ls="--", color="0.5", label=f"longest chain, {chain:.1f} h")
    for (order, of), marker in zip(value["hours"].items(), "os", strict=True):
        axes.plot(GPUS, [of[gpus]["hours"] for gpus in GPUS], marker=marker, ms=4, label=order)
    axes.set(xscale="log", yscale="log", xlabel="GPUs, eight to a machine", ylabel="hours")
    axes.set_xticks(GPUS, [str(gpus) for gpus in GPUS], minor=False)
    axes.set_xticks([], minor=True)
    hours = (2, 5, 10, 20, 50, 100)
    axes.set_yticks(hours, [str(hour) for hour in hours])
    axes.set_yticks([], minor=True)
    axes.grid(which="major", color="0.9")
    axes.legend(frameon=False)
    axes.set_title(
        f"Every method × Flickr30K, MS-COCO × {value['seeds']} seeds, {value['card']['name']} (estimated)", fontsize=9
    )
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
