"""Section a: every recipe computes on the GPU what it computes on the CPU, learns, and goes on after a kill.

Weights are random at published sizes, batches smaller. Similarities of a few images and captions are compared in evaluation mode.
Then 30 steps on few pairs, again and again, whose loss must fall. Their recalls are computed in each precision from
the same weights. At last a training is cut off in the middle: its state is copied, all is built anew, and it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.cases import Case, Sizes, computing_in, fed, precisions
from itrcore.cores import cores
from itrcore.data.feeding.batches import Batch
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Method
from itrcore.training.loop import Trainer

APART = 1e-4  # wanted at most, in float32
COMPARED = 16  # images, and twice as many captions
STEPS, REPEATED, ENDS = 30, 2, 4  # of a training: steps, batches, and steps at either end that its loss is the mean of
CUT, WHOLE = 3, 6  # steps before a training is cut off, and all of its steps


def sizes_for(sizes: Sizes) -> Sizes:
    """Fewer pairs, the batches of an epoch at least `WHOLE`."""
    batch = min(sizes.batch or 32, 32)
    return replace(sizes, batch=batch, images=2 * batch, each=4, different=2 * batch)


def checked(recipe: str, sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """All of section a for one recipe."""
    case = Case(recipe, sizes_for(sizes))
    case.settings = _learning(case)
    found: dict[str, Any] = {"similarity": similarity(case, device)}
    found["training"], weights = learned(case)
    found["recalls"] = recalls(case, weights)
    found["resumed"] = resumed(case)
    return found


def _learning(case: Case) -> Any:
    """Settings under which random weights learn within a few steps: no part slower than others, no warm-up."""
    recipe = case.settings.recipe
    schedule = {"kind": "step", "epochs": [], "factor": 1.0}
    changed = recipe.model_validate({**recipe.model_dump(), "schedule": schedule, "learning_rate": 2e-4})
    return case.settings.model_copy(
        update={"recipe": changed.model_copy(update={"factors": dict.fromkeys(recipe.factors, 1.0)})}
    )


@torch.inference_mode()
def similarity(case: Case, device: torch.device) -> dict[str, Any]:
    """How far the GPU is from the CPU, at most."""
    images = case.split.images.batch(range(min(COMPARED, case.split.n_images)))
    texts = case.split.texts(range(min(2 * COMPARED, case.split.n_captions)))

    def scores(method: Method[Any, Any], device: torch.device) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            encoded = method.encode_images(images.to(device)), method.encode_texts(texts.to(device))
            return method.similarity(*encoded).float().cpu()

    method = deepcopy(case.objective.method).cpu().eval()
    bf16 = False
    computing_in("float32")
    threads = torch.get_num_threads()
    torch.set_num_threads(cores())
    expected = scores(method, torch.device("cpu"))
    torch.set_num_threads(threads)
    found: dict[str, Any] = {"largest": float(expected.abs().max()), "spread": float(expected.std())}
    method.to(device)
    for precision in precisions():
        computing_in(precision)
        bf16 = precision == "bf16"
        found[precision] = float((scores(method, device) - expected).abs().max())
    found |= {"wanted": f"float32 within {APART:g}", "kept": found["float32"] <= APART}
    return found


def learned(case: Case) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Loss at both ends of a short training in the precision that `auto` chooses; its weights."""
    trainer = case.trainer("auto", "auto")
    losses = steps(trainer, 0, STEPS, islice(fed(trainer), REPEATED))
    first, last = (sum(part) / len(part) for part in (losses[:ENDS], losses[-ENDS:]))
    found = {"first": first, "last": last, "wanted": "falls", "kept": last < first}
    return found, {name: value.cpu() for name, value in trainer.objective.state_dict().items()}


def steps(trainer: Trainer, first: int, end: int, batches: Iterator[Batch]) -> list[float]:
    """Take the steps from `first` to before `end`, with these batches again and again; the loss of each."""
    trainer.objective.train()
    trainer.method.begin_epoch(trainer.recipe.epochs - 1)
    for number, batch in zip(range(first, end), cycle(batches), strict=False):
        trainer.recent.steps.append(trainer.stepper.take(batch, Progress(0, number)))
    return [values["total"] / trainer.summed for values in trainer.recent.read()]


def recalls(case: Case, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Sum of recalls on the pairs that it has trained on, in each precision."""
    found: dict[str, Any] = {}
    for precision in precisions():
        trainer = case.trainer(precision, "auto")
        trainer.objective.load_state_dict(weights)
        found[precision] = trainer.evaluate_dev(None, None).dev.rsum
    return found


def resumed(case: Case) -> dict[str, Any]:
    """Whether a training that was cut off ends with the bits of one that was not; if not, whether two undisturbed ones agree."""

    def trained(begin: Callable[[Trainer], None], first: int, end: int) -> Trainer:
        trainer = case.trainer("auto", "auto")
        begin(trainer)
        steps(trainer, first, end, islice(fed(trainer), first, end))
        return trainer

    def nothing(_: Trainer) -> None:
        pass

    whole = _weights(trained(nothing, 0, WHOLE))
    cut = trained(nothing, 0, CUT)
    weights, optimiser = _weights(cut), deepcopy(cut.stepper.optimiser.state_dict())
    del cut

    def go_on(trainer: Trainer) -> None:
        trainer.objective.load_state_dict(weights)
        trainer.stepper.optimiser.load_state_dict(optimiser)

    apart = _apart(whole, _weights(trained(go_on, CUT, WHOLE)))
    found: dict[str, Any] = {
        "apart": apart,
        "same_bits": apart == 0.0,
        "wanted": "same bits, if undisturbed ones have them",
    }
    if apart:
        found["undisturbed_apart"] = _apart(whole, _weights(trained(nothing, 0, WHOLE)))
    found["kept"] = apart == 0.0 or found["undisturbed_apart"] > 0.0
    return found


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in trainer.objective.state_dict().items()}


def _apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def line(found: dict[str, Any]) -> str:
    """What is printed of a recipe."""

    def kept(part: str) -> str:
        return "" if found[part]["kept"] else " NOT AS WANTED"

    near, training, again = found["similarity"], found["training"], found["resumed"]
    at = ", ".join(f"{precision} {near[precision]:.2g}" for precision in precisions())
    rsums = ", ".join(f"{precision} {rsum:.1f}" for precision, rsum in found["recalls"].items())
    bits = (
        "same bits"
        if again["same_bits"]
        else f"{again['apart']:.1g} apart (undisturbed: {again['undisturbed_apart']:.1g})"
    )
    return (
        f"apart from the CPU: {at} (wanted float32 <= {APART:g}){kept('similarity')}; "
        f"loss {training['first']:.4g} -> {training['last']:.4g} (wanted: falls){kept('training')}; "
        f"rsum {rsums}; gone on after a cut: {bits}{kept('resumed')}"
    )
