"""Encoding a split once, and scoring all its pairs in tiles of bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Sized
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from itrcore.data.feeding.ahead import ahead
from itrcore.data.feeding.batches import ImageBatch
from itrcore.data.feeding.images import Images
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.methods.contract import E, Method
from itrcore.progress import SILENT, Show

B = TypeVar("B")


@dataclass(frozen=True)
class EncodedSplit(Generic[E]):
    """Both sides of a split, in its order, each image and caption encoded once; and the seconds that each side took."""

    images: E
    texts: E
    image_seconds: float
    text_seconds: float


@contextmanager
def evaluating(method: Method[Any, Any]) -> Iterator[None]:
    """The method in evaluation mode, without gradients; afterwards in the mode of before."""
    training = method.training
    method.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        method.train(training)


def encode(
    method: Method[Any, E], split: Split, batch_size: int, device: torch.device, show: Show = SILENT.show
) -> EncodedSplit[E]:
    """Encode all images and all captions of a split, in evaluation mode. Afterwards the method is in the mode of before.

    batch_size: images at once; captions at once too, in the order of their lengths, unless the method has `captions_together`
    show: told how many images, then captions, are encoded
    """
    with evaluating(method):
        started = time.perf_counter()
        images = encode_images(method, split.images, range(split.n_images), batch_size, device, show)
        _wait(device)
        between = time.perf_counter()
        texts = encode_captions(method, split.tokens, batch_size, device, show)
        _wait(device)
        return EncodedSplit(images, texts, between - started, time.perf_counter() - between)


def encode_images(
    method: Method[Any, E],
    images: Images,
    rows: range,
    batch_size: int,
    device: torch.device,
    show: Show = SILENT.show,
) -> E:
    """The images of these rows, each encoded once; as in `encode`, and to be called while `evaluating`."""
    source = images.feeding(device, hold=False)

    def read(block: range) -> ImageBatch:
        batch = source.batch(block)
        return batch.pinned() if device.type == "cuda" else batch

    blocks = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    with closing(ahead(read, blocks, source.threads)) as batches:
        telling = _telling(batches, blocks, "images encoded", show)
        return _joined([method.encode_images(batch.to(device)) for batch in telling])


def encode_captions(
    method: Method[Any, E], tokens: TokenTable, batch_size: int, device: torch.device, show: Show = SILENT.show
) -> E:
    """The captions of a table, each encoded once, in its order; as in `encode`, and to be called while `evaluating`."""
    # Captions of similar length together: otherwise most of a BERT's work would be padding.
    lengths = tokens.lengths
    together = method.captions_together
    order = np.argsort(lengths, kind="stable") if together is None else np.arange(len(lengths))
    size = together or batch_size
    blocks = [order[i : i + size] for i in range(0, len(tokens), size)]
    batches = (tokens.batch(block) for block in blocks)
    telling = _telling(batches, blocks, "captions encoded", show)
    return _joined([method.encode_texts(batch.to(device)) for batch in telling]).take(np.argsort(order))


def score(
    method: Method[Any, E],
    images: E,
    texts: E,
    tile: int,
    out: np.ndarray | None = None,
    show: Show = SILENT.show,
) -> np.ndarray:
    """All similarities, (n_images, n_captions) float32, computed in tiles of `tile` images × `tile` captions.

    out: the array to fill and return, such as a memory-mapped file; None: a new one; show: told how many pairs are scored
    """
    matrix = np.empty((len(images), len(texts)), np.float32) if out is None else out
    done = 0
    with evaluating(method):
        for rows, columns, scores in tiles(method, images, texts, tile, images.vectors.device):
            matrix[rows, columns] = scores
            done += scores.size
            show("pairs scored", done, matrix.size)
        return matrix


def tiles(
    method: Method[Any, E], images: E, texts: E, tile: int, device: torch.device
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """All similarities, `tile` images × `tile` captions at a time: which images, which captions, and their float32 scores.

    To be used while `evaluating`. device: the method's; encoded items that lie elsewhere come to it tile by tile
    """
    for top in range(0, len(images), tile):
        rows = slice(top, top + tile)
        block = images[rows].to(device)
        for left in range(0, len(texts), tile):
            columns = slice(left, left + tile)
            yield rows, columns, method.similarity(block, texts[columns].to(device)).float().cpu().numpy()


def _telling(batches: Iterator[B], rows: Sequence[Sized], what: str, show: Show) -> Iterator[B]:
    """The batches; of each that was used it is told. rows: of each batch"""
    done, total = 0, sum(map(len, rows))
    for batch, block in zip(batches, rows, strict=True):
        yield batch
        done += len(block)
        show(what, done, total)


def _joined(blocks: Sequence[E]) -> E:
    return type(blocks[0]).join(blocks)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
