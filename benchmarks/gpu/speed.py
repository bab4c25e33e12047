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
from benchmarks.gpu.cases import FIRST, SEED, Case, Features, Precision, Sizes, computing_in, fed, freed, precisions
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
WATCHED = 5  # steps under the profiler
COMPARED = 20  # batches from the host and on the device
FEEDS: tuple[Features, Features] = ("host", "device")
BUSY = 0.9  # wanted
FAILED = "failed"
APART = 1e-3  # of the loss: more, and ours and the released formulation do not compute the same
PROMISED = {"embedding": 5.0, "cross attention": 10.0}  # times the released formulation's steps
WAYS: tuple[tuple[Precision, Features, bool], ...] = (  # the last: compiled
    ("bf16", "device", False),
    ("float32", "device", False),
    ("tf32", "device", False),
    ("bf16", "host", False),
    ("float32", "host", False),
    ("bf16", "device", True),
    ("float32", "device", True),
)


def measured(
    recipe: str,
    sizes: Sizes,
    device: torch.device,
    budget: Budget,
    seconds: float = SECONDS,
    compiled: bool = False,
) -> dict[str, Any]:
    """All of section b for one method. Ways that the budget has no time for are named. compiled: by torch.compile, too"""
    case = Case(recipe, sizes)
    plain = released.of(case.objective, case.settings)
    found: dict[str, Any] = {"batch": case.settings.recipe.batch_size, "family": family(case), "ways": {}}
    if plain is not None:
        found["ways"]["released float32"] = tried(lambda: _released(plain, case, device, seconds))
        found["loss_apart"] = apart(case, plain, device)
    for precision, features, as_code in WAYS:
        if as_code and not compiled:
            continue
        if features == "device" and not case.split.images.n_bytes:
            features = "host"  # no device holds pictures that each batch changes
        name = f"{precision} {features}{' compiled' * as_code}"
        if name in found["ways"] or precision not in precisions():
            continue
        if not budget.room():
            found["ways"][name] = "skipped: no time left"
            continue
        found["ways"][name] = tried(lambda way=(precision, features, as_code): _ours(case, *way, seconds))  # type: ignore[misc]
    held = case.split.images.n_bytes > 0
    found["same_batches"] = not held or same_batches(case, device, 256 if sizes.tiny_dim else 4096)
    return found | compared(found["ways"], PROMISED[found["family"]])


def tried(way: Callable[[], dict[str, Any]]) -> dict[str, Any] | str:
    """What it finds; where it fails, such as for lack of memory, why."""
    try:
        return way()
    except RuntimeError as error:
        return f"{FAILED}: {error}"
    finally:
        freed()


def family(case: Case) -> str:
    """Of embedding methods, whose images and captions are vectors, or of cross attention."""
    model = case.settings.model
    vectors = model.kind in ("vse", "esa", "esl_clip", "dual")
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


def same_batches(case: Case, device: torch.device, side: int) -> bool:
    """Whether batches are the same, bit for bit, with features from the host and on the device, while the device is busy.

    side: of the square matrices that keep it busy
    """
    same = torch.ones((), dtype=torch.bool, device=device)
    ways = [fed(case.trainer("float32", features)) for features in FEEDS]
    a = torch.ones(side, side, device=device)
    for one, other in islice(zip(*ways, strict=True), COMPARED):
        for _ in range(4):
            a @ a
        same &= torch.stack([(x == y).all() for x, y in zip(one.tensors(), other.tensors(), strict=True)]).all()
    return bool(same)


def _ours(case: Case, precision: Precision, features: Features, compiled: bool, seconds: float) -> dict[str, Any]:
    trainer = case.trainer(precision, features, compiled=compiled)
    trainer.objective.train()
    trainer.method.begin_epoch(trainer.recipe.epochs - 1)
    batches, device = fed(trainer), trainer.device
    take = _taking(trainer, lambda: next(batches))
    found = _rate(take, device, seconds)
    trainer.recent.steps.clear()  # to read them would be to wait
    with waiting_lines(device) as lines:
        for _ in range(WATCHED):
            take()
    found["waiting_lines"] = {line: number / WATCHED for line, number in lines.items()}
    trainer.recent.steps.clear()
    if device.type == "cuda":
        found |= busy(lambda: [take() for _ in range(WATCHED)], found["steps_per_s"], device)
    return found


def busy(work: Callable[[], Any], steps_per_s: float, device: torch.device) -> dict[str, Any]:
    """What the profiler sees of `WATCHED` steps; `busy` is the time of their kernels over that of a step without the profiler."""
    try:
        seen = watched(work, WATCHED, device)
    except (OSError, RuntimeError, ValueError) as error:
        return {"not_profiled": str(error)}
    if not seen.kernels:
        return {"not_profiled": "the profiler saw no kernels"}
    share = seen.kernel_ms / 1000 * steps_per_s
    return {"busy": share, "wanted_busy": BUSY, "busy_kept": share >= BUSY, **seen.value}


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
        share = (
            f", busy {way['busy']:.0%}"
            if "busy" in way
            else f", {way['not_profiled']}"
            if "not_profiled" in way
            else ""
        )
        copies = (
            f", copies {sum(way['copies'].values()):g}, waits {sum(way['waits'].values()):g}" if "copies" in way else ""
        )
        lines = f", WAITS AT {', '.join(way['waiting_lines'])}" if way.get("waiting_lines") else ""
        memory = f", {way['peak_gb']:.1f} GB" if "peak_gb" in way else ""
        parts.append(f"{name} {way['steps_per_s']:.3g}/s{times}{memory}{share}{copies}{lines}")
    feeds = "" if found["same_batches"] else "; BATCHES FROM THE HOST ARE NOT THOSE ON THE DEVICE"
    wanted = f"; wanted {found['wanted']}: {'yes' if found['kept'] else 'NO'}" if "wanted" in found else ""
    return f"{'; '.join(parts)}{feeds}{wanted} (busy wanted {BUSY:.0%}; losses {found.get('loss_apart', 0):.1g} apart)"
