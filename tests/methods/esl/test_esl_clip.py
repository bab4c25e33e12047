"""ESL on CLIP: vectors whose inner product is the released code's similarity, its loss and gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itrcore.assets.clip import CLIPSource
from itrcore.assets.pictures import Pictures
from itrcore.data.feeding.batches import Batch, PixelBatch, TextBatch
from itrcore.errors import DataError
from itrcore.layers.losses.contract import Similarities
from itrcore.layers.losses.symmetric import Symmetric
from itrcore.layers.progress import Progress
from itrcore.methods.esl.esl_clip import ESLCLIP
from itrcore.methods.esl.settings import ESLCLIPSettings
from itrcore.methods.objective import Objective
from itrcore.pretrained import clip
from itrcore.settings.encoders import CLIPSettings
from itrcore.settings.losses import SymmetricSettings
from tests.support.clip_data import DIM, SHAPE

LEVELS, KERNEL, WORDS = 3, 2, 40
WIDTHS = [32, 16, 8, 4]
STRATEGIES = ["heuristic", "adaptive"]


def build(strategy: Any = "heuristic", dim: int = DIM, projection: int = DIM, seed: int = 0) -> ESLCLIP:
    text = CLIPSettings(kind="clip", weights="random", shape=SHAPE, strip="")
    settings = ESLCLIPSettings(kind="esl_clip", strategy=strategy, dim=dim, levels=LEVELS, kernel=KERNEL, text=text)
    source = CLIPSource(text, clip.config_of(SHAPE, WORDS, projection))
    torch.manual_seed(seed)
    return ESLCLIP(settings, Pictures(), source)


def objective(method: ESLCLIP) -> Objective:
    """With the loss of its recipe."""
    settings = SymmetricSettings(kind="symmetric", max_scale=100.0)
    return Objective(method, Symmetric(settings, Similarities(1, method.log_scale)))


def stirred(strategy: str) -> ESLCLIP:
    """A method none of whose weights is where it starts."""
    method = build(strategy)
    with torch.no_grad():
        for name, weight in method.named_parameters():
            if not name.startswith("clip."):
                weight.add_(torch.randn_like(weight), alpha=0.3)
        method.measure.log_lambda.fill_(1.2)  # at its start, e⁴, some levels all but vanish
        for kernel in method.text_levels.kernels:
            # So small that the norm's epsilon counts: else levels of normalised ones and of others would be the same.
            kernel.mul_(0.003)
    return method


def texts(lengths: list[int], seed: int = 0) -> TextBatch:
    rng = np.random.default_rng(seed)
    return TextBatch.pad([rng.integers(4, WORDS, length) for length in lengths])


def pairs(n: int) -> Batch:
    pixels = torch.randn(n, 3, SHAPE.picture, SHAPE.picture, generator=torch.Generator().manual_seed(1))
    return Batch(PixelBatch(pixels), texts([5 + i for i in range(n)]), list(range(n)), list(range(n)))


def released_levels(unit: Tensor, weights: dict[str, Tensor], side: str, strategy: str) -> list[Tensor]:
    """Nine blocks in the released code, here four; images' levels from normalised ones, captions' from those before."""
    blocks, below = [unit], unit
    for level in range(LEVELS):
        if strategy == "heuristic":
            kernel = weights[f"{side}_levels.kernels.{level}"]
            above = torch.nn.functional.conv1d(below[:, None], kernel, stride=KERNEL).sum(1)
        else:
            masks = weights[f"{side}_levels.masks.{level}"]
            masks = masks / (masks.pow(2).sum(1, keepdim=True).sqrt() + 1e-8)
            second = masks.sort(1, descending=True).values[:, min(2, masks.shape[1]) - 1 :][:, :1]
            above = below @ ((masks >= second) * masks).T
        normalised = above / (above.pow(2).sum(1, keepdim=True).sqrt() + 1e-8)
        blocks.append(normalised)
        below = normalised if side == "image" else above
    return blocks


def released_similarity(images: Tensor, captions: Tensor, weights: dict[str, Tensor], strategy: str) -> Tensor:
    """The released formula, term by term. images: (n, d), captions: (m, d): what the towers gave."""
    y = released_levels(images / images.norm(dim=1, keepdim=True), weights, "image", strategy)
    x = released_levels(captions / captions.norm(dim=1, keepdim=True), weights, "text", strategy)
    s = weights["measure.weight"][0]
    sharpness = torch.exp(weights["measure.log_lambda"])
    threshold = (s.abs().max() - s.abs().min()) * torch.sigmoid(weights["measure.sigma"]) + s.abs().min()
    total = images.new_zeros(len(images), len(captions))
    for level in range(LEVELS + 1):
        omega = torch.exp((s[level].abs() - threshold) * sharpness) * s[level]
        total = total + y[level] @ (weights[f"measure.masks.{level}"] * omega) @ x[level].T
    return total / (LEVELS + 1)


def released_loss(scores: Tensor, log_scale: Tensor) -> Tensor:
    logits = scores * log_scale.exp()
    rows, columns = torch.log_softmax(logits, dim=1), torch.log_softmax(logits, dim=0)
    return -(rows.diagonal().mean() + columns.diagonal().mean()) / 2


def exact(method: ESLCLIP) -> dict[str, Tensor]:
    return {name: weight.detach().double().requires_grad_() for name, weight in method.named_parameters()}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_vectors_inner_product_is_the_released_similarity(strategy: str) -> None:
    method = stirred(strategy)
    torch.manual_seed(2)
    images, captions = torch.randn(7, DIM), torch.randn(9, DIM)
    encoded = method.measured_images(images), method.measured_texts(captions)
    vectors = method.image_vectors(encoded[0]), method.text_vectors(encoded[1])
    assert vectors[0].shape == (7, sum(WIDTHS)) and vectors[1].shape == (9, sum(WIDTHS))
    wanted = released_similarity(images.double(), captions.double(), exact(method), strategy)
    assert wanted.abs().max() > 0.05
    torch.testing.assert_close((vectors[0] @ vectors[1].T).double(), wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(method.similarity(*encoded).double(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_loss_and_its_gradients_are_the_released_ones(strategy: str) -> None:
    method, batch = stirred(strategy), pairs(5)
    assert isinstance(batch.images, PixelBatch)
    losses = objective(method)(batch, Progress(0, 0))
    losses.total.backward()
    with torch.no_grad():
        images = clip.image_features(method.clip, batch.images.pixels).double()
        captions = clip.text_features(method.clip, batch.texts.ids, batch.texts.lengths - 1).double()
    weights = exact(method)
    wanted = released_loss(released_similarity(images, captions, weights, strategy), weights["clip.logit_scale"])
    wanted.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(losses.total.double(), wanted, rtol=0, atol=1e-6)
    mine = {name: weight.grad for name, weight in method.named_parameters()}
    compared = [name for name in mine if not name.startswith("clip.")] + ["clip.logit_scale"]
    for name in compared:
        gradient, expected = mine[name], weights[name].grad
        assert gradient is not None and expected is not None, name
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-3, atol=2e-6, msg=name)
        assert expected.any(), name
    assert all(gradient is not None for gradient in mine.values())  # both towers learn too


def test_it_starts_as_the_mean_inner_product_of_the_levels() -> None:
    method = build()
    torch.manual_seed(3)
    images, captions = method.image_levels(torch.randn(4, DIM)), method.text_levels(torch.randn(4, DIM))
    torch.testing.assert_close(method.measure(images) @ captions.T, 0.1 * images @ captions.T / (LEVELS + 1))
    assert torch.sigmoid(method.measure.sigma).item() == pytest.approx(1 / (1 + math.e))
    assert method.measure.log_lambda.item() == 4


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_weights_have_the_names_and_shapes_of_checkpoints(strategy: str) -> None:
    shapes = {name: tuple(weight.shape) for name, weight in build(strategy).state_dict().items()}
    own = {name: shape for name, shape in shapes.items() if not name.startswith("clip.")}
    expected: dict[str, tuple[int, ...]] = {
        "measure.weight": (1, 4),
        "measure.sigma": (1, 1),
        "measure.log_lambda": (1, 1),
    }
    expected |= {f"measure.masks.{level}": (width, width) for level, width in enumerate(WIDTHS)}
    for side in ("image", "text"):
        for level in range(LEVELS):
            if strategy == "heuristic":
                expected[f"{side}_levels.kernels.{level}"] = (4, 1, KERNEL)
            else:
                expected[f"{side}_levels.masks.{level}"] = (WIDTHS[level + 1], WIDTHS[level])
    assert own == expected
    assert "clip.logit_scale" in shapes and "clip.text_projection.weight" in shapes


def test_the_scale_that_it_brings_is_clips_own() -> None:
    method = build()
    assert method.log_scale is method.clip.logit_scale
    assert method.log_scale.item() == pytest.approx(math.log(1 / 0.07), abs=1e-3)


@torch.no_grad()
def test_vectors_do_not_depend_on_the_batch() -> None:
    method, batch = stirred("adaptive").eval(), pairs(4)
    assert isinstance(batch.images, PixelBatch)
    images, captions = method.encode_images(batch.images).vectors, method.encode_texts(batch.texts).vectors
    for row in range(4):
        alone = PixelBatch(batch.images.pixels[row : row + 1])
        torch.testing.assert_close(method.encode_images(alone).vectors[0], images[row], rtol=0, atol=2e-6)
        length = int(batch.texts.lengths[row])
        short = TextBatch(batch.texts.ids[row : row + 1, :length], batch.texts.lengths[row : row + 1])
        torch.testing.assert_close(method.encode_texts(short).vectors[0], captions[row], rtol=0, atol=2e-6)


@torch.no_grad()
def test_under_mixed_precision_levels_and_similarity_are_float32() -> None:
    method = stirred("heuristic").eval()
    torch.manual_seed(4)
    images, captions = torch.randn(3, DIM).bfloat16(), torch.randn(3, DIM).bfloat16()
    wanted = method.similarity(method.measured_images(images.float()), method.measured_texts(captions.float()))
    with torch.autocast("cpu", torch.bfloat16):
        rough = method.similarity(method.measured_images(images), method.measured_texts(captions))
        assert method.encode_texts(texts([4, 6])).vectors.dtype == torch.float32
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, wanted, rtol=0, atol=1e-6)


def test_a_clip_of_other_vectors_is_refused_in_one_line() -> None:
    with pytest.raises(DataError, match=r"model\.dim is 32, but the CLIP random gives vectors of 16 dimensions; set"):
        build(projection=16)


def test_it_reads_pictures_as_its_clip_does() -> None:
    method = build()
    assert method.input == clip.pixel_input(method.clip.config)
