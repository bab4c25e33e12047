"""Encoders that methods share: regions to features, captions to word features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.text.glove import WordVectors
from itrcore.data.text.tokens import PAD
from itrcore.layers.progress import Progress
from itrcore.settings.encoders import BertSettings, BiGRUSettings

if TYPE_CHECKING:
    from transformers import BertModel


def l2(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Scale to unit length along the last axis; as released, 1e-8 is added to the norm, outside the square root.

    out: where to write it, for what needs no gradient
    """
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.div(x, norm + 1e-8, out=out)


def length_mask(lengths: Tensor, longest: int, device: torch.device) -> Tensor:
    """(n, longest) True at the valid positions of each item."""
    return torch.arange(longest, device=device) < lengths.to(device)[:, None]


def xavier(layer: nn.Linear) -> nn.Linear:
    """Uniform ±sqrt(6 / (in + out)), bias 0."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def region_mask(batch: RegionBatch) -> Tensor | None:
    """(n, k) True at each image's own regions; None where no image is padded."""
    k = batch.regions.shape[1]
    return None if int(batch.lengths.min()) == k else length_mask(batch.lengths, k, batch.regions.device)


def row_by_row(function: Callable[[Tensor], Tensor], sets: Tensor, mask: Tensor | None) -> Tensor:
    """What a function of rows makes of the valid rows of each set; padded ones take no part and come out as 0.

    function: (rows, width) → (rows, d); sets: (n, k, width); mask: (n, k), None where all are valid → (n, k, d)
    """
    if mask is None:
        return function(sets.flatten(0, 1)).reshape(*sets.shape[:2], -1)
    valid = function(sets[mask])
    return valid.new_zeros(*mask.shape, valid.shape[-1]).masked_scatter(mask[..., None], valid)


class ImageEncoder(nn.Module):
    """From a batch of images to a set of features per image: (n, k, d), zero-padded, and the lengths (n,) on the CPU."""

    def begin_epoch(self, epoch: int) -> None:
        """What is opened in stages; see `Method.begin_epoch`."""

    def loss_weight(self, progress: Progress) -> float:
        """What the published training of this encoder multiplies its loss by."""
        return 1.0


class RegionEncoder(ImageEncoder):
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

    def forward(self, batch: RegionBatch) -> tuple[Tensor, Tensor]:
        """(n, k, width) → (n, k, d), padded regions come out as 0, and the images' numbers of regions (n,)."""
        return row_by_row(self._encode, batch.regions, region_mask(batch)), batch.lengths

    def _encode(self, rows: Tensor) -> Tensor:
        out: Tensor = self.fc(rows) + self.out(torch.relu(self.norm(self.hidden(rows))))
        return out


class LinearRegionEncoder(ImageEncoder):
    """One linear layer, region by region (SCAN, SGRAF)."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.fc = xavier(nn.Linear(width, dim))

    def forward(self, batch: RegionBatch) -> tuple[Tensor, Tensor]:
        """(n, k, width) → (n, k, d), padded regions come out as the layer's bias; the images' numbers of regions (n,)."""
        features: Tensor = self.fc(batch.regions)
        return features, batch.lengths


class WordEncoder(nn.Module):
    """From a batch of captions, (m, l) ids, to a feature for each token: (m, l, d)."""


class BiGRUEncoder(WordEncoder):
    """Word embedding → dropout → bidirectional GRU → mean of the two directions.

    Embeddings start uniform in ±0.1 (VSE∞), or from GloVe, where words without a vector start standard normal (ESA).
    """

    def __init__(self, n_tokens: int, dim: int, settings: BiGRUSettings, vectors: WordVectors | None) -> None:
        """n_tokens: token ids, from 0; vectors: what embeddings start from, one row per word of the vocabulary"""
        super().__init__()
        self.embed = nn.Embedding(n_tokens, settings.word_dim, padding_idx=PAD)
        if vectors is None:
            nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        else:
            known = torch.from_numpy(vectors.found)
            with torch.no_grad():
                self.embed.weight[: len(known)][known] = torch.from_numpy(vectors.vectors)[known]
        self.dropout = nn.Dropout(settings.dropout)
        self.gru = nn.GRU(settings.word_dim, dim, batch_first=True, bidirectional=True)

    def forward(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, d); padded words come out as 0."""
        return self.read(self.dropout(self.embed(batch.ids)), batch.lengths)

    def read(self, words: Tensor, lengths: Tensor) -> Tensor:
        """The GRU over each caption's own words. words: (m, l, word_dim); lengths: (m,) on the CPU → (m, l, d)"""
        packed = nn.utils.rnn.pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=words.shape[1])
        forward, backward = out.chunk(2, dim=-1)
        mean: Tensor = (forward + backward) / 2
        return mean


class BertEncoder(WordEncoder):
    """BERT's last hidden state → linear layer → dropout."""

    def __init__(self, bert: BertModel, dim: int, settings: BertSettings) -> None:
        super().__init__()
        self.bert = bert
        self.linear = nn.Linear(bert.config.hidden_size, dim)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, d); padded pieces come out as 0 and no other piece attends to them."""
        mask = length_mask(batch.lengths, batch.ids.shape[1], batch.ids.device)
        hidden = self.bert(batch.ids, attention_mask=mask.long()).last_hidden_state
        features: Tensor = self.dropout(self.linear(hidden)).masked_fill(~mask[..., None], 0.0)
        return features
