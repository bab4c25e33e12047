"""Encoders of region features: what padding may touch, how weights start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from itrcore.data.feeding.batches import RegionBatch
from itrcore.layers.basics import length_mask
from itrcore.layers.image_encoders import LinearRegionEncoder, RegionEncoder
from tests.support.helpers import image_batch

WIDTH, DIM = 10, 8
CPU = torch.device("cpu")


def region_encoder(training: bool) -> RegionEncoder:
    torch.manual_seed(1)
    encoder = RegionEncoder(WIDTH, DIM).train(training)
    nn.init.normal_(encoder.norm.weight)
    nn.init.normal_(encoder.norm.bias)
    return encoder


def padded(batch: RegionBatch, more: int, value: float = 0.0) -> RegionBatch:
    return RegionBatch(nn.functional.pad(batch.regions, (0, 0, 0, more), value=value), batch.lengths)


def test_region_encoder_is_fc_plus_mlp_region_by_region() -> None:
    encoder = region_encoder(training=False)
    mean, var = (
        encoder.norm.get_buffer("running_mean").normal_(),
        encoder.norm.get_buffer("running_var").uniform_(0.5, 2),
    )
    batch = image_batch([4, 4, 4], WIDTH)
    out, lengths = encoder(batch)
    assert lengths is batch.lengths
    for i in range(3):
        for r in range(4):
            x = batch.regions[i, r]
            hidden = encoder.hidden.weight @ x + encoder.hidden.bias
            hidden = (hidden - mean) / torch.sqrt(var + 1e-5) * encoder.norm.weight + encoder.norm.bias
            expected = encoder.fc.weight @ x + encoder.fc.bias + encoder.out.weight @ hidden.relu() + encoder.out.bias
            torch.testing.assert_close(out[i, r], expected, rtol=1e-5, atol=1e-5)


def test_batch_normalisation_sees_valid_regions_alone() -> None:
    batch = image_batch([5, 2, 3], WIDTH)
    rows = batch.regions[length_mask(batch.lengths, 5, CPU)]
    encoder, flat = region_encoder(True), region_encoder(True)
    out, lengths = encoder(batch)
    assert lengths.tolist() == [5, 2, 3]
    (expected,), _ = flat(RegionBatch(rows[None], torch.tensor([10])))
    torch.testing.assert_close(out[length_mask(batch.lengths, 5, CPU)], expected)
    torch.testing.assert_close(encoder.norm.running_mean, flat.norm.running_mean)
    torch.testing.assert_close(encoder.norm.running_var, flat.norm.running_var)


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_no_region_whatever_it_holds(training: bool) -> None:
    batch = image_batch([4, 2, 3], WIDTH)
    with torch.no_grad():
        plain, _ = region_encoder(training)(batch)
        longer, _ = region_encoder(training)(padded(batch, 3, value=1e6))
    torch.testing.assert_close(longer[:, :4], plain)
    assert torch.equal(longer[:, 4:], torch.zeros(3, 3, DIM))
    assert torch.equal(plain[1, 2:], torch.zeros(2, DIM))


def test_no_gradient_reaches_a_padded_region() -> None:
    batch = image_batch([3, 1], WIDTH)
    regions = batch.regions.requires_grad_()
    region_encoder(True)(RegionBatch(regions, batch.lengths))[0].square().sum().backward()
    assert regions.grad is not None
    assert torch.equal(regions.grad[1, 1:], torch.zeros(2, WIDTH))
    assert (regions.grad[0] != 0).any()


def test_weights_start_in_their_published_ranges() -> None:
    torch.manual_seed(0)
    bound = math.sqrt(6 / 300)
    for encoder in (RegionEncoder(200, 100), LinearRegionEncoder(200, 100)):
        weight = encoder.fc.weight.detach()
        assert 0.99 * bound < weight.abs().max() <= bound
        assert abs(float(weight.std()) - bound / math.sqrt(3)) < 0.02 * bound
        assert torch.equal(encoder.fc.bias, torch.zeros(100))
