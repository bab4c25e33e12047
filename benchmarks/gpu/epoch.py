"""Section d: one epoch of ESA-BiGRU as `train` runs it, on random features of Flickr30K's full size.

The loop, the state on disk and the evaluation on dev are those of any training. 29,000 images of 36 × 2,048 in float16 are
4.3 GB, which `training.features: auto` holds on a GPU that has room.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.cases import Case, Sizes
from itrcore.training.state import StateFolder, TrainingState

EPOCHS, MINUTES = 25, 5.0  # of a whole training, and wanted at most


def measured(sizes: Sizes, dev_images: int, device: torch.device) -> dict[str, Any]:
    """sizes: of the training split, its images all of Flickr30K's; dev_images: with five captions each"""
    case = Case("esa_bigru", sizes)
    recipe = case.settings.recipe
    schedule = recipe.schedule.model_copy(update={"epochs": []})
    case.settings = case.settings.model_copy(
        update={"recipe": recipe.model_copy(update={"epochs": 1, "schedule": schedule})}
    )
    started = time.perf_counter()
    trainer = case.trainer("auto", "auto", case.split_of(dev_images, 5))
    begun = time.perf_counter()

    def nothing(_: TrainingState) -> None:
        pass

    with tempfile.TemporaryDirectory() as folder:
        finished = trainer.run(StateFolder(Path(folder) / "state"), "gpu", nothing, nothing)
    assert finished is not None
    training = finished.seconds
    held = type(trainer.batches.split.images).__name__ == "HeldRegions"
    return {
        "images": case.split.n_images,
        "captions": case.split.n_captions,
        "steps": len(trainer.batches),
        "precision": finished.precision,
        "features": "device" if held else "host",
        "seconds_to_start": begun - started,
        "epoch_seconds": training,
        "with_evaluation_seconds": time.perf_counter() - begun,
        "steps_per_s": len(trainer.batches) / training,
        "training_minutes": EPOCHS * training / 60,
        "loss": finished.history[-1].losses["total"],
        "wanted": f"{EPOCHS} epochs within {MINUTES:g} minutes",
        "kept": EPOCHS * training <= 60 * MINUTES,
    }


def line(found: dict[str, Any]) -> str:
    """What is printed."""
    return (
        f"{found['steps']:,} steps in {found['epoch_seconds']:.3g} s ({found['steps_per_s']:.3g}/s, {found['precision']}, "
        f"features on the {found['features']}); with evaluation {found['with_evaluation_seconds']:.3g} s; {EPOCHS} epochs take "
        f"{found['training_minutes']:.2g} minutes, wanted {MINUTES:g} at most: {'yes' if found['kept'] else 'NO'}"
    )
