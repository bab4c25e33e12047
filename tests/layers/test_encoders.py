"""Region and caption encoders: what padding may touch, how weights start, l2."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from itrcore.assets.text import TextInputs
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.text.tokens import TokenIds
from itrcore.layers.encoders import BiGRUEncoder, RegionEncoder, l2, length_mask, xavier
from itrcore.settings.encoders import BiGRUSettings

WIDTH, DIM = 10, 8
SETTINGS = BiGRUSettings(kind="bigru", word_dim=6, dropout=0.0, init="random")
IDS = TextInputs(TokenIds(20, 19, np.arange(4, 19)))


def images(lengths: list[int], longest: int, seed: int = 0) -> RegionBatch:
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(len(lengths), longest, WIDTH, generator=generator)
    for row, length in enumerate(lengths):
        regions[row, length:] = 0
    return RegionBatch(regions, torch.tensor(lengths))


def region_encoder(training: bool) -> RegionEncoder:
    torch.manual_seed(1)
    encoder = RegionEncoder(WIDTH, DIM).train(training)
    nn.init.normal_(encoder.norm.weight)
    nn.init.normal_(encoder.norm.bias)
    return encoder


def padded(batch: RegionBatch, more: int, value: float = 0.0) -> RegionBatch:
    return RegionBatch(nn.functional.pad(batch.regions, (0, 0, 0, more), value=value), batch.lengths)


def test_l2_adds_its_epsilon_to_the_norm_outside_the_root() -> None:
    tiny = torch.tensor([[3e-8, 4e-8]], dtype=torch.float64)
    # ‖v‖ = 5e-8: v / (5e-8 + 1e-8). Inside the root the result would be about v / 1e-4; without any it has length 1.
    torch.testing.assert_close(l2(tiny), torch.tensor([[0.5, 2 / 3]], dtype=torch.float64))
    assert torch.equal(l2(torch.zeros(2, 3)), torch.zeros(2, 3))
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.linalg.vector_norm(l2(x), dim=-1), torch.ones(4, 5))


def test_length_mask_marks_the_first_positions() -> None:
    assert length_mask(torch.tensor([2, 0, 3]), 3, torch.device("cpu")).tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]


def test_region_encoder_is_fc_plus_mlp_region_by_region() -> None:
    encoder = region_encoder(training=False)
    mean, var = (
        encoder.norm.get_buffer("running_mean").normal_(),
        encoder.norm.get_buffer("running_var").uniform_(0.5, 2),
    )
    batch = images([4, 4, 4], 4)
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
    batch = images([5, 2, 3], 5)
    rows = batch.regions[length_mask(batch.lengths, 5, torch.device("cpu"))]
    encoder, flat = region_encoder(True), region_encoder(True)
    out, lengths = encoder(batch)
    assert lengths.tolist() == [5, 2, 3]
    (expected,), _ = flat(RegionBatch(rows[None], torch.tensor([10])))
    torch.testing.assert_close(out[length_mask(batch.lengths, 5, torch.device("cpu"))], expected)
    torch.testing.assert_close(encoder.norm.running_mean, flat.norm.running_mean)
    torch.testing.assert_close(encoder.norm.running_var, flat.norm.running_var)


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_no_region_whatever_it_holds(training: bool) -> None:
    batch = images([4, 2, 3], 4)
    with torch.no_grad():
        plain, _ = region_encoder(training)(batch)
        longer, _ = region_encoder(training)(padded(batch, 3, value=1e6))
    torch.testing.assert_close(longer[:, :4], plain)
    assert torch.equal(longer[:, 4:], torch.zeros(3, 3, DIM))
    assert torch.equal(plain[1, 2:], torch.zeros(2, DIM))


def test_no_gradient_reaches_a_padded_region() -> None:
    batch = images([3, 1], 3)
    regions = batch.regions.requires_grad_()
    region_encoder(True)(RegionBatch(regions, batch.lengths))[0].square().sum().backward()
    assert regions.grad is not None
    assert torch.equal(regions.grad[1, 1:], torch.zeros(2, WIDTH))
    assert (regions.grad[0] != 0).any()


def captions(lengths: list[int], more: int = 0) -> TextBatch:
    rng = np.random.default_rng(0)
    batch = TextBatch.pad([rng.integers(1, 20, length) for length in lengths])
    return TextBatch(nn.functional.pad(batch.ids, (0, more)), batch.lengths)


def text_encoder() -> BiGRUEncoder:
    torch.manual_seed(2)
    return BiGRUEncoder(IDS, DIM, SETTINGS).eval()


def naive_bigru(encoder: BiGRUEncoder, ids: Tensor) -> Tensor:
    """Word by word over one caption alone, both ways, with cells that hold the encoder's weights."""
    ways = []
    for suffix, order in (("", range(len(ids))), ("_reverse", range(len(ids) - 1, -1, -1))):
        cell = nn.GRUCell(SETTINGS.word_dim, DIM)
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, part).data.copy_(getattr(encoder.gru, f"{part}_l0{suffix}"))
        state, found = torch.zeros(1, DIM), {}
        for position in order:
            state = cell(encoder.embed.weight[ids[position]][None], state)
            found[position] = state[0]
        ways.append(torch.stack([found[position] for position in range(len(ids))]))
    return (ways[0] + ways[1]) / 2


def test_bigru_reads_each_caption_over_its_own_length_and_averages_the_directions() -> None:
    encoder, batch = text_encoder(), captions([5, 2, 7, 1], more=3)
    with torch.no_grad():
        out = encoder(batch)
        assert out.shape == (4, 10, DIM)
        for row, length in enumerate(batch.lengths.tolist()):
            torch.testing.assert_close(
                out[row, :length], naive_bigru(encoder, batch.ids[row, :length]), rtol=1e-5, atol=1e-6
            )
            assert torch.equal(out[row, length:], torch.zeros(10 - length, DIM))


def test_weights_start_in_their_published_ranges() -> None:
    torch.manual_seed(0)
    regions = RegionEncoder(200, 100)
    bound = math.sqrt(6 / 300)
    assert regions.fc.weight.abs().max() <= bound
    assert regions.fc.weight.abs().max() > 0.99 * bound
    assert abs(float(regions.fc.weight.detach().std()) - bound / math.sqrt(3)) < 0.02 * bound
    assert torch.equal(regions.fc.bias, torch.zeros(100))
    words = BiGRUEncoder(IDS, 100, BiGRUSettings(kind="bigru", word_dim=30, dropout=0.0, init="random"))
    assert 0.099 < words.embed.weight[1:].abs().max() <= 0.1
    gru_bound = 1 / math.sqrt(100)
    assert 0.99 * gru_bound < words.gru.get_parameter("weight_ih_l0").abs().max() <= gru_bound


def test_xavier_sets_the_bias_to_zero_and_the_weights_by_both_widths() -> None:
    layer = xavier(nn.Linear(7, 500))
    bound = math.sqrt(6 / 507)
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert torch.equal(layer.bias, torch.zeros(500))


def test_dropout_works_on_word_embeddings_in_training_only() -> None:
    torch.manual_seed(3)
    encoder = BiGRUEncoder(IDS, DIM, BiGRUSettings(kind="bigru", word_dim=6, dropout=0.5, init="random"))
    batch = captions([6, 6])
    with torch.no_grad():
        assert not torch.equal(encoder(batch), encoder(batch))
        encoder.eval()
        assert torch.equal(encoder(batch), encoder(batch))
