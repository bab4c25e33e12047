"""One step of a training: forward, backward, optimiser. Nothing in it waits for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from itrcore.compiled import compiling
from itrcore.data.feeding.batches import Batch
from itrcore.errors import TrainingError, first_line
from itrcore.layers import together
from itrcore.layers.losses.contract import Losses
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.settings.optimisation import OptimisationSettings, StepSchedule
from itrcore.training import memory
from itrcore.training.adamw_bert import AdamWBert

_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamw_bert": AdamWBert,
}
_NORM = "gradient norm"


@dataclass(frozen=True)
class Taken:
    """A step that was taken: its loss, terms and gradient norm, (k,) by `names`, still on the device; and of which pairs."""

    names: tuple[str, ...]
    values: Tensor
    progress: Progress
    image_ids: list[int]
    caption_ids: list[int]


class Stepper:
    """Takes the steps of a training."""

    def __init__(
        self,
        objective: Objective,
        recipe: OptimisationSettings,
        seed: int,
        steps: int,
        accelerator: Accelerator,
        compiled: bool = False,
    ) -> None:
        """objective: on the accelerator's device; seed: of what is random in a step; steps: of an epoch; compiled: `compiling`"""
        self.objective, self.recipe, self.accelerator = objective, recipe, accelerator
        self.seed, self.steps, self.compiled = seed, steps, compiled
        self.optimiser, self._factors = make_optimiser(objective, recipe)
        self._refused = ""  # how memory ran out

    def take(self, batch: Batch, progress: Progress) -> Taken:
        """Train on a batch; where several processes train together, on this one's share of it.

        Where memory runs out, `objective.parts` has half the size from then on; `TrainingError` as of `memory.half`.
        """
        rate = learning_rate(self.recipe, progress.step, self.steps)
        for group, factor in zip(self.optimiser.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor
        pairs = len(batch.image_ids)
        while (found := self._gradients(batch, progress)) is None:
            self.objective.parts.size = memory.half(pairs, self.objective.parts.size, self._refused)
        losses, total = found
        with memory.explained(pairs):
            together.mean_gradients(self.objective.parameters())
            norm = torch.nn.utils.clip_grad_norm_(self.objective.parameters(), self.recipe.clip_norm)
            self.optimiser.step()
            self.objective.after_step()
        terms = {"total": total, **losses.terms, _NORM: norm}
        values = torch.stack([value.detach() for value in terms.values()])
        return Taken(tuple(terms), values, progress, batch.image_ids, batch.caption_ids)

    def _gradients(self, batch: Batch, progress: Progress) -> tuple[Losses, Tensor] | None:
        """Losses and their sum, whose gradients the parameters have now; None where memory ran out: nothing has changed."""
        before = [(values, values.clone()) for values in self.objective.parts.statistics()]
        # All that is random in a step follows from the seed and the step (and the process), so that a continued training draws
        # the same.
        torch.manual_seed((self.seed * 1_000_003 + progress.step + together.number() * 2**40) % 2**63)
        self.optimiser.zero_grad()
        try:
            with compiling(self.compiled):  # the backward pass too: it computes some parts again
                with self.accelerator.autocast():
                    losses: Losses = self.objective(batch, progress)
                total = losses.total
                total.backward()  # type: ignore[no-untyped-call]
            return losses, total
        except (RuntimeError, MemoryError) as error:
            if not memory.ran_out(error):
                raise
            self._refused = first_line(error)
        # Only now, as the error held what was computed.
        self.optimiser.zero_grad()
        for values, kept in before:
            values.copy_(kept)
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        return None


@dataclass
class Recent:
    """Steps whose values have not been read yet: reading waits for the device, so several are read at once."""

    steps: list[Taken] = field(default_factory=list)

    def read(self) -> list[dict[str, float]]:
        """Loss and terms of each step since the last reading, in order.

        `TrainingError` where one is not finite, or a gradient is not; the message names the first such step and its pairs.
        """
        steps, self.steps = self.steps, []
        if not steps:
            return []
        table = torch.stack([step.values for step in steps]).tolist()
        read = []
        for step, row in zip(steps, table, strict=True):
            values = dict(zip(step.names, row, strict=True))
            _check_finite(values, step)
            del values[_NORM]
            read.append(values)
        return read


def _check_finite(values: dict[str, float], step: Taken) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} became {value} in epoch {step.progress.epoch + 1}, step {step.progress.step} (counted over all "
                f"epochs from 0). Image ids of the batch: {step.image_ids}; caption ids: {step.caption_ids}. With the same "
                "settings this will happen again, from the last saved state too; a lower recipe.learning_rate, or "
                "float32 as training.precision, may help."
            )


def learning_rate(recipe: OptimisationSettings, step: int, steps: int) -> float:
    """The learning rate at a step, counted from 0 over all epochs, each of `steps` steps, before any parameter's factor."""
    schedule = recipe.schedule
    if isinstance(schedule, StepSchedule):
        return recipe.learning_rate * schedule.factor ** sum(step // steps >= at for at in schedule.epochs)
    total = steps * recipe.epochs
    warmup = int(schedule.warmup * total)
    if step < warmup:
        return recipe.learning_rate * step / warmup
    return recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def make_optimiser(objective: Objective, recipe: OptimisationSettings) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser, and the factor of the learning rate of each of its parameter groups.

    The first group is what no factor names; then comes a group for each part that `recipe.factors` names, the submodule of
    that name, wherever it is in the method. A last group has what else the objective learns, if anything, such as the scale of
    a loss. These have no weight decay, which would pull them to 0.
    """
    parts: dict[str | None, list[Tensor]] = {part: [] for part in (None, *recipe.factors)}
    for name, parameter in objective.method.named_parameters():
        parts[next((part for part in recipe.factors if part in name.split(".")), None)].append(parameter)
    groups: list[dict[str, Any]] = [{"params": parameters} for parameters in parts.values()]
    factors = [1.0, *recipe.factors.values()]
    known = {id(parameter) for parameter in objective.method.parameters()}
    if others := [one for one in objective.parameters() if one.requires_grad and id(one) not in known]:
        groups.append({"params": others, "weight_decay": 0.0})
        factors.append(1.0)
    # One kernel for all parameters, where there are kernels. AdamWBert is our own and has none.
    on_gpu = all(parameter.is_cuda for parameter in objective.parameters()) and recipe.optimiser != "adamw_bert"
    fused = {"fused": True} if on_gpu else {}
    made = _OPTIMISERS[recipe.optimiser](groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **fused)
    return made, factors
