"""A published dual encoder: a picture tower and a text tower, whose vectors are compared by their cosine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.assets.pictures import Pictures
from itrcore.assets.towers import TowersSource
from itrcore.data.feeding.batches import PixelBatch, TextBatch
from itrcore.errors import DataError
from itrcore.layers.basics import length_mask, unit, widened
from itrcore.layers.encoded import Vectors
from itrcore.methods.contract import EmbeddingMethod
from itrcore.methods.dual.settings import DualSettings
from itrcore.pretrained.towers import image_features, text_features, width_of


class Dual(EmbeddingMethod[PixelBatch]):
    """Both towers → unit vectors; similarity is their inner product."""

    def __init__(self, settings: DualSettings, image: Pictures, text: TowersSource) -> None:
        """`DataError` where the towers' vectors are not of `settings.dim`."""
        super().__init__()
        if (width := width_of(text.config)) != settings.dim:
            raise DataError(
                f"model.dim is {settings.dim}, but {settings.text.weights} gives vectors of {width} dimensions; set model.dim to "
                f"{width}"
            )
        self.towers, self.input, self._kind = text.model(), text.pictures, text.kind
        if self._kind.temperature:  # ALIGN's divides the similarities; it is learned as the others' scale is
            self.own_log_scale = nn.Parameter(-self.towers.temperature.detach().log())
            del self.towers.temperature

    def encode_images(self, batch: PixelBatch) -> Vectors:
        """(n, dim)."""
        return _vectors(image_features(self.towers, batch.pixels))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        """(m, dim)."""
        ids = batch.ids
        mask = length_mask(batch.lengths, ids.shape[1], ids.device) if self._kind.masked else None
        return _vectors(text_features(self.towers, ids, mask))

    def begin_epoch(self, epoch: int) -> None:
        """ALIGN's batch normalisation keeps its statistics: those of a batch would depend on who is in it."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    @property
    def log_scale(self) -> nn.Parameter:
        """The towers' own."""
        return self.own_log_scale if self._kind.temperature else self.towers.logit_scale

    @property
    def bias(self) -> nn.Parameter | None:
        """SigLIP's own; others have none."""
        return getattr(self.towers, "logit_bias", None)


def _vectors(features: Tensor) -> Vectors:
    # In float32, as similarities are.
    with torch.autocast(features.device.type, enabled=False):
        return Vectors(unit(widened(features)))
