"""What one piece of a run's work takes, and from that what a run takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from itrcore.costs.counts import SplitCounts
from itrcore.settings.methods import MethodSettings

LONG_ON_CPU = 24 * 3600.0  # seconds: a longer training on a CPU has to be asked for, by `training.device: cpu`

How = Literal["measured", "measured in smaller batches", "estimated"]


@dataclass(frozen=True)
class Rates:
    """Seconds of one training step, and in evaluation of one image, one caption, one pair of both; a method's parameters.

    how: where they are from
    """

    step: float
    image: float
    caption: float
    pair: float
    parameters: int
    how: How


@dataclass(frozen=True)
class Times:
    """Seconds that a run takes: all its steps, all its evaluations on dev, its one evaluation on test and dev at the end."""

    steps: float
    dev: float
    test: float


def steps_of(settings: MethodSettings, captions: int) -> int:
    """Steps of a whole training on so many captions; an epoch leaves out what is too little for a batch."""
    return captions // settings.recipe.batch_size * settings.recipe.epochs


def times(rates: Rates, settings: MethodSettings, counts: Mapping[str, SplitCounts], selection: int) -> Times:
    """What a run takes. counts: of each split; selection: captions of dev that choose its weights"""
    recipe = settings.recipe
    dev = counts["dev"].first(selection)
    return Times(
        steps=steps_of(settings, counts["train"].captions) * rates.step,
        dev=recipe.epochs * recipe.evaluations * _evaluation(rates, dev),
        test=_evaluation(rates, counts["test"]) + _evaluation(rates, dev),
    )


def _evaluation(rates: Rates, split: SplitCounts) -> float:
    return split.images * rates.image + split.captions * rates.caption + split.images * split.captions * rates.pair
