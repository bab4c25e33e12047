"""Section b: training steps per second, ours in each precision against the released formulation, at published size.

Every way starts from the same weights and sees batches of the same pairs. Ours takes them as a training does: made in threads,
pinned, on a stream of their own, or from features that the device holds. The released formulation takes float32 batches
that are ready in ordinary memory. Each way has a warm-up, then steps for about a second and a half.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu import released
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import FIRST, SEED, Case, Features, Precision, Sizes, computing_in, fed, precisions
from benchmarks.gpu.watching import wait, waiting_lines, watched
from itrcore.data.feeding.batches import Batch
from itrcore.data.feeding.order import TrainingBatches
from itrcore.layers.progress import Progress
from itrcore.training.loop import Trainer
from itrcore.training.step import make_optimiser

METHODS = FIRST
SECONDS = 1.5  # that each way is measured for
WARM, MOST, FEWEST = 4, 300, 4  # steps: of the warm-up, and that are measured
READ_EVERY = 25  # as the training loop reads on a GPU
FIRST_STEPS = 8  # whose losses are kept: of features from the host and on the device they are equal
WATCHED = 5  # steps under the profiler
BUSY = 0.9  # wanted
PROMISED = {"embedding": 5.0, "cross attention": 10.0}  # times the released formulation's steps
WAYS: tuple[tuple[Precision, Features], ...] = (
    ("bf16", "device"),
    ("float32", "device"),
    ("tf32", "device"),
    ("bf16", "host"),
    ("float32", "host"),
)


def measured(
    recipe: str, sizes: Sizes, device: torch.device, budget: Budget, seconds: float = SECONDS
) -> dict[str, Any]:
    """All of section b for one method. Ways that the budget has no time for are named."""
    case = Case(recipe, sizes)
    plain = released.of(case.objective, case.settings)
    found: dict[str, Any] = {"batch": case.settings.recipe.batch_size, "family": family(case), "ways": {}}
    if plain is not None:
        found["ways"]["released float32"] = _released(plain, case, device, seconds)
        found["loss_apart"] = apart(case, plain, device)
    del plain
    for precision, features in WAYS:
        if case.pictures and features == "device":
            features = "host"  # pictures are unpacked for each batch
        name = f"{precision} {features}"
        if name in found["ways"] or precision not in precisions():
            continue
        if not budget.room():
            found["ways"][name] = "skipped: no time left"
            continue
        found["ways"][name] = _ours(case, precision, features, seconds)
    found |= compared(found["ways"], PROMISED[found["family"]])
    return found | {"same_from_host": agreeing(found["ways"])}


def family(case: Case) -> str:
    """Of embedding methods, whose images and captions are vectors, or of cross attention."""
    model = case.settings.model
    vectors = model.kind in ("vse", "esa", "esl_clip")
    return "embedding" if vectors else "cross attention"


def compared(ways: dict[str, Any], promised: float) -> dict[str, Any]:
    """How many times the released formulation's steps per second ours takes; the fastest way in any precision, too."""
    speeds = {name: way["steps_per_s"] for name, way in ways.items() if isinstance(way, dict)}
    theirs = speeds.pop("released float32", None)
    if theirs is None or not speeds:
        return {}
    best = max(speeds, key=lambda name: speeds[name])
    times = {name: speed / theirs for name, speed in speeds.items()}
    return {
        "times_released": times,
        "fastest": best,
        "wanted": f"{promised:g} times the released formulation",
        "kept": times[best] >= promised,
    }


def agreeing(ways: dict[str, Any]) -> dict[str, bool]:
    """For each precision, whether the losses were the same with features from the host and on the device."""
    losses = {name: way["first_losses"] for name, way in ways.items() if "first_losses" in way}
    pairs = [(name.split()[0], name, name.replace("host", "device")) for name in losses if name.endswith(" host")]
    return {precision: losses[host] == losses[held] for precision, host, held in pairs if held in losses}


