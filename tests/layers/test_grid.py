"""The grid encoder: every cell embedded in evaluation, cells dropped at random in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from itrcore.data.feeding.batches import PixelBatch
from itrcore.layers.grid import GridEncoder
from itrcore.layers.progress import Progress
from itrcore.pretrained.backbone import Backbone
from tests.support.backbones import grid, random_backbone


def pixel_encoder(drop: float) -> GridEncoder:
    """Each pixel is a cell, and comes out as it is."""
    backbone = Backbone(nn.Identity(), [nn.Identity()] * 4, 3, grid())
    encoder = GridEncoder(backbone, 3, drop)
    with torch.no_grad():
        encoder.fc.weight.copy_(torch.eye(3))
    return encoder


def numbered(n: int, side: int) -> PixelBatch:
    """Pixels that say of each cell which one it is, from 1."""
    cells = torch.arange(1, side * side + 1.0).view(1, 1, side, side)
    return PixelBatch(cells.expand(n, 3, side, side))


def test_evaluation_embeds_every_cell() -> None:
    torch.manual_seed(0)
    encoder = GridEncoder(random_backbone(grid()), 6, 0.5).eval()
    pixels = torch.randn(3, 3, 64, 64)
    features, lengths = encoder(PixelBatch(pixels))
    assert features.shape == (3, 4, 6) and lengths.tolist() == [4, 4, 4] and lengths.dtype == torch.int64
    torch.testing.assert_close(features, encoder.fc(encoder.backbone(pixels)))
    assert (pixel_encoder(0.5).eval()(numbered(100, 6))[1] == 36).all()


def test_training_without_dropping_is_evaluation() -> None:
    encoder = pixel_encoder(0.0)
    features, lengths = encoder.train()(numbered(5, 4))
    assert features.equal(encoder.eval()(numbered(5, 4))[0]) and lengths.tolist() == [16] * 5


def test_kept_cells_stay_in_order_and_padding_is_zero() -> None:
    torch.manual_seed(1)
    features, lengths = pixel_encoder(0.9).train()(numbered(50, 6))
    assert features.shape == (50, int(lengths.max()), 3)
    assert 1 <= int(lengths.min()) < int(lengths.max()) <= 36
    for of_image, length in zip(features[..., 0], lengths.tolist(), strict=True):
        kept = of_image[:length].long().tolist()
        assert kept == sorted(set(kept)) and kept[0] >= 1
        assert not of_image[length:].any()


def test_cells_are_dropped_as_published() -> None:
    """With drop 0.2: none where u ≤ 0.2, else each with probability 0.2 · u."""
    torch.manual_seed(2)
    n, k = 4000, 400
    _, lengths = pixel_encoder(0.2).train()(numbered(n, 20))
    dropped = 1 - lengths / k
    whole = (dropped == 0).float().mean()
    assert abs(float(whole) - 0.2) < 0.02
    rates = dropped[dropped > 0].sort().values  # uniform from 0.04 to 0.2
    for share in (0.25, 0.5, 0.75):
        assert abs(float(rates[int(share * len(rates))]) - (0.04 + 0.16 * share)) < 0.008
    assert float(rates[-1]) < 0.27


def test_cells_of_an_image_are_dropped_independently() -> None:
    torch.manual_seed(3)
    features, _ = pixel_encoder(0.2).train()(numbered(2000, 4))
    counts = torch.bincount(features[..., 0].flatten().long(), minlength=17)[1:] / 2000
    torch.testing.assert_close(counts, torch.full((16,), 1 - 0.2 * 0.48), atol=0.025, rtol=0)


def test_an_image_keeps_at_least_one_cell() -> None:
    torch.manual_seed(4)
    features, lengths = pixel_encoder(0.99).train()(numbered(2000, 2))
    assert int(lengths.min()) == 1
    assert features[:, 0].all()


def test_the_seed_of_a_step_decides_what_is_dropped() -> None:
    encoder = pixel_encoder(0.2).train()
    features = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        features.append(encoder(numbered(40, 6))[0])
    assert features[0].equal(features[1]) and not features[0].equal(features[2])


def test_gradients_reach_open_stages_through_kept_cells() -> None:
    torch.manual_seed(6)
    encoder = GridEncoder(random_backbone(grid()), 6, 0.5).train()
    encoder.begin_epoch(1)
    encoder(PixelBatch(torch.randn(3, 3, 64, 64)))[0].sum().backward()
    assert encoder.fc.weight.grad is not None
    assert all(parameter.grad is None for parameter in encoder.backbone.parameters())
    encoder.begin_epoch(2)
    encoder(PixelBatch(torch.randn(3, 3, 64, 64)))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.backbone.stages[3].parameters())


def test_fc_is_xavier() -> None:
    encoder = GridEncoder(Backbone(nn.Identity(), [nn.Identity()] * 4, 2048, grid()), 1024, 0.2)
    bound = (6 / (2048 + 1024)) ** 0.5
    assert 0.99 * bound < float(encoder.fc.weight.detach().abs().max()) <= bound
    assert not encoder.fc.bias.any()


@pytest.mark.parametrize(
    ("progress", "weight"),
    [
        (Progress(0, 0, 0.5), 1.0),
        (Progress(1, 9, 0.9), 1.0),
        (Progress(2, 10, 0.0), 0.0),
        (Progress(2, 14, 0.8), 0.8),
        (Progress(3, 15, 0.1), 1.0),
    ],
)
def test_the_loss_fades_in_with_the_backbone(progress: Progress, weight: float) -> None:
    assert pixel_encoder(0.2).loss_weight(progress) == weight
