"""ESL on sets: what it encodes, scores and learns from, against a plain statement of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.image_inputs import RegionInput
from itrcore.layers.basics import l2
from itrcore.layers.losses.triplet import hinge_triplet
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Attends
from itrcore.methods.esl.esl import ESL
from tests.support.helpers import image_batch, loss_of, method_of, method_settings, pair_batch, text_batch

WIDTH, WORDS = 10, 30
VARIANTS = ["esl_h_bert", "esl_a_bert", "esl_h_bigru"]


def esl(name: str, seed: int = 0) -> ESL:
    settings = method_settings(name)
    method = method_of(settings, WIDTH, WORDS, seed)
    assert isinstance(method, ESL)
    return method.eval()


def weights(attn: Tensor, smooth: Tensor) -> Tensor:
    """Each row's softmax; the norm is each column's."""
    gate = torch.nn.functional.leaky_relu(attn.tanh(), 0.1)
    return torch.softmax(smooth * gate / (gate.pow(2).sum(0, keepdim=True).sqrt() + 1e-8), dim=1)


def attn_of(model: ESL, regions: Tensor, ids: Tensor) -> Tensor:
    """(words, regions) of one image and one caption, from their inputs, block by block."""
    batch = RegionBatch(regions[None], torch.tensor([len(regions)]))
    image = model.region_levels(l2(model.regions(batch)[0][0]))
    text = model.word_levels(l2(model.words(TextBatch(ids[None], torch.tensor([len(ids)])))[0]))
    total = torch.zeros(len(ids), len(regions))
    for x, d, y in zip(
        torch.split(text, model.measure.sizes, dim=-1),
        model.measure.matrices(),
        torch.split(image, model.measure.sizes, dim=-1),
        strict=True,
    ):
        total = total + x @ d @ y.T
    return total


@pytest.mark.parametrize("name", VARIANTS)
def test_similarity_is_that_of_every_pair_alone_whatever_its_batch(name: str) -> None:
    model = esl(name)
    images, texts = image_batch([5, 2, 1, 4], WIDTH), text_batch([6, 2, 9, 2, 5], WORDS)
    with torch.no_grad():
        similarity = model.similarity(model.encode_images(images), model.encode_texts(texts))
        smooth = model.measure.log_smooth.exp()
        for i, regions in enumerate(images.lengths.tolist()):
            for j, words in enumerate(texts.lengths.tolist()):
                attn = attn_of(model, images.regions[i, :regions], texts.ids[j, :words])
                expected = (attn * weights(attn, smooth)).sum(1).mean()
                expected = expected + (attn.T * weights(attn.T, smooth)).sum(1).mean()
                assert similarity[i, j].item() == pytest.approx(expected.item(), abs=2e-6)


def test_encoded_sets_are_packed() -> None:
    model = esl("esl_h_bert")
    with torch.no_grad():
        images = model.encode_images(image_batch([5, 2, 1], WIDTH))
        texts = model.encode_texts(text_batch([6, 2], WORDS))
    width = sum(model.measure.sizes)
    assert images.vectors.shape == (8, width) and len(images) == 3
    assert texts.vectors.shape == (8, width) and len(texts) == 2


@pytest.mark.parametrize("name", ["esl_h_bert", "esl_a_bert"])
def test_a_words_attention_is_what_its_similarity_weighs_by(name: str) -> None:
    model = esl(name)
    images, texts = image_batch([5, 3], WIDTH), text_batch([6, 4], WORDS)
    with torch.no_grad():
        image, text = model.encode_images(images)[1:2], model.encode_texts(texts)[0:1]
        attention = model.attention(image, text)
        attn = attn_of(model, images.regions[1, :3], texts.ids[0])
        expected = weights(attn, model.measure.log_smooth.exp())
    assert isinstance(model, Attends)
    # Smoothing multiplies what float32 rounds, and processors round differently: 2.2e-6 apart on one of them.
    torch.testing.assert_close(attention, expected, rtol=0, atol=5e-6)
    torch.testing.assert_close(attention.sum(1), torch.ones(6))


def test_the_loss_takes_all_negatives_while_it_warms_up_then_the_hardest() -> None:
    model, batch, settings = esl("esl_h_bert"), pair_batch(6, 1, WIDTH, WORDS), method_settings("esl_h_bert")
    with torch.no_grad():
        scores = model.similarity(model.encode_images(batch.images), model.encode_texts(batch.texts))
        for epoch, hardest in ((0, False), (1, True)):
            expected = hinge_triplet(scores, 0.2, hardest).item()
            loss = loss_of(settings, model, batch, Progress(epoch, 0)).total.item()
            assert loss == pytest.approx(expected, rel=1e-5)


def test_training_drops_regions_and_touches_tokens() -> None:
    settings = method_settings("esl_h_bert").model
    assert esl("esl_h_bert").input == RegionInput(drop=0.2)
    assert settings.n_views == 1
    assert settings.touched is not None and settings.touched.touch == 0.2


@pytest.mark.parametrize(("name", "without"), [("esl_h_bert", set()), ("esl_a_bert", {"measure.log_lambda"})])
def test_every_weight_learns(name: str, without: set[str]) -> None:
    model, batch = esl(name).train(), pair_batch(6, 1, WIDTH, WORDS)
    with torch.no_grad():  # where all levels weigh the same, thresholds have no say
        model.measure.weight.copy_(torch.linspace(0.05, 0.15, model.measure.weight.numel())[None])
    names = [name for name, _ in model.named_parameters()]
    gradients = torch.autograd.grad(
        loss_of(method_settings(name), model, batch, Progress(0, 0)).total, list(model.parameters()), allow_unused=True
    )
    unused = {name for name, gradient in zip(names, gradients, strict=True) if gradient is None}
    assert unused == without  # the adaptive strategy has no sharpness, as released
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None)


def test_mixed_precision_encodes_in_float32_from_the_features_on() -> None:
    model, images = esl("esl_h_bert"), image_batch([4, 4], WIDTH)
    with torch.no_grad():
        expected = model.encode_images(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model.encode_images(images)
    assert rough.vectors.dtype == torch.float32
    assert (rough.vectors - expected.vectors).norm() / expected.vectors.norm() < 0.05
