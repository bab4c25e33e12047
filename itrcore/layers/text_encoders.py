"""Encoders of a caption's words: BiGRU and BERT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itrcore.compiled import compilable
from itrcore.data.feeding.batches import TextBatch
from itrcore.data.text.glove import WordVectors
from itrcore.data.text.tokens import PAD
from itrcore.layers.basics import length_mask, recurrent
from itrcore.settings.encoders import BertSettings, BiGRUSettings

if TYPE_CHECKING:
    from transformers import BertModel


class WordEncoder(nn.Module):
    """From a batch of captions, (m, l) ids, to a feature for each token: (m, l, d)."""


class BiGRUEncoder(WordEncoder):
    """Word embedding → dropout → bidirectional GRU → mean of the two directions.

    Embeddings start uniform in ±0.1 (VSE∞), or from GloVe, where words without a vector start standard normal (ESA).
    """

    def __init__(self, n_tokens: int, dim: int, settings: BiGRUSettings, vectors: WordVectors | None) -> None:
        """n_tokens: number of token ids; vectors: (words of the vocabulary, word_dim) to start from, where a word has one"""
        super().__init__()
        self.embed = nn.Embedding(n_tokens, settings.word_dim, padding_idx=PAD)
        if vectors is None:
            nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        else:
            has_vector = torch.from_numpy(vectors.found)
            with torch.no_grad():
                self.embed.weight[: len(has_vector)][has_vector] = torch.from_numpy(vectors.vectors)[has_vector]
        self.dropout = nn.Dropout(settings.dropout)
        self.gru = nn.GRU(settings.word_dim, dim, batch_first=True, bidirectional=True)

    def forward(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, d); padded words come out as 0."""
        return self.read(self.dropout(self.embed(batch.ids)), batch.lengths)

    def read(self, words: Tensor, lengths: Tensor) -> Tensor:
        """The GRU over each caption's own words. words: (m, l, word_dim); lengths: (m,) on the CPU → (m, l, d)"""
        return recurrent(self.gru, words, lengths)


class BertEncoder(WordEncoder):
    """BERT's last hidden state → linear layer → dropout."""

    def __init__(self, bert: BertModel, dim: int, settings: BertSettings) -> None:
        super().__init__()
        self.bert = bert
        self.linear = nn.Linear(bert.config.hidden_size, dim)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, d); padded pieces come out as 0 and no other piece attends to them."""
        longest = batch.ids.shape[1]
        mask = length_mask(batch.lengths, longest, batch.ids.device)
        # In the shape that transformers makes of it: of another shape it looks on the device whether anything is masked.
        seen = None if int(batch.lengths.min()) == longest else mask[:, None, None].expand(-1, -1, longest, -1)
        features: Tensor = self.dropout(self.linear(_hidden(self.bert, batch.ids, seen)))
        return features.masked_fill(~mask[..., None], 0.0)


@compilable
def _hidden(bert: BertModel, ids: Tensor, seen: Tensor | None) -> Tensor:
    hidden: Tensor = bert(ids, attention_mask=seen).last_hidden_state
    return hidden
