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
    """BERT's last hidden state → linear layer → dropout.

    With `freeze` BERT is not trained, and its hidden states have the precision of float16, in which training keeps them.
    """

    def __init__(self, bert: BertModel, dim: int, settings: BertSettings) -> None:
        super().__init__()
        self.bert, self.frozen = bert, settings.freeze
        if self.frozen:
            bert.requires_grad_(False)
        self.linear = nn.Linear(bert.config.hidden_size, dim)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, d); padded pieces come out as 0 and no other piece attends to them."""
        mask = length_mask(batch.lengths, batch.ids.shape[1], batch.ids.device)
        if batch.states is not None:
            hidden = batch.states
        else:
            hidden = self.states(batch).float() if self.frozen else self._read(batch, mask)
        features: Tensor = self.dropout(self.linear(hidden))
        return features.masked_fill(~mask[..., None], 0.0)

    def train(self, mode: bool = True) -> BertEncoder:
        """A frozen BERT stays in evaluation mode: without dropout."""
        super().train(mode)
        self.bert.train(mode and not self.frozen)
        return self

    @torch.no_grad()
    def states(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, l, hidden) float16, BERT's last hidden states; those of padded pieces mean nothing."""
        mask = length_mask(batch.lengths, batch.ids.shape[1], batch.ids.device)
        with torch.autocast(batch.ids.device.type, enabled=False):  # the same numbers in every precision
            return self._read(batch, mask).half()

    def _read(self, batch: TextBatch, mask: Tensor) -> Tensor:
        longest = batch.ids.shape[1]
        # In the shape that transformers makes of it: of another shape it looks on the device whether anything is masked.
        seen = None if int(batch.lengths.min()) == longest else mask[:, None, None].expand(-1, -1, longest, -1)
        return _hidden(self.bert, batch.ids, seen)


@compilable
def _hidden(bert: BertModel, ids: Tensor, seen: Tensor | None) -> Tensor:
    hidden: Tensor = bert(ids, attention_mask=seen).last_hidden_state
    return hidden
