"""BiGRU over a caption's words: its own words alone, both directions, how weights start."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import TextBatch
from itrcore.layers.text_encoders import BiGRUEncoder
from itrcore.settings.encoders import BiGRUSettings
from tests.support.helpers import text_batch

DIM, N_WORDS = 8, 20


def settings(word_dim: int = 6, dropout: float = 0.0) -> BiGRUSettings:
    return BiGRUSettings(kind="bigru", word_dim=word_dim, dropout=dropout, init="random")


def naive_bigru(encoder: BiGRUEncoder, ids: Tensor) -> Tensor:
    """Word by word over one caption alone, both ways, with cells that hold the encoder's weights."""
    ways = []
    for suffix, order in (("", range(len(ids))), ("_reverse", range(len(ids) - 1, -1, -1))):
        cell = nn.GRUCell(encoder.embed.embedding_dim, DIM)
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, part).data.copy_(getattr(encoder.gru, f"{part}_l0{suffix}"))
        state, states = torch.zeros(1, DIM), {}
        for position in order:
            state = cell(encoder.embed.weight[ids[position]][None], state)
            states[position] = state[0]
        ways.append(torch.stack([states[position] for position in range(len(ids))]))
    return (ways[0] + ways[1]) / 2


def test_bigru_reads_each_caption_over_its_own_length_and_averages_the_directions() -> None:
    torch.manual_seed(2)
    encoder, batch = BiGRUEncoder(N_WORDS, DIM, settings(), None).eval(), text_batch([5, 2, 7, 1], N_WORDS)
    ids = nn.functional.pad(batch.ids, (0, 3))
    with torch.no_grad():
        out = encoder(TextBatch(ids, batch.lengths))
        assert out.shape == (4, 10, DIM)
        for row, length in enumerate(batch.lengths.tolist()):
            torch.testing.assert_close(out[row, :length], naive_bigru(encoder, ids[row, :length]), rtol=1e-5, atol=1e-6)
            assert torch.equal(out[row, length:], torch.zeros(10 - length, DIM))


def test_weights_start_in_their_published_ranges() -> None:
    torch.manual_seed(0)
    words = BiGRUEncoder(N_WORDS, 100, settings(word_dim=30), None)
    assert 0.099 < words.embed.weight[1:].abs().max() <= 0.1
    bound = 1 / math.sqrt(100)
    assert 0.99 * bound < words.gru.get_parameter("weight_ih_l0").abs().max() <= bound


def test_dropout_works_on_word_embeddings_in_training_only() -> None:
    torch.manual_seed(3)
    encoder, batch = BiGRUEncoder(N_WORDS, DIM, settings(dropout=0.5), None), text_batch([6, 6], N_WORDS)
    with torch.no_grad():
        assert not torch.equal(encoder(batch), encoder(batch))
        encoder.eval()
        assert torch.equal(encoder(batch), encoder(batch))