def _ours(case: Case, precision: Precision, features: Features, seconds: float) -> dict[str, Any]:
    trainer = case.trainer(precision, features)
    trainer.objective.train()
    trainer.method.begin_epoch(trainer.recipe.epochs - 1)
    batches, device = fed(trainer), trainer.device
    take = _taking(trainer, lambda: next(batches))
    for _ in range(FIRST_STEPS):
        take()
    first = [values["total"] / trainer.summed for values in trainer.recent.read()]
    found = {"first_losses": first, **_rate(take, device, seconds)}
    with waiting_lines(device) as lines:
        for _ in range(WATCHED):
            take()
    found["waiting_lines"] = {line: number / WATCHED for line, number in lines.items()}
    trainer.recent.steps.clear()
    if device.type == "cuda":
        seen = watched(lambda: [take() for _ in range(WATCHED)], WATCHED, device)
        found |= seen.value | {"wanted_busy": BUSY, "busy_kept": seen.busy >= BUSY}
    batches.close()
    return found


def _taking(trainer: Trainer, batch: Callable[[], Any]) -> Callable[[], None]:
    number, epoch = 0, trainer.recipe.epochs - 1

    def take() -> None:
        nonlocal number
        trainer.recent.steps.append(trainer.stepper.take(batch(), Progress(epoch, number)))
        number += 1
        if len(trainer.recent.steps) == READ_EVERY:
            trainer.recent.read()

    return take


def _released(plain: nn.Module, case: Case, device: torch.device, seconds: float) -> dict[str, Any]:
    recipe = case.settings.recipe
    computing_in("float32")
    model = deepcopy(plain).to(device).train()
    kind: Any = type(make_optimiser(case.objective, recipe)[0])
    optimiser = kind(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    made = TrainingBatches(case.split, recipe.batch_size, SEED, case.views).epoch(0)
    batches, progress = cycle(list(islice(made, 4))), Progress(recipe.epochs - 1, 0)
    return _rate(lambda: released.step(model, optimiser, next(batches), progress, recipe.clip_norm), device, seconds)


def _rate(take: Callable[[], Any], device: torch.device, seconds: float) -> dict[str, Any]:
    """Steps per second, and the most memory that tensors took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    take()
    wait(device)
    started = time.perf_counter()
    for _ in range(WARM - 1):
        take()
    wait(device)
    number = int(np.clip(seconds * (WARM - 1) / (time.perf_counter() - started), FEWEST, MOST))
    started = time.perf_counter()
    for _ in range(number):
        take()
    wait(device)
    found: dict[str, Any] = {"steps_per_s": number / (time.perf_counter() - started), "steps": number}
    if device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found


@torch.no_grad()
def apart(case: Case, plain: nn.Module, device: torch.device) -> float:
    """How far the two losses of a batch are apart, as a share, in evaluation mode and without regions taken out."""
    ours: Any = deepcopy(case.objective).to(device).eval()
    plain = deepcopy(plain).to(device).eval()
    if hasattr(plain, "drop"):  # both draw masks of regions, ESA's only
        ours.method.region_drop = plain.drop = 0.0  # type: ignore[assignment]
    number = case.settings.recipe.batch_size
    rows = np.arange(number) * case.sizes.each
    views = case.views.captions
    images = case.split.images.batch(case.split.image_of[rows])
    batch = Batch(images, case.split.texts(np.repeat(rows, views)), list(rows), list(rows)).to(device)
    progress = Progress(0, 0)
    one, other = ours(batch, progress).total, plain(batch, progress).total
    return float((one - other).abs() / other.abs())


def line(found: dict[str, Any]) -> str:
    """What is printed of a method."""
    parts = []
    for name, way in found["ways"].items():
        if isinstance(way, str):
            parts.append(f"{name} {way}")
            continue
        times = f" ({found['times_released'][name]:.1f}x)" if name in found.get("times_released", {}) else ""
        busy = f", busy {way['busy']:.0%}" if "busy" in way else ""
        copies = (
            f", copies {sum(way['copies'].values()):g}, waits {sum(way['waits'].values()):g}" if "copies" in way else ""
        )
        lines = f", WAITS AT {', '.join(way['waiting_lines'])}" if way.get("waiting_lines") else ""
        memory = f", {way['peak_gb']:.1f} GB" if "peak_gb" in way else ""
        parts.append(f"{name} {way['steps_per_s']:.3g}/s{times}{memory}{busy}{copies}{lines}")
    feeds = "".join(
        f"; {p} FROM THE HOST NOT AS ON THE DEVICE" for p, same in found["same_from_host"].items() if not same
    )
    wanted = f"; wanted {found['wanted']}: {'yes' if found['kept'] else 'NO'}" if "wanted" in found else ""
    return f"{'; '.join(parts)}{feeds}{wanted} (busy wanted {BUSY:.0%}; losses {found.get('loss_apart', 0):.1g} apart)"
