"""The contract that every registered method keeps, whatever it is."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from itrcore import registry
from itrcore.data.feeding.batches import Batch, ImageBatch, PixelBatch, RegionBatch, TextBatch
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.layers.losses.symmetric import symmetric_cross_entropy
from itrcore.layers.losses.triplet import hinge_triplet, self_expanding_triplet
from itrcore.layers.progress import Progress
from itrcore.methods.contract import EmbeddingMethod, Method
from itrcore.methods.esl.esl import ESL
from itrcore.methods.esl.esl_clip import ESLCLIP
from itrcore.methods.objective import Objective
from itrcore.methods.sgraf.lhsc import LHSC
from itrcore.methods.vse.esa import ESA
from tests.support.helpers import (
    CROSS_METHODS,
    METHODS,
    PICTURE,
    VECTOR_METHODS,
    VIEWS,
    image_batch,
    loss_of,
    method_of,
    method_settings,
    pair_batch,
    pixel_batch,
    text_batch,
)

WIDTH, N_WORDS = 12, 30
EVERY_METHOD = pytest.mark.parametrize("name", METHODS)
# A bias that all scores of a softmax share, or that a batch norm takes off again, changes nothing.
WITHOUT_EFFECT = (
    r"(region|word)_pooling\.(linear|score)\.bias|measure\.reasoning\.\d\.key\.bias"
    r"|region_pooling\.mean\.bias|measure\.filtration\.weights\.bias|regions\.graph\.\d\.out\.bias"
)
PICTURES = ("clip", "towers")  # of methods whose own tower sees them
HINGE_METHODS = [name for name in METHODS if not name.endswith(PICTURES)]


def build(name: str, seed: int = 0, width: int = WIDTH) -> Method:
    settings = method_settings(name)
    return method_of(settings, width, N_WORDS, seed)


def images_for(method: Method, lengths: list[int], width: int = WIDTH) -> ImageBatch:
    """Images of so many regions each, or as many pictures, whichever the method reads."""
    return pixel_batch(len(lengths)) if isinstance(method.input, PixelInput) else image_batch(lengths, width)


def pairs_for(name: str, n: int) -> Batch:
    model = method_settings(name).model
    return pair_batch(n, model.n_views, None if model.reads_pixels else WIDTH, N_WORDS)


def part(images: ImageBatch, row: int) -> ImageBatch:
    """One image alone, without padding."""
    if isinstance(images, PixelBatch):
        return PixelBatch(images.pixels[row : row + 1])
    k = int(images.lengths[row])
    return RegionBatch(images.regions[row : row + 1, :k], images.lengths[row : row + 1])


def encoded(method: Method, images: ImageBatch, texts: TextBatch) -> tuple[Any, Any]:
    method.eval()
    with torch.no_grad():
        return method.encode_images(images), method.encode_texts(texts)


def test_every_kind_in_the_registry_is_tested_here() -> None:
    assert {method_settings(name).model.kind for name in METHODS} == set(registry.METHODS)


@pytest.mark.parametrize("name", VECTOR_METHODS)
@pytest.mark.parametrize(("regions", "width"), [(1, 5), (12, 64), (36, 7)])
def test_similarity_is_the_inner_product_of_the_index_vectors_at_any_size(name: str, regions: int, width: int) -> None:
    method = build(name, width=width)
    assert isinstance(method, EmbeddingMethod)
    images, texts = encoded(method, images_for(method, [regions] * 4, width), text_batch([3, 9, 1], N_WORDS))
    with torch.no_grad():
        similarity = method.similarity(images, texts)
        vectors = method.image_vectors(images), method.text_vectors(texts)
    assert similarity.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert float(similarity[i, j]) == pytest.approx(float(vectors[0][i] @ vectors[1][j]), abs=1e-5)
    if not name.endswith("clip"):  # whose levels are several unit vectors, weighted
        for side in vectors:
            torch.testing.assert_close(torch.linalg.vector_norm(side, dim=-1), torch.ones(len(side)))


@EVERY_METHOD
def test_an_item_is_encoded_the_same_in_any_batch_and_has_the_same_similarities(name: str) -> None:
    method = build(name)
    images, texts = images_for(method, [5, 2, 4, 1]), text_batch([4, 9, 2, 6], N_WORDS)
    together = encoded(method, images, texts)
    with torch.no_grad():
        similarity = method.similarity(*together)
    for row in range(4):
        length = int(texts.lengths[row])
        alone = encoded(
            method,
            part(images, row),
            TextBatch(texts.ids[row : row + 1, :length], texts.lengths[row : row + 1]),
        )
        for ours, whole in zip(alone, together, strict=True):
            torch.testing.assert_close(ours.vectors, whole[row : row + 1].vectors, rtol=0, atol=1e-6)
        with torch.no_grad():
            torch.testing.assert_close(method.similarity(*alone)[0, 0], similarity[row, row], rtol=0, atol=1e-5)
    if isinstance(images, RegionBatch):
        images = RegionBatch(nn.functional.pad(images.regions, (0, 0, 0, 4), value=9.0), images.lengths)
    wider = encoded(method, images, TextBatch(nn.functional.pad(texts.ids, (0, 3)), texts.lengths))
    for ours, whole in zip(wider, together, strict=True):
        torch.testing.assert_close(ours.vectors, whole.vectors, rtol=0, atol=1e-6)


@EVERY_METHOD
def test_different_items_are_encoded_differently(name: str) -> None:
    method = build(name)
    for side in encoded(method, images_for(method, [5, 5]), text_batch([6, 6], N_WORDS)):
        assert (side[0:1].vectors - side[1:2].vectors).abs().max() > 1e-3


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


def loss_value(name: str, method: Method, batch: Batch, epoch: int) -> float:
    torch.manual_seed(0)
    with torch.no_grad():
        return float(loss_of(method_settings(name), method, batch, Progress(epoch, 0)).total)


@EVERY_METHOD
def test_training_fits_the_right_pairs_and_tells_them_from_wrong_ones(name: str) -> None:
    method, n = build(name), 6
    objective, views = Objective.of(method_settings(name), method), method_settings(name).model.n_views
    batch = pairs_for(name, n)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=5e-3)
    objective.train()
    before = loss_value(name, method, batch, epoch=1)
    for step in range(60):
        torch.manual_seed(step)
        losses = objective(batch, Progress(int(step >= 20), step))
        assert losses.total.isfinite()
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        objective.after_step()
    after = loss_value(name, method, batch, epoch=1)
    assert after < 0.5 * before
    assert loss_value(name, method, shuffled(batch, views), epoch=1) > 1.2 * before
    texts = TextBatch(batch.texts.ids[::views], batch.texts.lengths[::views])
    with torch.no_grad():
        similarity = method.similarity(*encoded(method, batch.images, texts))
    assert similarity.argmax(1).tolist() == list(range(n))
    assert similarity.argmax(0).tolist() == list(range(n))


@EVERY_METHOD
def test_every_parameter_is_trained(name: str) -> None:
    method = build(name).train()
    with torch.no_grad():
        if isinstance(method, ESL | ESLCLIP):  # levels that all count the same lie on no threshold's side
            method.measure.weight.add_(torch.tensor([[0.0, 0.1, -0.3]]))
        if isinstance(method, LHSC):  # graph layers that are the identity teach nothing below their batch norm
            for key, weight in method.regions.named_parameters():
                if key.endswith("norm.weight"):
                    weight.fill_(0.5)
    loss_of(method_settings(name), method, pairs_for(name, 6), Progress(0, 0)).total.backward()  # type: ignore[no-untyped-call]
    still = {key for key, weight in method.named_parameters() if weight.grad is None or not weight.grad.any()}
    if name == "esl_a_bert":  # as released: its levels are weighted without threshold
        assert {"measure.sigma", "measure.log_lambda"} <= still
        still -= {"measure.sigma", "measure.log_lambda"}
    assert [key for key in still if not re.fullmatch(WITHOUT_EFFECT, key)] == []


@pytest.mark.parametrize("name", HINGE_METHODS)
def test_warm_up_epochs_use_all_negatives_and_later_ones_the_hardest(name: str) -> None:
    method = build(name)
    batch = pairs_for(name, 6)
    all_negatives, hardest, later = (loss_value(name, method.eval(), batch, epoch) for epoch in (0, 1, 2))
    assert all_negatives > 2 * hardest and hardest == later


@EVERY_METHOD
def test_the_loss_is_the_formula_on_the_methods_own_similarity(name: str) -> None:
    method = build(name).eval()
    settings, batch = method_settings(name), pairs_for(name, 5)
    views = settings.model.n_views
    if isinstance(method, ESA):
        method.region_drop = (
            0.0  # every view of an image is the whole image, so that the loss can be stated from outside
        )
    with torch.no_grad():
        scores = method.similarity(method.encode_images(batch.images), method.encode_texts(batch.texts))
        scores = scores.repeat_interleave(views, 0)
        for epoch, hardest in ((0, False), (1, True)):
            loss = float(loss_of(settings, method, batch, Progress(epoch, 0)).total)
            if method.log_scale is not None:
                wanted = symmetric_cross_entropy(scores, method.log_scale.exp())
                assert loss == pytest.approx(float(wanted), rel=1e-5)
                continue
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

    def spy_encode(images: RegionBatch) -> tuple[Tensor, Tensor]:
        calls.append(len(images.regions))
        return encode(images)

    monkeypatch.setattr(method.region_pooling, "forward", spy_pool)
    monkeypatch.setattr(method.regions, "forward", spy_encode)
    torch.manual_seed(0)
    loss_of(method_settings("esa_bigru"), method, batch, Progress(0, 0))
    assert calls == [40]
    (mask,) = masks
    assert isinstance(batch.images, RegionBatch)
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
    weights = method_of(settings, 200, N_WORDS, 0).state_dict()
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


def test_views_and_inputs_follow_the_settings() -> None:
    esa, vse, esl, clip = (build(name) for name in ("esa_bigru", "vse_infty_bigru", "esl_h_bert", "esl_h_clip"))
    assert esa.input == RegionInput(0.0)  # ESA hides regions itself
    assert vse.input == esl.input == RegionInput(0.2)
    assert isinstance(clip.input, PixelInput)
    assert (clip.input.picture, clip.input.random_crop, clip.input.flip) == (PICTURE, None, False)
    views = {name: method_settings(name).model.n_views for name in METHODS}
    assert {name for name, n in views.items() if n == 2} == {"esa_bigru", "esa_bert"} and set(views.values()) == {1, 2}
    for name in METHODS:
        touched = method_settings(name).model.touched
        if name in CROSS_METHODS or name.endswith(PICTURES):
            assert touched is None
        else:
            assert touched is not None and touched.model_dump() == VIEWS


@EVERY_METHOD
def test_similarity_stays_float32_and_close_under_bf16(name: str) -> None:
    method = build(name).eval()
    images, texts = images_for(method, [5, 3, 4]), text_batch([4, 7], N_WORDS)
    with torch.no_grad():
        exact = method.similarity(*encoded(method, images, texts))
        with torch.autocast("cpu", torch.bfloat16):
            sides = encoded(method, images, texts)
            rough = method.similarity(*sides)
        whole = [replace(side, vectors=side.vectors.float()) for side in sides]
        again = method.similarity(*whole)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, again, rtol=0, atol=1e-6)  # bf16 products would be off by 1e-3
    if isinstance(method, EmbeddingMethod):
        product = method.image_vectors(whole[0]).double() @ method.text_vectors(whole[1]).double().T
        torch.testing.assert_close(rough.double(), product, rtol=0, atol=1e-6)
    torch.testing.assert_close(rough, exact, rtol=0, atol=0.03)
    with torch.autocast("cpu", torch.bfloat16):
        method.train()
        loss = loss_of(method_settings(name), method, pairs_for(name, 5), Progress(1, 0)).total
    assert loss.dtype == torch.float32
    assert loss.isfinite()
