"""The contract of a method: encode each side once, score encoded sides.

Evaluation, training, ensembles and reports know methods only through this interface; none asks which one it runs. A step of a
training is written once (`itrcore/methods/objective.py`): encode, score, then the loss that the recipe chooses.

A method is built from (settings, image, text): `model` of its settings, and both sides of the run as `itrcore/assets` makes
them: an `ImageSide`, and the `source` of a `TextSide`. A method that reads concepts gets these too, as `concepts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import ImageBatch, TextBatch
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.layers.basics import widened
from itrcore.layers.encoded import Encoded, Sets, Vectors
from itrcore.layers.image_encoders import ImageEncoder
from itrcore.layers.progress import Progress

B = TypeVar("B", bound=ImageBatch)
E = TypeVar("E", bound=Encoded)


class Method(nn.Module, ABC, Generic[B, E]):
    """An image–text matching method, of batches of images B and encoded items E.

    Its functions may be given parts of a batch, where memory is short (`parts.py`): what they give for an item depends on the other
    items only through layers of batch normalisation, unless `captions_together` says so.

    input: what it reads of an image
    captions_together: None: evaluation encodes captions of similar length together, which saves padding. A number: a
        caption's vectors depend on its batch, so evaluation takes this many captions at a time, in the order of the split
    """

    input: RegionInput | PixelInput = RegionInput()
    captions_together: int | None = None

    @abstractmethod
    def encode_images(self, batch: B) -> E:
        """Encode images for evaluation; item i of the result belongs to image i of the batch."""

    @abstractmethod
    def encode_texts(self, batch: TextBatch) -> E:
        """Encode captions, in evaluation and in training; item i of the result belongs to caption i of the batch."""

    @abstractmethod
    def similarity(self, images: E, texts: E) -> Tensor:
        """All pairs of two blocks: (n_images, n_texts) float32, higher is more alike."""

    def image_views(self, batch: B) -> E:
        """Encode images for training: n · views items, the views of an image adjacent, as many as each caption has."""
        return self.encode_images(batch)

    @property
    def log_scale(self) -> nn.Parameter | None:
        """The logarithm of a learned scale of its similarities, a scalar, if its pretrained weights came with one."""
        return None

    @property
    def bias(self) -> nn.Parameter | None:
        """A learned bias of its similarities, if its pretrained weights came with one."""
        return None

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 0, and again when a killed training goes on: to open stages of a backbone."""

    def loss_weight(self, progress: Progress) -> float:
        """What the published training multiplies the loss by."""
        return 1.0

    def choices(self) -> Sequence[Mapping[str, float]]:
        """What each evaluation on dev chooses among: values for buffers of one number, by name. Empty: nothing is chosen.

        The one with the highest rsum on dev is kept with the weights; of equal ones the first. No loss may depend on them: only
        the first of several processes evaluates, and dev is not to be trained on.
        """
        return ()

    @torch.no_grad()
    def choose(self, values: Mapping[str, float]) -> None:
        """Take one of `choices`."""
        for name, value in values.items():
            self.get_buffer(name).fill_(value)

    def inner(self, images: E, texts: E) -> dict[str, float]:
        """Figures of what goes on inside, by name, for the records of a training; called without gradients, in float32.

        images, texts: both sides of dev
        """
        return {}


class SetMethod(Method[B, E]):
    """A method with `regions`, an encoder of an image's regions or of a grid's cells, whose backbone opens in stages."""

    regions: ImageEncoder

    def begin_epoch(self, epoch: int) -> None:
        """Open the stages of a grid's backbone that train in this epoch."""
        self.regions.begin_epoch(epoch)

    def loss_weight(self, progress: Progress) -> float:
        """As in the encoder's published training."""
        return self.regions.loss_weight(progress)


class Attends(ABC):
    """A method whose words attend to regions, so that `itr explain` can show which to which."""

    @abstractmethod
    def attention(self, image: Sets, text: Sets) -> Tensor:
        """Of one encoded image and one encoded caption: (words, regions) float32 weights; those of a word sum to 1."""


class EmbeddingMethod(Method[B, Vectors]):
    """A method whose similarity is the inner product of one vector per item, so that a vector index can serve it."""

    def image_vectors(self, encoded: Vectors) -> Tensor:
        """(n, d) vectors, float32 or wider, to index."""
        return widened(encoded.vectors)

    def text_vectors(self, encoded: Vectors) -> Tensor:
        """(m, d) vectors, float32 or wider, to search with."""
        return widened(encoded.vectors)

    def branches(self, vectors: Tensor) -> dict[str, Tensor]:
        """Parts of vectors that a training may compare each on its own, by name. vectors: (n, d) as encoded"""
        return {"vector": vectors}

    def similarity(self, images: Vectors, texts: Vectors) -> Tensor:
        """Inner products, (n_images, n_texts) float32 also under mixed precision: bf16's digits would blur margins and ranks."""
        with torch.autocast(images.vectors.device.type, enabled=False):
            return self.image_vectors(images) @ self.text_vectors(texts).T
