"""All that a GPU is needed for, in six minutes: is it right, how fast is it, and how far from what is wanted.

    python -m benchmarks.gpu --json gpu.json
    python -m benchmarks.gpu --only a,c --minutes 3
    python -m benchmarks.gpu --tiny               # every section in seconds, on a CPU too

a  every recipe: similarities against the CPU, a falling loss, going on after a cut
b  training steps per second against the released formulation, how busy the GPU is, where the CPU waits for it
c  scoring the test splits of Flickr30K and MS-COCO against the arithmetic floor
d  one epoch of ESA-BiGRU on features of Flickr30K's full size

Most important first. The file is written after each recipe, so that a run that is cut off has figures. A section that has used up
its time names what it leaves out. Needs torch, transformers and what the core imports (docs/gpu.md), no data and no network.
The exit status is 1 if something failed or is not right; speed alone never makes it 1.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import epoch, machine, same, scoring, speed
from benchmarks.gpu.budget import Budget, shared
from benchmarks.gpu.cases import Case, Sizes, device_here, freed, precisions, recipes
from benchmarks.simulated_arrays import REGIONS, WIDTH
from itrcore.files import write_json

SECTIONS = {"a": 0.32, "b": 0.38, "c": 0.18, "d": 0.12}  # shares of the time
PUBLISHED = Sizes(None, None, REGIONS, WIDTH, (500, 375), 2048)
TINY = Sizes(4, 16, 5, 32, (64, 48), 16, different=16)
PRODUCT = 8192  # side of the matrices whose product gives the machine's rate


@dataclass
class Report:
    """What was found, on paper after each part."""

    path: Path | None
    value: dict[str, Any]
    wrong: list[str] = field(default_factory=list)

    def add(
        self, section: str, name: str, work: Callable[[], dict[str, Any]], line: Callable[[dict[str, Any]], str]
    ) -> None:
        """Do it, print it, write it. What fails is written too, and the next one is done."""
        started = time.perf_counter()
        try:
            found = work()
            said = line(found)
        except Exception as error:
            traceback.print_exc()
            found = {"failed": "".join(traceback.format_exception_only(error)).strip()}
            said = f"FAILED: {found['failed']}"
            self.wrong.append(f"{section} {name}")
            del error
        freed()
        found["took_seconds"] = round(time.perf_counter() - started, 2)
        self.value["sections"].setdefault(section, {})[name] = found
        print(f"{section}  {name}: {said} [{found['took_seconds']:.1f} s]", flush=True)
        self.write()

    def skip(self, section: str, name: str) -> None:
        """For lack of time."""
        self.value["sections"].setdefault(section, {})[name] = "skipped: no time left"
        print(f"{section}  {name}: skipped: no time left", flush=True)

    def write(self) -> None:
        """To the file, if one is asked for."""
        if self.path is not None:
            write_json(self.path, self.value)


def run(only: list[str], chosen: list[str], seconds: float, tiny: bool, compiled: bool, path: Path | None) -> Report:
    """All sections that are asked for, with these recipes."""
    device = device_here()
    known = machine.described(device) | {"precisions": precisions()}
    report = Report(path, {"machine": known, "tiny": tiny, "compiled": compiled, "recipes": chosen, "sections": {}})
    print(", ".join(f"{name} {value}" for name, value in known.items()), flush=True)
    sizes = TINY if tiny else PUBLISHED
    times, spare = shared(seconds, SECTIONS, only), 0.0
    for section in only:
        budget = Budget(times[section] + spare)
        {"a": _same, "b": _speed, "c": _scoring, "d": _epoch}[section](report, sizes, device, budget)
        spare = budget.left()
        if device.type == "cuda":
            report.value.setdefault("clocks_after", {})[section] = machine.clocks()
            report.write()
    return report


def _same(report: Report, sizes: Sizes, device: torch.device, budget: Budget) -> None:
    for recipe in report.value["recipes"]:
        if not budget.room():
            report.skip("a", recipe)
            continue
        report.add("a", recipe, lambda name=recipe: same.checked(name, sizes, device), same.line)  # type: ignore[misc]
        found = report.value["sections"]["a"][recipe]
        for part in ("similarity", "training", "resumed"):
            if part in found and not found[part]["kept"]:
                report.wrong.append(f"a {recipe}: {part}")


def _speed(report: Report, sizes: Sizes, device: torch.device, budget: Budget) -> None:
    seconds, compiled = 0.02 if report.value["tiny"] else speed.SECONDS, report.value["compiled"]
    names = [name for name in speed.METHODS if name in report.value["recipes"]]
    for number, recipe in enumerate(names):
        if not budget.room():
            report.skip("b", recipe)
            continue
        # Later methods get their part, however long the first ones take.
        part = Budget(budget.left() / (len(names) - number))
        work = lambda name=recipe, part=part: speed.measured(name, sizes, device, part, seconds, compiled)  # type: ignore[misc]  # noqa: E731
        report.add("b", recipe, work, speed.line)
        found = report.value["sections"]["b"][recipe]
        if not found.get("same_batches", True):
            report.wrong.append(f"b {recipe}: batches on the device")
        if found.get("loss_apart", 0.0) > speed.APART:
            report.wrong.append(f"b {recipe}: not what the released formulation computes")
        failed = [name for name, way in found.get("ways", {}).items() if str(way).startswith(speed.FAILED)]
        report.wrong += [f"b {recipe}: {name}" for name in failed]


def _scoring(report: Report, sizes: Sizes, device: torch.device, budget: Budget) -> None:
    tiny = report.value["tiny"]
    splits = [scoring.Split("tiny", 12, 40)] if tiny else [scoring.F30K, scoring.COCO]
    few = Sizes(**{**vars(sizes), "images": 8 if tiny else 100})
    rates = scoring.rates(device, 64 if tiny else PRODUCT)
    report.value["rates"] = vars(rates)
    names = report.value["recipes"]
    for number, recipe in enumerate(names):
        if not budget.room():
            report.skip("c", recipe)
            continue
        part = Budget(2 * budget.left() / (len(names) - number))
        work = lambda name=recipe, part=part: scoring.measured(Case(name, few), splits, rates, device, part)  # type: ignore[misc]  # noqa: E731
        report.add("c", recipe, work, scoring.line)


def _epoch(report: Report, sizes: Sizes, device: torch.device, budget: Budget) -> None:
    if not budget.room():
        report.skip("d", "esa_bigru")
        return
    tiny = report.value["tiny"]
    full = Sizes(**{**vars(sizes), "images": 16 if tiny else 29_000})
    report.add("d", "esa_bigru", lambda: epoch.measured(full, 8 if tiny else 1000, device), epoch.line)


def main() -> int:
    known = recipes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="".join(SECTIONS), help="sections, such as a,c")
    parser.add_argument("--recipes", nargs="+", choices=known, default=known, metavar="RECIPE", help="of a, b and c")
    parser.add_argument(
        "--compile", action="store_true", help="in b also bf16 compiled: up to a minute more for each method"
    )
    parser.add_argument("--minutes", type=float, default=6.0, help="for all of them")
    parser.add_argument("--tiny", action="store_true", help="small models and little data: whether it runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    only = [name for name in given.only if name not in ", "]
    if unknown := sorted(set(only) - set(SECTIONS)):
        parser.error(f"--only: no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    started = time.perf_counter()
    report = run(only, given.recipes, 60 * given.minutes, given.tiny, given.compile, given.json)
    report.value["seconds"] = round(time.perf_counter() - started, 1)
    report.value["wrong"] = report.wrong
    report.write()
    print(
        f"{report.value['seconds']:.0f} s. {'NOT RIGHT: ' + '; '.join(report.wrong) if report.wrong else 'All right.'}"
    )
    return 1 if report.wrong else 0


if __name__ == "__main__":
    gc.freeze()  # what is imported stays: collecting the rest would go through all of it each time
    sys.exit(main())
