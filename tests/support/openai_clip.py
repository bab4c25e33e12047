"""OpenAI's CLIP, restated: its names, its fused attention, its transposed projections. Small, and of any sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """Each half reads what is normalised, and adds to what is not."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        normal = self.ln_1(x)
        x = x + self.attn(normal, normal, normal, attn_mask=mask, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Blocks(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Pictures(nn.Module):
    def __init__(self, picture: int, patch: int, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((picture // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Blocks(width, layers, heads)
        self.proj = nn.Parameter(torch.zeros(width, dim))

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) → (n, dim)"""
        cells = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(cells), 1, -1), cells], dim=1) + self.positional_embedding
        features: Tensor = self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj
        return features


class OpenAIClip(nn.Module):
    """One head per 64 dimensions, unless said otherwise."""

    def __init__(
        self,
        dim: int,
        tokens: int = 60,
        positions: int = 12,
        picture: int = 16,
        patch: int = 8,
        image_hidden: int = 128,
        text_hidden: int = 64,
        layers: int = 2,
        heads: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        image_heads, text_heads = heads or (image_hidden // 64, text_hidden // 64)
        self.visual = Pictures(picture, patch, image_hidden, layers, image_heads, dim)
        self.transformer = Blocks(text_hidden, layers, text_heads)
        self.token_embedding = nn.Embedding(tokens, text_hidden)
        self.positional_embedding = nn.Parameter(torch.zeros(positions, text_hidden))
        self.ln_final = nn.LayerNorm(text_hidden)
        self.text_projection = nn.Parameter(torch.zeros(text_hidden, dim))
        self.logit_scale = nn.Parameter(torch.zeros([]))

    def encode_text(self, ids: Tensor, last: Tensor) -> Tensor:
        """(m, l) ids, (m,) places of the captions' last tokens → (m, dim)"""
        length = ids.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1)
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, mask))
        features: Tensor = x[torch.arange(len(ids)), last] @ self.text_projection
        return features

    def entries(self) -> dict[str, Any]:
        """Its state dict as ESL's released checkpoints have it."""
        return {f"clip.{name}": value for name, value in self.state_dict().items()}
