"""Encoders that methods share: regions to features, captions to word features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.data.batches import ImageBatch, TextBatch
from itrcore.data.vocabulary import PAD
from itrcore.models.settings import BiGRUSettings


def l2(x: Tensor) -> Tensor:
    """Scale to unit length along the last axis; as released, 1e-8 is added to the norm, outside the square root."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (norm + 1e-8)


def length_mask(lengths: Tensor, longest: int, device: torch.device) -> Tensor:
    """(n, longest) True at the valid positions of each item."""
    return torch.arange(longest, device=device) < lengths.to(device)[:, None]


def xavier(layer: nn.Linear) -> nn.Linear:
    """Uniform ±sqrt(6 / (in + out)), bias 0."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class RegionEncoder(nn.Module):
    """fc + MLP: `lin(width→d)(x) + lin(d/2→d)(relu(bn(lin(width→d/2)(x))))`, region by region (VSE∞, ESA, ESL).

    Batch normalisation sees valid regions only. The released code lets the zero rows of shortened images take part in
    its statistics, so that an image's encoding in training depends on how far its batch is padded; evaluation is the
    same in both, as no region is dropped there.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.fc = xavier(nn.Linear(width, dim))
        self.hidden = nn.Linear(width, dim // 2)
        self.norm = nn.BatchNorm1d(dim // 2)
        self.out = nn.Linear(dim // 2, dim)

    def forward(self, batch: ImageBatch) -> Tensor:
        """(n, k, width) → (n, k, d); padded regions come out as 0."""
        n, k, _ = batch.regions.shape
        if int(batch.lengths.min()) == k:
            return self._encode(batch.regions.flatten(0, 1)).view(n, k, -1)
        mask = length_mask(batch.lengths, k, batch.regions.device)
        valid = self._encode(batch.regions[mask])
        padded: Tensor = valid.new_zeros(n, k, valid.shape[-1])
        return padded.masked_scatter(mask[..., None], valid)

    def _encode(self, rows: Tensor) -> Tensor:
        out: Tensor = self.fc(rows) + self.out(torch.relu(self.norm(self.hidden(rows))))
        return out


class BiGRUEncoder(nn.Module):
    """Word embedding (uniform ±0.1) → dropout → bidirectional GRU → mean of the two directions."""

    def __init__(self, n_tokens: int, dim: int, settings: BiGRUSettings) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_tokens, settings.word_dim, padding_idx=PAD)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.dropout = nn.Dropout(settings.dropout)
        self.gru = nn.GRU(settings.word_dim, dim, batch_first=True, bidirectional=True)

    def forward(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, d); padded words come out as 0."""
        words = self.dropout(self.embed(batch.ids))
        packed = nn.utils.rnn.pack_padded_sequence(words, batch.lengths, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=batch.ids.shape[1]
        )
        forward, backward = out.chunk(2, dim=-1)
        mean: Tensor = (forward + backward) / 2
        return mean
