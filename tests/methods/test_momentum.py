"""Training against queues: what follows the method, what the queue holds, and the loss against plain loops."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from itrcore.data.feeding.batches import Batch
from itrcore.layers.encoded import Vectors
from itrcore.layers.progress import Progress
from itrcore.methods.momentum import MomentumObjective
from itrcore.methods.objective import Objective
from itrcore.settings.methods import MethodSettings
from itrcore.training.step import make_optimiser
from tests.support.helpers import CLUSTERS, MOMENTUM, method_of, method_settings, pair_batch

WIDTH, N_WORDS, PAIRS = 12, 30, 4
QUEUED = ["vse_infty_bigru", "coder_bigru"]


def objective_of(name: str, **loss: Any) -> tuple[MomentumObjective, MethodSettings]:
    settings = method_settings(name, loss={**MOMENTUM, **loss})
    objective = Objective.of(settings, method_of(settings, WIDTH, N_WORDS))
    assert isinstance(objective, MomentumObjective)
    return objective, settings


def batch_of(ids: list[int], seed: int) -> Batch:
    return replace(pair_batch(len(ids), 1, WIDTH, N_WORDS, seed), image_ids=ids)


def step(objective: MomentumObjective, settings: MethodSettings, *batches: Batch) -> None:
    """Train on batches, one after the other."""
    optimiser, _ = make_optimiser(objective, settings.recipe)
    for batch in batches:
        optimiser.zero_grad()
        objective(batch, Progress(1, 0)).total.backward()
        optimiser.step()
        objective.after_step()


def vectors(method: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return method.encode_images(batch.images).vectors, method.encode_texts(batch.texts).vectors


@pytest.mark.parametrize("name", QUEUED)
def test_the_following_encoders_keep_most_of_each_parameter_and_buffer(name: str) -> None:
    objective, settings = objective_of(name)
    objective.train()
    expected = {key: value.clone() for key, value in objective.keys.state_dict().items()}
    for seed in range(3):
        step(objective, settings, batch_of([1, 2, 3, 4], seed))
        for key, value in objective.method.state_dict().items():
            old = expected[key]
            expected[key] = 0.9 * old + 0.1 * value if value.is_floating_point() else value.clone()
    assert "regions.norm.running_mean" in expected and "regions.norm.num_batches_tracked" in expected
    for key, value in objective.keys.state_dict().items():
        torch.testing.assert_close(value, expected[key], msg=lambda text, at=key: f"{at}: {text}")
    weight = "regions.fc.weight"
    assert not objective.keys.state_dict()[weight].equal(objective.method.state_dict()[weight])


@pytest.mark.parametrize("name", QUEUED)
def test_the_queue_holds_what_the_following_encoders_made_of_each_batch_at_its_time(name: str) -> None:
    objective, settings = objective_of(name, queue=6)
    objective.train()
    batches, made = [batch_of([4 * seed + n for n in range(4)], seed) for seed in range(3)], []
    for batch in batches:
        made.append(vectors(objective.keys, batch))
        step(objective, settings, batch)
    assert not objective.keys.training and objective.method.training
    assert objective.queue.ids.tolist() == [6, 7, 8, 9, 10, 11]  # the last six, in a ring that came round to its start
    for kept, side in ((objective.queue.images, 0), (objective.queue.texts, 1)):
        torch.testing.assert_close(kept, torch.cat([sides[side] for sides in made])[6:])


def test_the_loss_is_that_of_plain_loops_and_no_pair_of_the_same_image_is_a_negative() -> None:
    hinge = {"kind": "hinge", "margin": 0.2, "warmup_epochs": 0}
    objective, settings = objective_of("coder_bigru", loss=hinge, queue=6, batch_weight=3.0)
    objective.train()
    step(objective, settings, batch_of([1, 2, 3], 1))  # three places stay empty
    batch = batch_of([2, 9, 9, 5], 2)  # the image 9 twice, with two captions; 2 is in the queue with another
    queue, twin = deepcopy(objective.queue), deepcopy(objective)
    terms = objective(batch, Progress(1, 0)).terms
    with torch.no_grad():
        images, texts = twin.method.encode_images(batch.images).vectors, twin.method.encode_texts(batch.texts).vectors
    keys, dim = vectors(twin.keys, batch), settings.model.dim
    ids = batch.image_ids
    for name, part in (("instance", slice(0, dim)), ("concept", slice(dim, 2 * dim))):
        within, against = 0.0, 0.0
        for queries, others, own, kept in (
            (images[:, part], texts[:, part], keys[1][:, part], queue.texts[:, part]),
            (texts[:, part], images[:, part], keys[0][:, part], queue.images[:, part]),
        ):
            for i, query in enumerate(queries):
                costs = [0.2 + query @ others[j] - query @ others[i] for j in range(4) if ids[j] != ids[i]]
                within += 3.0 * max(0.0, *map(float, costs))
                costs = [0.2 + query @ kept[j] - query @ own[i] for j in range(3) if int(queue.ids[j]) != ids[i]]
                against += max(0.0, *map(float, costs))
        assert terms[f"{name}_batch"].item() == pytest.approx(within, rel=1e-5)
        assert terms[f"{name}_queue"].item() == pytest.approx(against, rel=1e-5)
    assert set(terms) == {"instance_batch", "instance_queue", "concept_batch", "concept_queue"}


@pytest.mark.parametrize(
    "loss",
    [
        {"kind": "hinge", "margin": 0.2, "warmup_epochs": 0},
        {"kind": "symmetric", "initial_scale": 14.3, "max_scale": 100.0},
        MOMENTUM["loss"],
    ],
    ids=lambda loss: loss["kind"],
)
def test_pairs_of_the_queries_own_images_and_empty_places_do_not_touch_the_loss(loss: dict[str, Any]) -> None:
    objective, settings = objective_of("vse_infty_bigru", loss=loss)
    objective.train()
    step(objective, settings, batch_of([1, 2, 3, 4], 1))
    batch = batch_of([1, 2, 1, 2], 2)  # other captions of two of these images

    def value() -> float:
        return objective(batch, Progress(1, 0)).terms["vector_queue"].item()

    before, kept = value(), objective.queue
    own = torch.tensor([0, 1, *range(4, 16)])
    for side in (kept.images, kept.texts):
        side[own[2:]] = 7.0
    assert value() == before
    ids = kept.ids.clone()
    kept.ids[:] = 1  # all of the first image: alike for two of the queries, negatives for the other two
    assert value() != before
    kept.ids[:] = ids
    kept.images[2] += 1.0
    kept.texts[2] += 1.0
    assert value() != before


def test_without_a_queue_the_loss_within_the_batch_is_left() -> None:
    objective, settings = objective_of("coder_bigru", queue=0, clusters=CLUSTERS)
    objective.train()
    step(objective, settings, batch_of([1, 2, 3, 4], 1))
    assert set(objective(batch_of([1, 2, 3, 4], 2), Progress(1, 0)).terms) == {
        "instance_batch", "concept_batch", "clusters",
    }  # fmt: skip


def test_all_of_it_is_state_of_the_training_and_none_of_it_the_methods() -> None:
    objective, settings = objective_of("coder_bigru", clusters=CLUSTERS)
    alone = method_of(settings, WIDTH, N_WORDS)
    assert set(objective.method.state_dict()) == set(alone.state_dict())
    assert sum(p.numel() for p in objective.method.parameters()) == sum(p.numel() for p in alone.parameters())
    extra = set(objective.state_dict()) - {f"method.{key}" for key in alone.state_dict()}
    assert extra == {f"keys.{key}" for key in alone.state_dict()} | {
        *(f"queue.{key}" for key in ("images", "texts", "ids", "next")), "clusters.centres", "clusters.weight",
    }  # fmt: skip
    optimiser, _ = make_optimiser(objective, settings.recipe)
    taken = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    learned = {id(parameter) for parameter in objective.parameters() if parameter.requires_grad}
    assert taken == learned == {id(p) for p in objective.method.parameters()} | {id(objective.clusters.weight)}  # type: ignore[union-attr]
    assert optimiser.param_groups[-1]["weight_decay"] == 0.0


def test_a_training_that_goes_on_from_its_state_takes_the_same_steps() -> None:
    batches = [batch_of([4 * seed + n for n in range(4)], seed) for seed in range(5)]
    objective, settings = objective_of("coder_bigru", clusters=CLUSTERS, queue=10)
    objective.train()
    step(objective, settings, *batches[:3])
    again, _ = objective_of("coder_bigru", clusters=CLUSTERS, queue=10)
    again.train()
    again.load_state_dict(objective.state_dict())
    for one in (objective, again):
        step(one, settings, *batches[3:])
    for key, value in objective.state_dict().items():
        assert again.state_dict()[key].equal(value), key


@pytest.mark.parametrize("labels", ["own", "other"])
def test_concepts_predict_the_clusters_of_their_own_side_or_of_the_other(labels: str) -> None:
    objective, settings = objective_of("coder_bigru", clusters={**CLUSTERS, "labels": labels, "weight": 0.25})
    objective.train()
    step(objective, settings, batch_of([1, 2, 3, 4], 1))
    batch, clusters, dim = batch_of([5, 6, 7, 8], 2), objective.clusters, settings.model.dim
    assert clusters is not None
    counts, shares = torch.tensor([True] * 8 + [False] * 12), []
    for new, kept in zip(vectors(objective.keys, batch), (objective.queue.images, objective.queue.texts), strict=True):
        shares.append(clusters.labels(torch.cat([new, kept])[:, :dim], counts)[:4])
    expected = []
    for made, of in zip(
        vectors(deepcopy(objective.method), batch), shares if labels == "own" else shares[::-1], strict=True
    ):
        weight = clusters.weight / clusters.weight.norm(dim=1, keepdim=True)
        expected.append(-(of * torch.log_softmax(made[:, dim:] @ weight.T / 0.1, dim=1)).sum(dim=1).mean())
    before = clusters.centres.clone()
    losses = objective(batch, Progress(1, 0))
    torch.testing.assert_close(losses.terms["clusters"], 0.25 * sum(expected) / 2, rtol=1e-4, atol=1e-6)
    losses.total.backward()
    graph = objective.method.graph  # type: ignore[attr-defined]
    assert graph.second.weight.grad.abs().sum() > 0 and clusters.weight.grad is not None
    objective.after_step()
    assert not clusters.centres.equal(before)


def test_what_is_watched_is_over_how_many_clusters_and_concepts_the_vectors_are_spread(monkeypatch: Any) -> None:
    objective, settings = objective_of("coder_bigru", clusters=CLUSTERS)
    axes, dim = torch.eye(settings.model.dim), settings.model.dim
    monkeypatch.setattr(objective.method.graph, "concepts", lambda: axes[:6])
    objective.clusters.centres.copy_(axes[:5])  # type: ignore[union-attr]

    def seen(*instance: Tensor) -> dict[str, float]:
        sides = [Vectors(torch.cat([vector, torch.zeros(dim)])[None]) for vector in instance]
        return objective.inner(Vectors.join(sides[:2]), Vectors.join(sides[2:]))

    # Similarities of 1 are 20 in a cluster's exponent, and 10 in a concept's: shares of 1/(1 + 4·e⁻²⁰) and 1/(1 + 5·e⁻¹⁰).
    assert seen(axes[0], axes[1], axes[1], axes[0]) == pytest.approx(
        {"clusters_used": 2.0, "clusters_each": 1.0, "concepts_used": 2.0, "concepts_each": 1.0}, abs=0.01
    )
    far = axes[9]  # from all centres and all concepts: nothing is chosen
    assert seen(far, far, far, far) == pytest.approx(
        {"clusters_used": 5.0, "clusters_each": 5.0, "concepts_used": 6.0, "concepts_each": 6.0}
    )
    # Half of them choose one, half all: 5^(1/2) and 6^(1/2) for each.
    assert seen(axes[0], far, far, axes[0]) == pytest.approx(
        {
            "clusters_used": math.exp(-0.6 * math.log(0.6) - 4 * 0.1 * math.log(0.1)), "clusters_each": 5**0.5,
            "concepts_used": math.exp(-7 / 12 * math.log(7 / 12) - 5 / 12 * math.log(1 / 12)), "concepts_each": 6**0.5,
        },
        rel=0.01,
    )  # fmt: skip
    assert set(objective_of("vse_infty_bigru")[0].inner(Vectors(axes), Vectors(axes))) == set()


@pytest.mark.parametrize("alpha", [0.9, 0.3])
def test_the_similarity_is_the_weighted_sum_of_both_branches_and_an_inner_product(alpha: float) -> None:
    values = method_settings("coder_bigru").model_dump()
    settings = MethodSettings.model_validate({**values, "model": {**values["model"], "alpha": alpha}})
    method = method_of(settings, WIDTH, N_WORDS).eval()
    batch = batch_of([1, 2, 3, 4], 1)
    images, texts = method.encode_images(batch.images), method.encode_texts(batch.texts)
    parts = [method.branches(side.vectors.double()) for side in (images, texts)]
    instance, concept = (parts[0][name] @ parts[1][name].T for name in ("instance", "concept"))
    expected = alpha * instance + (1 - alpha) * concept
    product = method.image_vectors(images) @ method.text_vectors(texts).T
    for given in (method.similarity(images, texts), product):
        torch.testing.assert_close(given.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(method.image_vectors(images).norm(dim=1), torch.ones(4))
    assert (instance - concept).abs().max() > 0.01
