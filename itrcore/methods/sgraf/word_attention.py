"""LHSC's text encoder: layers of attention between a caption's words, below the BiGRU (ICMR 2022)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import TextBatch
from itrcore.data.text.glove import WordVectors
from itrcore.layers.basics import length_mask, xavier
from itrcore.layers.text_encoders import BiGRUEncoder
from itrcore.settings.encoders import BiGRUSettings


class WordAttention(nn.Module):
    """`x ← (tanh(local x) tanh(context x)ᵀ / L) tanh(value x) + x`, of the L words of a caption; there is no softmax.

    Source: the released code's TextAttn, whose dropout is 0 as published.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.local = xavier(nn.Linear(dim, dim))
        self.context = xavier(nn.Linear(dim, dim))
        self.value = xavier(nn.Linear(dim, dim))

    def forward(self, words: Tensor, mask: Tensor | None) -> Tensor:
        """(m, l, d) → the same. mask: (m, l) True at the words that are attended to, None where all are."""
        value = torch.tanh(self.value(words))
        count: Tensor | int = words.shape[1]
        if mask is not None:
            value = value.masked_fill(~mask[..., None], 0.0)
            count = mask.sum(1)[:, None, None]
        related = torch.tanh(self.local(words)) @ torch.tanh(self.context(words)).mT
        return related / count @ value + words


class WordAttentionEncoder(BiGRUEncoder):
    """Word embedding → dropout → layers of word attention → bidirectional GRU → mean of the two directions.

    padding: masked: only a caption's own words take part, so that its vectors are the same in any batch. released: in the
        attention, though not in the GRU, its padding to the longest caption of the batch takes part too; L is the padded
        length
    """

    def __init__(
        self,
        n_tokens: int,
        dim: int,
        settings: BiGRUSettings,
        vectors: WordVectors | None,
        layers: int,
        padding: Literal["masked", "released"],
    ) -> None:
        super().__init__(n_tokens, dim, settings, vectors)
        self.masked = padding == "masked"
        # As released, padding is a word like the others, and learns; if masked, no gradient reaches it anyway.
        self.embed.padding_idx = None
        self.attention = nn.ModuleList(WordAttention(settings.word_dim) for _ in range(layers))

    def forward(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, d); padded words come out as 0."""
        words = self.dropout(self.embed(batch.ids))
        mask = length_mask(batch.lengths, batch.ids.shape[1], batch.ids.device) if self.masked else None
        for layer in self.attention:
            words = layer(words, mask)
        return self.read(words, batch.lengths)
