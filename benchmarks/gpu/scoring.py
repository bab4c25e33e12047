"""Section c: seconds of scoring whole test splits, against the arithmetic floor.

Few images and captions are encoded and then taken again and again: what a pair takes does not depend on its values. The floor
is the number of multiplications that cannot be spared (`floors`) over the rate of large matrix products, measured in this run
and precision. Similarities are computed in float32 or TF32, whatever training is in. The time has the way of all scores to the host
in it; for embedding methods that is most of it, and stands beside the floor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import Case, Precision, computing_in, precisions
from benchmarks.gpu.floors import floor, product_rate
from benchmarks.gpu.watching import wait
from itrcore.evaluation.scoring import encode, score

TIMES = 3.0  # the floor, at most
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32")


@dataclass(frozen=True)
class Split:
    """Images and captions of a test split."""

    name: str
    images: int
    captions: int


F30K, COCO = Split("Flickr30K", 1000, 5000), Split("MS-COCO", 5000, 25000)


@dataclass(frozen=True)
class Rates:
    """Of this machine: multiplications a second by precision, and bytes a second to ordinary memory."""

    products: dict[str, float]
    copies: float


def rates(device: torch.device, side: int) -> Rates:
    """side: of the square matrices"""
    products = {}
    for precision in [precision for precision in PRECISIONS if precision in precisions()]:
        computing_in(precision)
        products[precision] = product_rate(device, side)
    values = torch.zeros(side, side, device=device)
    values.cpu()
    wait(device)
    started = time.perf_counter()
    for _ in range(3):
        values.cpu().clone()
    return Rates(products, 3 * values.nbytes / (time.perf_counter() - started))


@torch.inference_mode()
def measured(case: Case, splits: list[Split], known: Rates, device: torch.device, budget: Budget) -> dict[str, Any]:
    """Of one method in each precision. Where the budget would not do, a split's first images are scored, and it is said."""
    found: dict[str, Any] = {}
    for precision in [precision for precision in PRECISIONS if precision in known.products]:
        trainer = case.trainer(precision, "host")
        encoded = encode(trainer.method, trainer.dev, 100, device)
        per_pair = 0.0
        for split in splits:
            texts = encoded.texts.take(np.arange(split.captions) % len(encoded.texts))
            number = fitting(split, per_pair, budget.left())
            if number == 0:
                found[f"{split.name} {precision}"] = "skipped: no time left"
                continue
            images = encoded.images.take(np.arange(number) % len(encoded.images))
            score(trainer.method, images[: case.tile], texts[: case.tile], case.tile)  # the kernels of these shapes
            wait(device)
            started = time.perf_counter()
            matrix = score(trainer.method, images, texts, case.tile)
            seconds = time.perf_counter() - started
            per_pair = seconds / matrix.size
            least = floor(case.settings, images, texts)
            arithmetic, copied = least.multiplications / known.products[precision], matrix.nbytes / known.copies
            found[f"{split.name} {precision}"] = {
                "images": number,
                "captions": split.captions,
                "seconds": seconds,
                "seconds_of_all": per_pair * split.images * split.captions,
                "floor_seconds": arithmetic,
                "floor_multiplications": least.multiplications,
                "formula": least.formula,
                "copy_seconds": copied,
                "times_floor": seconds / arithmetic,
                "times_floor_and_copy": seconds / (arithmetic + copied),
                "wanted": f"{TIMES:g} times the floor at most",
                "kept": seconds <= TIMES * arithmetic,
            }
            del images, texts, matrix
    return found


def fitting(split: Split, per_pair: float, left: float) -> int:
    """How many of the split's images fit in so many seconds; 0 where not even a tenth of them do."""
    if left <= 0:
        return 0
    seconds = per_pair * split.images * split.captions
    number = split.images if seconds <= left else int(split.images * left / seconds)
    return number if number >= split.images // 10 else 0


def line(found: dict[str, Any]) -> str:
    """What is printed of a method."""
    parts = []
    for name, of in found.items():
        if isinstance(of, str):
            parts.append(f"{name} {of}")
            continue
        part = f" (of {of['images']:,} images; {of['seconds_of_all']:.3g} s for all)"
        some = part if of["seconds_of_all"] > 1.001 * of["seconds"] else ""
        parts.append(
            f"{name} {of['seconds']:.3g} s{some}, {of['times_floor']:.2g} times the floor of {of['floor_seconds']:.2g} s, "
            f"{of['times_floor_and_copy']:.2g} with the copy to the host{'' if of['kept'] else ' NOT AS WANTED'}"
        )
    return f"{'; '.join(parts)} (wanted: {TIMES:g} times the floor at most)"
