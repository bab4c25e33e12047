"""The training loop: one for every method. It selects the checkpoint on dev and never sees test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from itrcore.data.feeding.batches import Batch
from itrcore.data.feeding.crossing import fed, on_device, ready
from itrcore.data.feeding.order import TrainingBatches
from itrcore.data.feeding.split import Split
from itrcore.device import make_accelerator, precision
from itrcore.errors import TrainingError
from itrcore.evaluation.scoring import encode, score
from itrcore.layers import together
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Method
from itrcore.methods.objective import Objective
from itrcore.progress import SILENT, Show
from itrcore.ranking import metrics, ranks
from itrcore.runs.records import Collapse, Metrics, Point
from itrcore.settings.methods import MethodSettings
from itrcore.settings.training import TrainingSettings
from itrcore.terminal import say
from itrcore.training import collapse, days
from itrcore.training.display import Display
from itrcore.training.state import Finished, StateFolder, TrainingState
from itrcore.training.step import Recent, Stepper, learning_rate

Hook = Callable[[TrainingState], None]


@dataclass(frozen=True)
class OnDev:
    """What an evaluation says, as a `Point` has it."""

    dev: Metrics
    collapse: Collapse
    inner: dict[str, float]
    chosen: dict[str, float]


_READ_EVERY = 25  # steps: on a GPU a reading of what they computed waits for it


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
        self.recipe, self.training, self.batches = settings.recipe, training, train
        torch.set_num_threads(training.threads)
        self.accelerator: Accelerator = make_accelerator(training)
        self.device = self.accelerator.device
        self.objective = objective.to(self.device)
        self.stepper = Stepper(self.objective, self.recipe, seed, len(train), self.accelerator, training.compile)
        self.recent = Recent()
        self.read_every = 1 if self.device.type == "cpu" else _READ_EVERY
        train.split, dev = fed([train.split, dev], self.device, training.features)
        self.dev = dev.first(training.selection.captions)
        self.evaluation_batch, self.tile = evaluation_batch, tile
        self._show: Show = SILENT.show  # told how far an evaluation is
        self.unasked = days.Unasked(training.device, self.device, len(train) * self.recipe.epochs, days.LIMIT)
        self.summed = self.recipe.batch_size if objective.loss.summed else 1  # pairs that a step's loss is the sum of

    @property
    def method(self) -> Method[Any, Any]:
        """The method itself."""
        return self.objective.method

    def run(self, folder: StateFolder, identity: str, begin: Hook, after_evaluation: Hook) -> Finished | None:
        """Train to the end, from the newest state in `folder` if it has one of this identity; then `folder` has it as finished.

        begin: called once before the first step, with the state to start from
        after_evaluation: called after each evaluation on dev, whose record is then the last of the state's history
        Where several processes train together, each calls this; the first alone evaluates, writes and has a result.
        `TrainingError` where the loss or a gradient is not finite, and for days on a CPU that were not asked for (`days.py`).
        """
        recipe, steps = self.recipe, len(self.batches)
        compiled = ", compiled" if self.training.compile else ""
        say(
            f"Training on {self.device} in {precision(self.accelerator)}{compiled}: {recipe.epochs} epochs of {steps:,} steps, "
            f"{recipe.batch_size} pairs a step{f' of {together.count()} processes' if together.count() > 1 else ''}."
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
        if together.number():
            return None
        best = state.best
        if best is None:
            raise TrainingError(f"no evaluation on dev took place in {recipe.epochs} epochs")
        finished = Finished(
            identity=identity,
            history=state.history,
            best=best,
            seconds=state.seconds,
            tracking_id=state.tracking_id,
            device=str(self.device),
            precision=precision(self.accelerator),
            micro_batch=state.micro_batch,
        )
        folder.finish(finished)
        return finished

    def _restore(self, folder: StateFolder, identity: str) -> TrainingState:
        saved = folder.load(identity)
        if saved is None:
            state = TrainingState(identity=identity)
        else:
            state, weights, optimiser = saved
            self.objective.load_state_dict(weights)
            self.stepper.optimiser.load_state_dict(optimiser)
            say(f"Going on at epoch {state.epoch + 1}, step {state.step + 1} of {len(self.batches)}.")
        state.micro_batch = min(filter(None, (state.micro_batch, self.training.micro_batch)), default=None)
        self.objective.parts.size = state.micro_batch
        if state.micro_batch is not None:
            say(f"{state.micro_batch} pairs are encoded at a time, with the loss and gradients of the whole batch.")
        return state

    def _epoch(self, state: TrainingState, folder: StateFolder, display: Display, after_evaluation: Hook) -> None:
        self.objective.train()
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

        with closing(self.batches.epoch(epoch, state.step, self._ready)) as batches:
            for batch in on_device(batches, self.device):
                progress = Progress(epoch, state.global_step, state.step / steps)
                self.recent.steps.append(self.stepper.take(batch, progress))
                if (size := self.objective.parts.size) != state.micro_batch:
                    state.micro_batch = size
                    display.say(
                        f"Out of memory at {self.recipe.batch_size} pairs a step: going on with {size} encoded at a time, and the "
                        "loss and gradients of all (cached in two passes). That takes longer."
                    )
                state.step += 1
                state.global_step += 1
                state.part_steps += 1
                self.unasked.step(state.global_step, state.seconds)
                evaluated = state.step in evaluate_after
                saved = not evaluated and state.global_step % self.training.save_every_steps == 0
                if evaluated or saved or len(self.recent.steps) == self.read_every:
                    self._read(state, display)
                if evaluated:
                    count_time()
                    with display.evaluating():
                        self._evaluate(state, folder, display, after_evaluation)
                    clock = time.perf_counter()
                elif saved and together.number() == 0:
                    count_time()
                    folder.save(state, self.objective, self.stepper.optimiser.state_dict())
                    clock = time.perf_counter()

    def _ready(self, batch: Batch) -> Batch:
        return ready(batch.share(together.share(len(batch.image_ids))), self.device)

    def _read(self, state: TrainingState, display: Display) -> None:
        """Add what the last steps computed to the sums of the state."""
        for values in self.recent.read():
            for name, value in values.items():
                state.losses[name] = state.losses.get(name, 0.0) + value
            display.step(state.epoch, values["total"] / self.summed)

    def _evaluate(self, state: TrainingState, folder: StateFolder, display: Display, after_evaluation: Hook) -> None:
        """Add a record to the history, keep the weights where they are the best so far, save the state."""
        point = self._point(state) if together.number() == 0 else None
        if point is not None:
            state.history.append(point)
            if state.best is None or point.dev.rsum > state.best.rsum:
                state.best = folder.save_best(point, self.method)
        state.losses, state.part_steps, state.part_seconds = {}, 0, 0.0
        if state.step == len(self.batches):
            state.epoch, state.step = state.epoch + 1, 0
        if point is not None and state.best is not None:
            folder.save(state, self.objective, self.stepper.optimiser.state_dict())
            display.evaluation(point, state.best.epoch)
            if line := collapse.line(state.history):
                display.say(line)
            after_evaluation(state)
        together.wait()

    def _point(self, state: TrainingState) -> Point:
        """What is known after the part of an epoch that ends here."""
        steps = len(self.batches)
        losses = {name: value / (state.part_steps * self.summed) for name, value in state.losses.items()}
        constant = self.objective.constant(self.recipe.batch_size, Progress(state.epoch, state.global_step - 1))
        before = state.history[-1] if state.history else None
        unweighted = sum(value for name, value in losses.items() if name != "total")
        found = self.evaluate_dev(None if constant is None else unweighted * self.summed / constant, before)
        return Point(
            evaluation=len(state.history) + 1,
            epoch=state.epoch + 1 if state.step == steps else round(state.epoch + state.step / steps, 2),
            learning_rate=learning_rate(self.recipe, state.global_step - 1, steps),
            losses=losses,
            seconds=state.part_seconds,
            pairs_per_second=state.part_steps * self.recipe.batch_size / state.part_seconds,
            **vars(found),
        )

    def evaluate_dev(self, loss: float | None, before: Point | None) -> OnDev:
        """What the selection part of dev says; the method has what it chooses. loss, before: as `collapse.watched` takes them"""
        with self.accelerator.autocast():
            encoded = encode(self.method, self.dev, self.evaluation_batch, self.device, self._show)
        best: tuple[Metrics, np.ndarray, Mapping[str, float]] | None = None
        for values in self.method.choices() or [{}]:
            self.method.choose(values)
            with self.accelerator.autocast():
                matrix = score(self.method, encoded.images, encoded.texts, self.tile, show=self._show)
            figures = Metrics(**metrics(ranks(matrix, self.dev.image_of, "dev similarity")))
            if best is None or figures.rsum > best[0].rsum:
                best = figures, matrix, values
        assert best is not None
        figures, matrix, chosen = best
        self.method.choose(chosen)
        watched = collapse.watched(encoded.images, encoded.texts, matrix, loss, before)
        with torch.inference_mode():
            inner = self.objective.inner(encoded.images, encoded.texts)
        return OnDev(figures, watched, inner, dict(chosen))


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """The steps of an epoch, counted from 1, after which dev is evaluated: evenly spread, the last of them the last step."""
    return {max(1, math.floor((steps - 1) * part / evaluations) + 1) for part in range(1, evaluations + 1)}
