"""The last pairs of a training: vectors of images and captions, and the images' ids, in a ring of fixed size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EMPTY = torch.iinfo(torch.int64).min  # the id of a place that holds no pair yet


class Queue(nn.Module):
    """size pairs at most; a new one takes the place of the oldest. All of it is state, nothing is learned."""

    images: Tensor
    texts: Tensor
    ids: Tensor
    next: Tensor

    def __init__(self, size: int, width: int) -> None:
        """width: of the vectors"""
        super().__init__()
        self.register_buffer("images", torch.zeros(size, width))
        self.register_buffer("texts", torch.zeros(size, width))
        self.register_buffer("ids", torch.full((size,), EMPTY))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """The number of places."""
        return len(self.ids)

    def negative(self, ids: Tensor) -> Tensor:
        """Which places hold a pair of another image than each query's. ids: (n,), of the queries' images → (n, size) bool"""
        return self.filled & (self.ids != ids[:, None])

    @property
    def filled(self) -> Tensor:
        """Which places hold a pair, (size,) bool."""
        return self.ids != EMPTY

    @torch.no_grad()
    def add(self, images: Tensor, texts: Tensor, ids: Tensor) -> None:
        """The pairs of a batch. images, texts: (n, width); ids: (n,) of the images. Of more than there are places, the last."""
        n = min(len(ids), len(self))
        # The place is counted on the device: asking for it would wait.
        places = (self.next + torch.arange(n, device=self.ids.device)) % len(self)
        for kept, new in ((self.images, images), (self.texts, texts), (self.ids, ids)):
            kept.index_copy_(0, places, new[len(new) - n :].to(kept.dtype))
        self.next.add_(n).remainder_(len(self))
