"""Every method learns with the demo's settings: far above chance, untrained at chance.

Of pictures on the demo's data set. Of regions in fewer epochs on half of it, of scenes that are easier to tell apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from itrcore import layout
from itrcore.assets import assets
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.prepared import feature_width, open_split
from itrcore.data.feeding.split import Split
from itrcore.data.sources import obtain
from itrcore.evaluation.scoring import encode, score
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.methods.objective import Objective
from itrcore.ranking import metrics, ranks
from itrcore.settings.datasets import ScenesSource
from itrcore.settings.load import load
from itrcore.settings.losses import MomentumSettings, WarmedSettings
from itrcore.settings.methods import MethodSettings
from itrcore.settings.optimisation import StepSchedule
from itrcore.training.loop import Trainer
from itrcore.training.state import StateFolder
from tests.support.project import ROOT

pytestmark = pytest.mark.slow

PARAMS = load(ROOT / "params.yaml")
# One run of each method but those whose code is another one's, with one part changed or left out, and that take as long.
# (Shortened, SGR's start hangs on the last digits: it collapses now and then, and comes back in the epochs left out.)
ALIKE = ("esl_a_bert", "saf_bigru", "sgr_bigru")
EASIER = {"noise": 0.1, "max_objects": 3, "near_duplicates": 2, "regions": 6}
TRAIN = 400  # images of these
RUNS = {run.method: name for name, run in PARAMS.runs.items() if run.method not in ALIKE}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """The demo's data set, or the easier half of it, made once where it is asked for."""
    drawn = PARAMS.datasets["scenes"].source
    assert isinstance(drawn, ScenesSource)
    easier = drawn.model_copy(update={**EASIER, "images": drawn.images.model_copy(update={"train": TRAIN})})
    return functools.cache(lambda whole: made(tmp_path_factory.mktemp("scenes"), drawn if whole else easier))


def made(folder: Path, source: ScenesSource) -> Path:
    """A data set made by the stages' own functions."""
    from stages import concepts, shards, splits, vocab

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        obtain.make(source, layout.raw("scenes"), lambda done, total: None)
        for stage in (splits, vocab, concepts, shards):
            stage.main(PARAMS, "scenes")
    return folder


@pytest.mark.parametrize("method_name", sorted(RUNS))
def test_trained_is_far_above_chance_and_untrained_is_at_chance(
    method_name: str, worlds: Callable[[bool], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PARAMS.method_of(RUNS[method_name])
    monkeypatch.chdir(worlds(settings.model.reads_pixels))
    if not settings.model.reads_pixels:
        settings = shortened(settings)
    prepared = assets.prepare(
        settings.model, layout.vocabulary("scenes"), layout.NLTK, feature_width("scenes"), layout.concepts("scenes")
    )
    image, text = prepared.image, prepared.text
    method = build(settings, image, text.source, 3, prepared.concepts)
    train, dev, test = (open_split("scenes", split, text.tokeniser, method.input) for split in ("train", "dev", "test"))
    chance = 100.0 * np.bincount(test.image_of).mean() / test.n_captions

    untrained = _evaluate(method, test)
    assert untrained["i2t_r1"] <= 5 * chance  # of 150 images at most 5 by luck
    assert 0.35 < untrained["t2i_mean"] / test.n_images < 0.65

    touched = settings.model.touched
    views = Views(settings.model.n_views, None if touched is None else (touched, text.tokeniser.token_ids))
    batches = TrainingBatches(train, settings.recipe.batch_size, 3, views)
    trainer = Trainer(Objective.of(settings, method), settings, PARAMS.training, 3, batches, dev, 256, 512)
    trained = trainer.run(StateFolder(tmp_path), "test", lambda state: None, lambda state: None)
    method.load_state_dict(load_file(tmp_path / trained.best.file))
    learned = _evaluate(method, test)
    if settings.model.reads_pixels:  # from random weights on 800 pictures: far from what region features give
        assert learned["rsum"] >= 3 * untrained["rsum"]
        assert learned["t2i_mean"] / test.n_images < 0.35
        return
    assert learned["i2t_r1"] >= 20 * chance
    assert learned["t2i_mean"] / test.n_images < 0.25


def shortened(settings: MethodSettings) -> MethodSettings:
    """Half of the demo's epochs, of slower methods than SCAN one more, the last as there: enough for what is asked here."""
    epochs = settings.recipe.epochs // 2 + (settings.model.kind != "scan")
    loss, recipe = settings.loss, settings.recipe.model_copy(update={"epochs": epochs})
    if isinstance(loss, WarmedSettings):
        loss = loss.model_copy(update={"warmup_epochs": epochs - 1})
    if isinstance(loss, MomentumSettings):
        loss = loss.model_copy(update={"loss": loss.loss.model_copy(update={"warmup_epochs": epochs - 1})})
    if isinstance(recipe.schedule, StepSchedule):
        recipe = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"epochs": [epochs - 1]})})
    return settings.model_copy(update={"loss": loss, "recipe": recipe})


def _evaluate(method: Method, split: Split) -> dict[str, float]:
    encoded = encode(method, split, 256, torch.device("cpu"))
    return metrics(ranks(score(method, encoded.images, encoded.texts, 512), split.image_of))
