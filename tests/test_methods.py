"""The contract that every registered method keeps, whatever it is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from itrcore.data.batches import Batch, ImageBatch, TextBatch
from itrcore.losses import hinge_triplet, self_expanding_triplet
from itrcore.models import registry
from itrcore.models.base import EmbeddingMethod, Encoded, Losses, Method, Progress
from itrcore.models.esa import ESA
from tests.helpers import METHODS, image_batch, method_settings, pair_batch, text_batch, text_inputs

WIDTH, N_WORDS = 12, 30
EVERY_METHOD = pytest.mark.parametrize("name", METHODS)


def build(name: str, seed: int = 0, width: int = WIDTH) -> EmbeddingMethod:
    settings = method_settings(name)
    method = registry.build(settings, width, text_inputs(settings, N_WORDS), seed)
    assert isinstance(method, EmbeddingMethod)
    return method


def encoded(method: Method, images: ImageBatch, texts: TextBatch) -> tuple[Encoded, Encoded]:
    method.eval()
    with torch.no_grad():
        return method.encode_images(images), method.encode_texts(texts)


def test_every_kind_in_the_registry_is_tested_here() -> None:
    assert {method_settings(name).model.kind for name in METHODS} == set(registry.METHODS)


@EVERY_METHOD
@pytest.mark.parametrize(("regions", "width"), [(1, 5), (12, 64), (36, 7)])
def test_similarity_is_the_inner_product_of_the_index_vectors_at_any_size(name: str, regions: int, width: int) -> None:
    method = build(name, width=width)
    images, texts = encoded(method, image_batch([regions] * 4, width), text_batch([3, 9, 1], N_WORDS))
    with torch.no_grad():
        similarity = method.similarity(images, texts)
        vectors = method.image_vectors(images), method.text_vectors(texts)
    assert similarity.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert float(similarity[i, j]) == pytest.approx(float(vectors[0][i] @ vectors[1][j]), abs=1e-5)
    for side in vectors:
        torch.testing.assert_close(torch.linalg.vector_norm(side, dim=-1), torch.ones(len(side)))


@EVERY_METHOD
def test_an_item_gets_the_same_vector_in_any_batch(name: str) -> None:
    method = build(name)
    images, texts = image_batch([5, 2, 4, 1], WIDTH), text_batch([4, 9, 2, 6], N_WORDS)
    together = encoded(method, images, texts)
    for row in range(4):
        k, length = int(images.lengths[row]), int(texts.lengths[row])
        alone = encoded(
            method,
            ImageBatch(images.regions[row : row + 1, :k], images.lengths[row : row + 1]),
            TextBatch(texts.ids[row : row + 1, :length], texts.lengths[row : row + 1]),
        )
        for ours, whole in zip(alone, together, strict=True):
            torch.testing.assert_close(ours.vectors[0], whole.vectors[row], rtol=0, atol=1e-6)
    wider = encoded(
        method,
        ImageBatch(nn.functional.pad(images.regions, (0, 0, 0, 4), value=9.0), images.lengths),
        TextBatch(nn.functional.pad(texts.ids, (0, 3)), texts.lengths),
    )
    for ours, whole in zip(wider, together, strict=True):
        torch.testing.assert_close(ours.vectors, whole.vectors, rtol=0, atol=1e-6)


@EVERY_METHOD
def test_different_items_get_different_vectors(name: str) -> None:
    images, texts = encoded(build(name), image_batch([5, 5], WIDTH), text_batch([6, 6], N_WORDS))
    for side in (images, texts):
        assert (side.vectors[0] - side.vectors[1]).abs().max() > 1e-3


@EVERY_METHOD
def test_weights_follow_from_the_seed_alone_and_building_draws_nothing_else(name: str) -> None:
    torch.manual_seed(1)
    first = build(name, seed=5).state_dict()
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3))  # building has not moved the caller's generator
    again = build(name, seed=5).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = build(name, seed=6).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


def shuffled(batch: Batch, views: int) -> Batch:
    """The same images, each with the captions of the next image."""
    rows = torch.arange(len(batch.texts.lengths)).roll(views)
    texts = TextBatch(batch.texts.ids[rows], batch.texts.lengths[rows])
    return Batch(batch.images, texts, batch.image_ids, batch.caption_ids)


def loss_value(method: Method, batch: Batch, epoch: int) -> float:
    torch.manual_seed(0)
    with torch.no_grad():
        return float(method.loss(batch, Progress(epoch, 0)).total)


@EVERY_METHOD
def test_training_fits_the_right_pairs_and_tells_them_from_wrong_ones(name: str) -> None:
    method, n = build(name), 6
    views = method.views.captions
    batch = pair_batch(n, views, WIDTH, N_WORDS)
    optimiser = torch.optim.AdamW(method.parameters(), lr=5e-3)
    method.train()
    before = loss_value(method, batch, epoch=1)
    for step in range(60):
        torch.manual_seed(step)
        losses = method(batch, Progress(int(step >= 20), step))
        assert losses.total.isfinite()
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
    after = loss_value(method, batch, epoch=1)
    assert after < 0.5 * before
    assert loss_value(method, shuffled(batch, views), epoch=1) > 1.2 * before
    texts = TextBatch(batch.texts.ids[::views], batch.texts.lengths[::views])
    with torch.no_grad():
        similarity = method.similarity(*encoded(method, batch.images, texts))
    assert similarity.argmax(1).tolist() == list(range(n))
    assert similarity.argmax(0).tolist() == list(range(n))


@EVERY_METHOD
def test_every_parameter_is_trained(name: str) -> None:
    method = build(name).train()
    method.loss(pair_batch(6, method.views.captions, WIDTH, N_WORDS), Progress(0, 0)).total.backward()  # type: ignore[no-untyped-call]
    still = [name for name, weight in method.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A bias added to every score of a softmax over the set changes no weight.
    assert set(still) <= {"region_pooling.linear.bias", "word_pooling.linear.bias"}


@EVERY_METHOD
def test_warm_up_epochs_use_all_negatives_and_later_ones_the_hardest(name: str) -> None:
    method = build(name)
    batch = pair_batch(6, method.views.captions, WIDTH, N_WORDS)
    assert loss_value(method.eval(), batch, epoch=0) > 2 * loss_value(method, batch, epoch=1)
    assert loss_value(method, batch, epoch=1) == loss_value(method, batch, epoch=2)


@EVERY_METHOD
def test_the_loss_is_the_formula_on_the_methods_own_similarity(name: str) -> None:
    method = build(name).eval()
    views = method.views.captions
    batch = pair_batch(5, views, WIDTH, N_WORDS)
    if isinstance(method, ESA):
        method.region_drop = (
            0.0  # then every view of an image is the whole image, and the loss can be stated from outside
        )
    with torch.no_grad():
        scores = method.similarity(method.encode_images(batch.images), method.encode_texts(batch.texts))
        scores = scores.repeat_interleave(views, 0)
        for epoch, hardest in ((0, False), (1, True)):
            loss = float(method.loss(batch, Progress(epoch, 0)).total)
            assert loss == pytest.approx(float(self_expanding_triplet(scores, views, 0.2, hardest)), rel=1e-5)
            if views == 1:
                assert loss == pytest.approx(float(hinge_triplet(scores, 0.2, hardest)), rel=1e-5)


def test_esa_hides_regions_anew_for_each_view_over_one_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build("esa_bigru").eval()
    assert isinstance(method, ESA)
    batch = pair_batch(40, 2, WIDTH, N_WORDS)
    masks: list[Tensor] = []
    calls: list[int] = []
    pool, encode = method.region_pooling.forward, method.regions.forward

    def spy_pool(features: Tensor, mask: Tensor) -> Tensor:
        masks.append(mask)
        return pool(features, mask)

    def spy_encode(images: ImageBatch) -> Tensor:
        calls.append(len(images.regions))
        return encode(images)

    monkeypatch.setattr(method.region_pooling, "forward", spy_pool)
    monkeypatch.setattr(method.regions, "forward", spy_encode)
    torch.manual_seed(0)
    method.loss(batch, Progress(0, 0))
    assert calls == [40]
    (mask,) = masks
    valid = torch.arange(mask.shape[2]) < batch.images.lengths[:, None]
    assert mask.shape[:2] == (40, 2)
    assert not (mask & ~valid[:, None]).any()
    assert not torch.equal(mask[:, 0], mask[:, 1])
    hidden = 1 - float(mask.sum()) / (2 * float(valid.sum()))
    assert 0.12 < hidden < 0.28  # 0.2 of about 280 draws
    masks.clear()
    encoded(method, batch.images, batch.texts)
    assert torch.equal(masks[0], valid[:, None])  # evaluation: one view, nothing hidden


@pytest.mark.parametrize("name", ["esa_bigru", "esa_bert"])
def test_esa_starts_as_released_xavier_but_for_bigrus_captions(name: str) -> None:
    settings = method_settings(name, dim=100)
    weights = registry.build(settings, 200, text_inputs(settings, N_WORDS), 0).state_dict()
    default = 1 / math.sqrt(100)  # torch's own bound; Xavier's is sqrt(6 / (in + out))
    bounds = {
        "regions.fc": math.sqrt(6 / 300),
        "region_pooling.linear": math.sqrt(6 / 200),
        "word_pooling.linear": default if name == "esa_bigru" else math.sqrt(6 / 200),
    }
    if name == "esa_bert":
        bounds["words.linear"] = math.sqrt(6 / 116)
    for layer, bound in bounds.items():
        assert 0.97 * bound < weights[f"{layer}.weight"].abs().max() <= bound
        assert (weights[f"{layer}.bias"] == 0).all() == (bound != default)


def test_views_follow_the_settings() -> None:
    esa, vse = build("esa_bigru").views, build("vse_infty_bigru").views
    assert (esa.captions, esa.region_drop) == (2, 0.0)  # ESA hides regions itself
    assert (vse.captions, vse.region_drop) == (1, 0.2)
    for views in (esa, vse):
        assert views.tokens == method_settings("esa_bigru").model.token_views
        assert views.ids is not None and views.ids.mask == N_WORDS - 1


@EVERY_METHOD
def test_similarity_stays_float32_and_close_under_bf16(name: str) -> None:
    method = build(name).eval()
    images, texts = image_batch([5, 3, 4], WIDTH), text_batch([4, 7], N_WORDS)
    with torch.no_grad():
        exact = method.similarity(*encoded(method, images, texts))
        with torch.autocast("cpu", torch.bfloat16):
            sides = encoded(method, images, texts)
            rough = method.similarity(*sides)
            whole = Encoded(sides[0].vectors.float()), Encoded(sides[1].vectors.float())
            product = whole[0].vectors.double() @ whole[1].vectors.double().T
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), product, rtol=0, atol=1e-6)  # bf16 products would be off by 1e-3
    torch.testing.assert_close(rough, exact, rtol=0, atol=0.03)
    with torch.autocast("cpu", torch.bfloat16):
        method.train()
        loss = method.loss(pair_batch(5, method.views.captions, WIDTH, N_WORDS), Progress(1, 0)).total
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_total_is_the_weighted_sum_of_the_terms() -> None:
    losses = Losses({"a": torch.tensor(2.0), "b": torch.tensor(3.0)}, {"b": 0.5})
    assert float(losses.total) == 3.5


def test_sets_join_padded_to_the_longest_with_their_lengths() -> None:
    blocks = [
        Encoded(torch.ones(2, 3, 4), torch.tensor([3, 1])),
        Encoded(torch.full((1, 5, 4), 2.0), torch.tensor([5])),
    ]
    joined = Encoded.join(blocks)
    assert joined.lengths is not None
    assert joined.lengths.tolist() == [3, 1, 5]
    assert joined.vectors.shape == (3, 5, 4)
    assert torch.equal(joined.vectors[:2, :3], torch.ones(2, 3, 4))
    assert torch.equal(joined.vectors[:2, 3:], torch.zeros(2, 2, 4))
    assert torch.equal(joined.vectors[2], torch.full((5, 4), 2.0))
    part = joined[1:3]
    assert part.lengths is not None
    assert (len(part), part.lengths.tolist()) == (2, [1, 5])
    assert len(Encoded.join([Encoded(torch.ones(2, 4)), Encoded(torch.zeros(3, 4))])) == 5
