"""The training loop: one for every method. It selects the checkpoint on dev and never sees test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from itrcore.data.feeding.batches import Batch
from itrcore.data.feeding.order import TrainingBatches
from itrcore.data.feeding.split import Split
from itrcore.device import make_accelerator, precision
from itrcore.errors import TrainingError
from itrcore.evaluation.scoring import encode, score
from itrcore.layers.losses.contract import Losses
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Method
from itrcore.methods.objective import Objective
from itrcore.progress import SILENT, Show
from itrcore.ranking import metrics, ranks
from itrcore.runs.records import Metrics, Point
from itrcore.settings.methods import MethodSettings
from itrcore.settings.optimisation import OptimisationSettings, StepSchedule
from itrcore.settings.training import TrainingSettings
from itrcore.terminal import say
from itrcore.training import days
from itrcore.training.adamw_bert import AdamWBert
from itrcore.training.display import Display
from itrcore.training.state import Finished, StateFolder, TrainingState

Hook = Callable[[TrainingState], None]

_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamw_bert": AdamWBert,
}


class Trainer:
    """Trains one method on one data set."""

    def __init__(
        self,
        objective: Objective,
        settings: MethodSettings,
        training: TrainingSettings,
        seed: int,
        train: TrainingBatches,
        dev: Split,
        evaluation_batch: int,
        tile: int,
    ) -> None:
        """seed: of everything random in a step; evaluation_batch, tile: as `encode` and `score` take them, on dev

        `ConfigError` where the device or precision of the training settings is not there.
        """
        self.recipe, self.training, self.seed, self.batches = settings.recipe, training, seed, train
        torch.set_num_threads(training.threads)
        self.accelerator: Accelerator = make_accelerator(training)
        optimiser, self.factors = make_optimiser(objective, self.recipe)
        self.model, self.optimiser = self.accelerator.prepare(objective, optimiser)
        self.dev = dev.first(training.selection.captions)
        self.evaluation_batch, self.tile = evaluation_batch, tile
        self.unasked = days.Unasked(
            training.device, self.accelerator.device, len(train) * self.recipe.epochs, days.LIMIT
        )
        self._show: Show = SILENT.show  # told how far an evaluation is
        self.summed = self.recipe.batch_size if objective.loss.summed else 1  # pairs that a step's loss is the sum of

    @property
    def objective(self) -> Objective:
        """What is trained, without accelerate's wrapping."""
        unwrapped: Objective = self.accelerator.unwrap_model(self.model)
        return unwrapped

    @property
    def method(self) -> Method[Any, Any]:
        """The method itself."""
        return self.objective.method

    def run(self, folder: StateFolder, identity: str, begin: Hook, after_evaluation: Hook) -> Finished:
        """Train to the end, from the newest state in `folder` if it has one of this identity; then `folder` has it as finished.

        begin: called once before the first step, with the state to start from
        after_evaluation: called after each evaluation on dev, whose record is then the last of the state's history
        `TrainingError` where the loss or a gradient is not finite, and for days on a CPU that were not asked for (`days.py`).
        """
        recipe, steps = self.recipe, len(self.batches)
        say(
            f"Training on {self.accelerator.device} in {precision(self.accelerator)}: {recipe.epochs} epochs of {steps:,} steps, "
            f"{recipe.batch_size} pairs a step."
        )
        state = self._restore(folder, identity)
        begin(state)
        evaluations = len(evaluation_steps(steps, recipe.evaluations))
        with Display(
            recipe.epochs, steps, recipe.batch_size, evaluations, state.global_step, len(state.history)
        ) as display:
            self._show = display.show
            while state.epoch < recipe.epochs:
                self._epoch(state, folder, display, after_evaluation)
        best = state.best
        if best is None:
            raise TrainingError(f"no evaluation on dev took place in {recipe.epochs} epochs")
        finished = Finished(
            identity=identity,
            history=state.history,
            best=best,
            seconds=state.seconds,
            tracking_id=state.tracking_id,
            device=str(self.accelerator.device),
            precision=precision(self.accelerator),
        )
        folder.finish(finished)
        return finished

    def _restore(self, folder: StateFolder, identity: str) -> TrainingState:
        saved = folder.load(identity)
        if saved is None:
            return TrainingState(identity=identity)
        state, weights, optimiser = saved
        self.objective.load_state_dict(weights)
        self.optimiser.load_state_dict(optimiser)
        say(f"Going on at epoch {state.epoch + 1}, step {state.step + 1} of {len(self.batches)}.")
        return state

    def _epoch(self, state: TrainingState, folder: StateFolder, display: Display, after_evaluation: Hook) -> None:
        self.model.train()
        self.method.begin_epoch(state.epoch)
        epoch, steps = state.epoch, len(self.batches)
        evaluate_after = evaluation_steps(steps, self.recipe.evaluations)
        clock = time.perf_counter()

        def count_time() -> None:
            nonlocal clock
            now = time.perf_counter()
            state.seconds += now - clock
            state.part_seconds += now - clock
            clock = now

        for batch in self.batches.epoch(epoch, state.step):
            losses = self._step(batch, Progress(epoch, state.global_step, state.step / steps))
            for name, value in losses.items():
                state.losses[name] = state.losses.get(name, 0.0) + value
            state.step += 1
            state.global_step += 1
            state.part_steps += 1
            display.step(epoch, losses["total"] / self.summed)
            self.unasked.step(state.global_step, state.seconds)
            if state.step in evaluate_after:
                count_time()
                with display.evaluating():
                    self._evaluate(state, folder, display)
                    after_evaluation(state)
                clock = time.perf_counter()
            elif state.global_step % self.training.save_every_steps == 0:
                count_time()
                folder.save(state, self.objective, self.optimiser.state_dict())
                clock = time.perf_counter()

    def _evaluate(self, state: TrainingState, folder: StateFolder, display: Display) -> None:
        """Add a record to the history, keep the weights where they are the best so far, save the state."""
        steps = len(self.batches)
        pairs = state.part_steps * self.recipe.batch_size
        whole = state.step == steps
        dev = self.evaluate_dev()
        point = Point(
            evaluation=len(state.history) + 1,
            epoch=state.epoch + 1 if whole else round(state.epoch + state.step / steps, 2),
            learning_rate=learning_rate(self.recipe, state.global_step - 1, steps),
            losses={name: value / (state.part_steps * self.summed) for name, value in state.losses.items()},
            dev=dev,
            seconds=state.part_seconds,
            pairs_per_second=pairs / state.part_seconds,
        )
        state.history.append(point)
        if state.best is None or dev.rsum > state.best.rsum:
            state.best = folder.save_best(point, self.method)
        state.losses, state.part_steps, state.part_seconds = {}, 0, 0.0
        if whole:
            state.epoch, state.step = state.epoch + 1, 0
        folder.save(state, self.objective, self.optimiser.state_dict())
        display.evaluation(point, state.best.epoch)

    def _step(self, batch: Batch, progress: Progress) -> dict[str, float]:
        rate = learning_rate(self.recipe, progress.step, len(self.batches))
        for group, factor in zip(self.optimiser.param_groups, self.factors, strict=True):
            group["lr"] = rate * factor
        # All that is random in a step follows from the seed and the step alone, so that a continued training draws the same.
        torch.manual_seed((self.seed * 1_000_003 + progress.step) % 2**63)
        with self.accelerator.autocast():
            losses: Losses = self.model(batch.to(self.accelerator.device), progress)
        total = losses.total
        values = {name: float(term.detach()) for name, term in {"total": total, **losses.terms}.items()}
        self._check_finite(values, batch, progress)
        self.optimiser.zero_grad()
        self.accelerator.backward(total)
        norm: Tensor = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        if not math.isfinite(float(norm)):
            self._check_finite({"gradient norm": float(norm)}, batch, progress)
        self.optimiser.step()
        self.objective.after_step()
        return values

    def _check_finite(self, values: dict[str, float], batch: Batch, progress: Progress) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} became {value} in epoch {progress.epoch + 1}, step {progress.step} (counted over all epochs "
                    f"from 0). Image ids of the batch: {batch.image_ids}; caption ids: {batch.caption_ids}. With the same "
                    "settings this will happen again, from the last saved state too; a lower recipe.learning_rate, or "
                    "float32 as training.precision, may help."
                )

    def evaluate_dev(self) -> Metrics:
        """Metrics on the selection part of dev."""
        with self.accelerator.autocast():
            encoded = encode(self.method, self.dev, self.evaluation_batch, self.accelerator.device, self._show)
            matrix = score(self.method, encoded.images, encoded.texts, self.tile, show=self._show)
        return Metrics(**metrics(ranks(matrix, self.dev.image_of, "dev similarity")))


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


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """The steps of an epoch, counted from 1, after which dev is evaluated: evenly spread, the last of them the last step."""
    return {max(1, math.floor((steps - 1) * part / evaluations) + 1) for part in range(1, evaluations + 1)}


def make_optimiser(objective: Objective, recipe: OptimisationSettings) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser, and the factor of the learning rate of each of its parameter groups.

    The first group is what no factor names; then comes a group for each part that `recipe.factors` names, the submodule of
    that name, wherever it is in the method. A last group has the parameters of the loss, if any, such as a scale. These have
    no weight decay, which would pull them to 0.
    """
    parts: dict[str | None, list[Tensor]] = {part: [] for part in (None, *recipe.factors)}
    for name, parameter in objective.method.named_parameters():
        parts[next((part for part in recipe.factors if part in name.split(".")), None)].append(parameter)
    groups: list[dict[str, Any]] = [{"params": parameters} for parameters in parts.values()]
    factors = [1.0, *recipe.factors.values()]
    if of_loss := list(objective.loss.parameters()):
        groups.append({"params": of_loss, "weight_decay": 0.0})
        factors.append(1.0)
    return _OPTIMISERS[recipe.optimiser](groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay), factors
