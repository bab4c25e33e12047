"""ESL on CLIP: one vector per image and caption, measured level by level (TCSVT 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.assets.clip import CLIPSource
from itrcore.assets.pictures import Pictures
from itrcore.data.feeding.batches import PixelBatch, TextBatch
from itrcore.errors import DataError
from itrcore.layers.basics import send, unit, widened
from itrcore.layers.encoded import Vectors
from itrcore.methods.contract import EmbeddingMethod
from itrcore.methods.esl.levels import Levels, level_weights, widths
from itrcore.methods.esl.settings import ESLCLIPSettings
from itrcore.pretrained.clip import image_features, pixel_input, text_features


class LevelMeasure(nn.Module):
    """Maps image vectors so that their inner products with caption vectors are ESL's similarity with CLIP.

    `S = 1/(levels + 1) · Σ_l Y_l (ω_l G_l) X_lᵀ` for image levels Y and caption levels X: G and ω apply to the images alone,
    block by block. At first S is the inner product of the levels, all with the same weight.
    """

    def __init__(self, blocks: list[int]) -> None:
        """blocks: dimensions of each level, the input's first"""
        super().__init__()
        self.blocks = blocks
        self.masks = nn.ParameterList([torch.eye(width) for width in blocks])
        # As released: the threshold of the weights starts at σ(−1) of the way from the smallest to the largest, with sharpness e⁴.
        self.weight = nn.Parameter(torch.full((1, len(blocks)), 0.1))
        self.sigma = nn.Parameter(torch.full((1, 1), -1.0))
        self.log_lambda = nn.Parameter(torch.full((1, 1), 4.0))

    def forward(self, levels: Tensor) -> Tensor:
        """(n, sum of blocks) → the same shape."""
        weights = level_weights(self.weight, torch.sigmoid(self.sigma), torch.exp(self.log_lambda)) / len(self.blocks)
        parts = zip(torch.split(levels, self.blocks, dim=-1), self.masks, weights, strict=True)
        return torch.cat([level @ (mask * weight) for level, mask, weight in parts], dim=-1)


class ESLCLIP(EmbeddingMethod[PixelBatch]):
    """Both towers of a CLIP → unit vectors → levels; similarity is the inner product of measured levels."""

    def __init__(self, settings: ESLCLIPSettings, image: Pictures, text: CLIPSource) -> None:
        """`DataError` where the CLIP's vectors are not of `settings.dim`."""
        super().__init__()
        self.clip = text.model()
        if self.clip.projection_dim != settings.dim:
            raise DataError(
                f"model.dim is {settings.dim}, but the CLIP {settings.text.weights} gives vectors of "
                f"{self.clip.projection_dim} dimensions; set model.dim to {self.clip.projection_dim}"
            )
        self.input = pixel_input(self.clip.config)
        form = (settings.strategy, settings.dim, settings.levels, settings.kernel)
        self.image_levels = Levels(*form, from_normalised=True)
        self.text_levels = Levels(*form, from_normalised=False)
        self.measure = LevelMeasure(widths(settings.dim, settings.levels, settings.kernel))

    def encode_images(self, batch: PixelBatch) -> Vectors:
        """(n, sum of level widths), with the measure applied."""
        return self.measured_images(image_features(self.clip, batch.pixels))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        """(m, sum of level widths)."""
        return self.measured_texts(text_features(self.clip, batch.ids, send(batch.lengths - 1, batch.ids.device)))

    def measured_images(self, features: Tensor) -> Vectors:
        """Encoded images. features: (n, d), of the picture tower"""
        # In float32: levels and measure cost little, and their sums would lose digits in bf16. As released, `unit` and not `l2`.
        with torch.autocast(features.device.type, enabled=False):
            return Vectors(self.measure(self.image_levels(unit(widened(features)))))

    def measured_texts(self, features: Tensor) -> Vectors:
        """Encoded captions. features: (m, d), of the text tower"""
        with torch.autocast(features.device.type, enabled=False):
            return Vectors(self.text_levels(unit(widened(features))))

    @property
    def log_scale(self) -> nn.Parameter:
        """CLIP's own."""
        return self.clip.logit_scale
