"""Encoders that methods share: regions to features, captions to word features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itrcore.data.batches import ImageBatch, RegionBatch, TextBatch
from itrcore.data.vocabulary import PAD
from itrcore.models.base import Progress
from itrcore.models.encoder_settings import BertSettings, BiGRUSettings
from itrcore.models.text import TextInputs

if TYPE_CHECKING:
    from transformers import BertModel

    from itrcore.models.image import ImageInputs


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


class ImageEncoder(nn.Module, ABC):
    """From a batch of images to a set of features per image."""

    @abstractmethod
    def forward(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """(n, k, d), zero-padded, and the sets' lengths (n,) on the CPU."""

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

    def forward(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """(n, k, width) → (n, k, d), padded regions come out as 0, and the images' numbers of regions (n,)."""
        assert isinstance(batch, RegionBatch)
        n, k, _ = batch.regions.shape
        if int(batch.lengths.min()) == k:
            return self._encode(batch.regions.flatten(0, 1)).view(n, k, -1), batch.lengths
        mask = length_mask(batch.lengths, k, batch.regions.device)
        valid = self._encode(batch.regions[mask])
        padded: Tensor = valid.new_zeros(n, k, valid.shape[-1])
        return padded.masked_scatter(mask[..., None], valid), batch.lengths

    def _encode(self, rows: Tensor) -> Tensor:
        out: Tensor = self.fc(rows) + self.out(torch.relu(self.norm(self.hidden(rows))))
        return out


class BiGRUEncoder(nn.Module):
    """Word embedding → dropout → bidirectional GRU → mean of the two directions.

    Embeddings start uniform in ±0.1 (VSE∞), or from GloVe, where words without a vector start standard normal (ESA).
    """

    def __init__(self, text: TextInputs, dim: int, settings: BiGRUSettings) -> None:
        super().__init__()
        self.embed = nn.Embedding(text.ids.size, settings.word_dim, padding_idx=PAD)
        if text.vectors is None:
            nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        else:
            found = torch.from_numpy(text.vectors.found)
            with torch.no_grad():
                self.embed.weight[: len(found)][found] = torch.from_numpy(text.vectors.vectors)[found]
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


class BertEncoder(nn.Module):
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


def image_encoder(image: ImageInputs, dim: int, cell_drop: float) -> ImageEncoder:
    """Of region features, or of a grid's cells where the image side brings a backbone; `cell_drop` is the grid's."""
    from itrcore.models.grid import GridEncoder

    if image.backbone is None:
        assert image.width is not None
        return RegionEncoder(image.width, dim)
    return GridEncoder(image.backbone(), dim, cell_drop)


def word_encoder(text: TextInputs, dim: int, settings: BiGRUSettings | BertSettings) -> BiGRUEncoder | BertEncoder:
    """The text encoder that the settings name."""
    if isinstance(settings, BiGRUSettings):
        return BiGRUEncoder(text, dim, settings)
    assert text.bert is not None
    return BertEncoder(text.bert(), dim, settings)
