"""The one step of a training: encode each side, with its views, score, loss; and what the encoder's training adds to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from itrcore.assets.grid import prepare
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.layers.encoded import Vectors
from itrcore.layers.grid import GridEncoder
from itrcore.layers.losses.contract import Loss
from itrcore.layers.losses.triplet import self_expanding_triplet
from itrcore.layers.progress import Progress
from itrcore.methods.build import build
from itrcore.methods.contract import EmbeddingMethod, SetMethod
from itrcore.methods.objective import Objective
from tests.support.backbones import grid
from tests.support.helpers import method_of, method_settings, pair_batch, text_source

WIDTH, N_WORDS = 12, 30
ON_GRIDS = pytest.mark.parametrize("name", ["vse_infty_bigru", "esa_bigru", "esl_h_bert"])
LOSSES: dict[str, dict[str, Any]] = {
    "hinge": {"margin": 0.3, "warmup_epochs": 1},
    "self_expanding": {"margin": 0.3, "warmup_epochs": 1},
    "symmetric": {"initial_scale": 10.0, "max_scale": 100.0},
    "sigmoid": {"initial_scale": 10.0, "max_scale": 100.0, "initial_bias": -5.0},
}


class Counting(EmbeddingMethod[RegionBatch]):
    """Sums of regions and of ids, and what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode_images(self, batch: RegionBatch) -> Vectors:
        self.asked.append("images")
        return Vectors(batch.regions.sum(1))

    def image_views(self, batch: RegionBatch) -> Vectors:
        self.asked.append("views")
        return Vectors(batch.regions.sum(1))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        self.asked.append("texts")
        return Vectors(batch.ids.float() @ torch.ones(batch.ids.shape[1], WIDTH))

    def loss_weight(self, progress: Progress) -> float:
        return progress.share


def test_each_side_is_encoded_once_images_with_their_views_and_all_pairs_meet_the_loss() -> None:
    seen: list[Tensor] = []

    class Watched(Loss):
        def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
            seen.append(scores)
            return {"one": scores.mean(), "two": scores.max()}

    method, batch = Counting(), pair_batch(5, 1, WIDTH, N_WORDS)
    losses = Objective(method, Watched())(batch, Progress(0, 0, share=0.25))
    assert method.asked == ["views", "texts"]
    (scores,) = seen
    assert scores.equal(method.similarity(method.encode_images(batch.images), method.encode_texts(batch.texts)))
    assert losses.terms == {"one": scores.mean(), "two": scores.max()} and losses.weight == 0.25
    torch.testing.assert_close(losses.total, 0.25 * (scores.mean() + scores.max()))


@pytest.mark.parametrize("kind", LOSSES)
def test_the_recipe_chooses_the_loss_and_its_name(kind: str) -> None:
    settings = method_settings("vse_pp_bigru", loss={"kind": kind, **LOSSES[kind]})
    method, batch = method_of(settings, WIDTH, N_WORDS), pair_batch(5, 1, WIDTH, N_WORDS)
    objective = Objective.of(settings, method.eval())
    assert objective.method is method
    terms = objective(batch, Progress(0, 0)).terms
    assert list(terms) == ["cross_entropy" if kind == "symmetric" else kind]
    scores = method.similarity(method.encode_images(batch.images), method.encode_texts(batch.texts))
    torch.testing.assert_close(list(terms.values()), list(objective.loss(scores, Progress(0, 0)).values()))


def test_views_of_both_sides_meet_in_adjacent_blocks() -> None:
    settings = method_settings("esa_bigru")
    method, batch = method_of(settings, WIDTH, N_WORDS).eval(), pair_batch(5, 2, WIDTH, N_WORDS)
    torch.manual_seed(4)
    total = Objective.of(settings, method)(batch, Progress(1, 0)).total
    torch.manual_seed(4)
    scores = method.similarity(method.image_views(batch.images), method.encode_texts(batch.texts))
    assert scores.shape == (10, 10)
    torch.testing.assert_close(total, self_expanding_triplet(scores, 2, 0.2, True))


def on_grid(name: str) -> tuple[SetMethod, Objective]:
    """A method on a small ResNet whose warm-up, with all of it frozen, ends before epoch 2."""
    settings = method_settings(name)
    method = build(settings, prepare(grid(), None), text_source(settings, N_WORDS), 0)
    assert isinstance(method, SetMethod)
    return method, Objective.of(settings, method)


@ON_GRIDS
def test_the_backbone_is_opened_as_epochs_begin(name: str) -> None:
    method, _ = on_grid(name)
    assert isinstance(method.regions, GridEncoder)
    opened = []
    for epoch in (0, 1, 2):
        method.begin_epoch(epoch)
        opened.append(any(weight.requires_grad for weight in method.regions.backbone.parameters()))
    assert opened == [False, False, True]


@ON_GRIDS
def test_the_loss_rises_with_its_weight_while_the_backbone_begins_to_train(name: str) -> None:
    _, objective = on_grid(name)
    batch = pair_batch(5, method_settings(name).model.n_views, None, N_WORDS)
    objective.eval()

    def total(epoch: int, share: float) -> float:
        torch.manual_seed(0)  # ESA's masks
        value: float = objective(batch, Progress(epoch, 0, share)).total.item()
        return value

    whole = total(3, 0.25)
    assert whole > 0
    assert total(2, 0.25) == pytest.approx(whole / 4)
    assert total(2, 0.0) == 0


def test_what_the_loss_learns_is_in_the_trainings_state_and_not_in_the_methods() -> None:
    settings = method_settings("vse_pp_bigru", loss={"kind": "sigmoid", **LOSSES["sigmoid"]})
    method = method_of(settings, WIDTH, N_WORDS)
    objective = Objective.of(settings, method)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(1.0)
    kept = objective.state_dict()
    own = {name for name in kept if not name.startswith("method.")}
    assert own == {"loss.own_log_scale", "loss.bias"}
    assert kept.keys() == own | {f"method.{name}" for name in method.state_dict()}
    again = Objective.of(settings, method_of(settings, WIDTH, N_WORDS, seed=1))
    again.load_state_dict(kept)
    batch = pair_batch(5, 1, WIDTH, N_WORDS)
    values = [one.eval()(batch, Progress(0, 0)).total for one in (objective, again)]
    assert values[0] == values[1]
