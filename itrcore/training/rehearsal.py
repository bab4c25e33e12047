"""How long a method takes here: real steps of its training and a small evaluation, on random inputs of the real shape."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from itrcore import layout
from itrcore.assets import assets
from itrcore.costs.counts import Shape
from itrcore.costs.rates import How, Rates
from itrcore.data.captions import read_table, rows_of
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.random_captions import PIECES, WORDS, captions
from itrcore.data.feeding.random_images import random_images
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.evaluation.scoring import encode, score
from itrcore.layers.progress import Progress
from itrcore.methods.build import build
from itrcore.methods.objective import Objective
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.methods import MethodSettings
from itrcore.settings.training import TrainingSettings
from itrcore.training.frozen import frozen_encoder
from itrcore.training.loop import Trainer

_IMAGES, _EACH = 12, 5  # of the small evaluation: images, and captions of each
_BLOCK = 30  # captions at once there, of similar length, as in a large one
_REPEATED = 8  # times that each item is scored: small tiles are slow
_SAMPLED = 5000  # captions whose lengths are counted
_TOKEN = re.compile(r"\w+|[^\w\s]")  # about what words and word pieces are
_STEPS, _LONG = 12, 2.0  # steps that are timed at most; no more of them after so many seconds


class Rehearsal:
    """A method with weights drawn at random, and data of random content."""

    def __init__(
        self, settings: MethodSettings, training: TrainingSettings, shape: Shape, n_tokens: int, data: str
    ) -> None:
        """n_tokens: of the vocabulary or of word pieces of the data set's own; data: the data set, for the lengths of its captions

        `ConfigError` where the device is not there, `DataError` where a package is missing.
        """
        self._settings = settings
        image, text, concepts = assets.untrained(settings.model, shape.width, n_tokens)
        lengths = text.lengths(_lengths(data, settings))
        method = build(settings, image, text.source, 0, concepts)
        touched = settings.model.touched
        self._views = Views(settings.model.n_views, None if touched is None else (touched, text.token_ids))
        regions, picture = (shape.regions, shape.width), shape.picture

        frozen = frozen_encoder(method)

        def split(images: int, each: int, kept: bool) -> Split:
            table = TokenTable.of(captions(images * each, text.token_ids, lengths, np.random.default_rng(0)))
            if frozen is not None and kept:  # hidden states, which a training reads in place of captions
                states = torch.zeros(len(table.ids), frozen.linear.in_features, dtype=torch.float16)
                table = replace(table, states=states)
            return Split(
                random_images(method.input, images, regions, picture),
                range(images * each),
                table,
                np.repeat(np.arange(images), each),
            )

        self._split = split(settings.recipe.batch_size * (1 + _STEPS), 1, kept=True)
        self._dev = split(_IMAGES, _EACH, kept=False)
        objective = Objective.of(settings, method)
        self._trainer = Trainer(objective, settings, training, 0, self._batches(2), self._dev, _BLOCK, 512)
        self.parameters = sum(parameter.numel() for parameter in method.parameters())

    def rates(self, seconds: float) -> Rates:
        """Measured within about so many seconds. The batch is the real one unless its two steps would take longer."""
        started = time.perf_counter()
        size = self._settings.recipe.batch_size
        if self._settings.zero_shot:
            return Rates(0.0, *self._evaluation(), self.parameters, "measured")
        least = self._steps(2, 1)  # also what only the first step does
        image, caption, pair = self._evaluation()
        step, how = self._step(size, least, pair, seconds, started)
        return Rates(step, image, caption, pair, self.parameters, how)

    def _step(self, size: int, least: float, pair: float, seconds: float, started: float) -> tuple[float, How]:
        """Seconds of a step. least: of one with two pairs; pair: in evaluation, of which a step takes three times"""
        if size < 16:
            return self._steps(size, _STEPS), "measured"
        small, larger = size // 8, size // 4
        if least * (small + larger) > seconds:  # though it grows slower than the batch, mostly
            small, larger = max(2, size // 32), max(4, size // 16)
        first, second = self._steps(small, 1), self._steps(larger, 1)
        expected = extrapolated(small, first, larger, second, size, 3 * pair * self._settings.model.n_views**2)
        if time.perf_counter() - started + 2 * expected > seconds:
            return expected, "measured in smaller batches"
        return self._steps(size, _STEPS), "measured"

    def _batches(self, size: int) -> TrainingBatches:
        return TrainingBatches(self._split, size, 0, self._views)

    def _steps(self, size: int, number: int) -> float:
        """Seconds of a step with a batch of this size, the median of so many after a first one; fewer where they are long."""
        trainer, epochs = self._trainer, self._settings.recipe.epochs
        trainer.batches = self._batches(size)
        trainer.objective.train()
        trainer.method.begin_epoch(epochs - 1)  # a backbone trains whole
        taken: list[float] = []
        begun = now = time.perf_counter()
        with closing(trainer.batches.epoch(0)) as batches:
            for number_done, batch in enumerate(batches):
                step = trainer.stepper.take(batch.to(trainer.device), Progress(epochs - 1, number_done))
                step.values.tolist()  # waits for the device
                before, now = now, time.perf_counter()
                taken.append(now - before)
                if number_done >= number or (number_done >= 1 and now - begun > _LONG):
                    break
        return median(taken[1:])

    def _evaluation(self) -> tuple[float, float, float]:
        """Seconds of an image, of a caption, of a pair."""
        trainer = self._trainer
        method: Any = trainer.method
        with trainer.accelerator.autocast():
            encoded = encode(method, self._dev, _BLOCK, trainer.device)
            images, texts = (
                side.take(np.tile(np.arange(len(side)), _REPEATED)) for side in (encoded.images, encoded.texts)
            )
            started = time.perf_counter()
            matrix = score(method, images, texts, 512)
            seconds = time.perf_counter() - started
        return (
            encoded.image_seconds / len(encoded.images),
            encoded.text_seconds / len(encoded.texts),
            seconds / matrix.size,
        )


def _lengths(data: str, settings: MethodSettings) -> Sequence[int]:
    """How many captions have 0, 1, 2, … tokens: of the data set if it is prepared, else of Flickr30K."""
    path = layout.captions(data)
    if not path.exists():
        return WORDS if isinstance(settings.model.text, BiGRUSettings) else PIECES
    texts = rows_of(read_table(path), "train")["text"].slice(0, _SAMPLED).to_pylist()
    return [int(number) for number in np.bincount([len(_TOKEN.findall(text)) + 2 for text in texts])]


def extrapolated(small: int, first: float, larger: int, second: float, size: int, square: float) -> float:
    """Seconds of a step with a batch of `size`, from those with two smaller ones, `first` and `second`.

    square: seconds that each pair of an image and a caption of the batch takes. The rest grows with the batch, but for a part
    such as the optimiser's, which is found from the two and taken as half of it at most: they are short and noisy.
    """
    square = min(square, second / larger**2)
    before, after = first - square * small**2, second - square * larger**2
    proportional = after / larger * size
    line = after + (after - before) / (larger - small) * (size - larger)
    return square * size**2 + min(proportional, max(proportional / 2, line))
