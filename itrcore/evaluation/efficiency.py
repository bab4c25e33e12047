"""What retrieval costs once a gallery is encoded: the time of one caption's search among 1,000 to 100,000 images, and memory."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itrcore.layers.encoded import Encoded, Vectors
from itrcore.methods.contract import E, EmbeddingMethod, Method
from itrcore.runs.records import Efficiency, Search
from itrcore.settings.evaluation import GALLERIES

SECONDS = 3.0  # a run's measurements take this long at most, and one step more
QUERIES = 5  # captions, evenly spread over the split; the same for each gallery
BEST = 10  # images that a search finds
_SMALL = (50, 200)  # galleries that are always timed: two give a line
_BETWEEN = (25_000,)  # timed too where there is time, so that a line to 100,000 begins nearer
_ROOM = 512 * 2**20  # bytes of a gallery on a CPU
_BLOCK = 256 * 2**20  # bytes of images that are compared at once, as methods copy what they compare


@torch.inference_mode()
def measure(method: Method[Any, E], images: E, texts: E, clock: Callable[[], float] = time.perf_counter) -> Efficiency:
    """Time searches of single captions among ever larger galleries; what time or memory is too short for is extrapolated.

    A search begins with an encoded caption and an encoded gallery, and ends when the best ten images are known on the CPU. The
    gallery is the split's images, repeated or cut; of an embedding method it holds what an index would: one vector an image.
    Its time is the median of several captions', after one that does not count. What was not measured lies on the line through
    the times that were: so much for each search, and so much for each image.

    images, texts: both sides of a split, encoded; clock: seconds. Leaves the method in evaluation mode
    """
    method.eval()
    begun, device = clock(), images.vectors.device
    gallery: Any = images
    asked: Any = texts
    compare: Callable[[Any, Any], Tensor] = method.similarity
    if isinstance(method, EmbeddingMethod):
        gallery, asked = Vectors(method.image_vectors(gallery)), Vectors(method.text_vectors(asked))
        compare = _products
    queries = [asked[int(i) : int(i) + 1] for i in np.linspace(0, len(asked) - 1, QUERIES).round()]
    room = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _ROOM
    times: dict[int, float] = {}
    for size in sorted({*_SMALL, *_BETWEEN, *GALLERIES}):
        if size not in _SMALL:
            needed = (1 + QUERIES) * _line(times, size) / 1000
            if clock() - begun + needed > SECONDS or size * _bytes(gallery) > room:
                break
        times[size] = _search_ms(compare, gallery.take(np.arange(size) % len(gallery)), queries, clock)
    return Efficiency(
        embeds=isinstance(method, EmbeddingMethod),
        image_bytes=_bytes(gallery),
        caption_bytes=_bytes(asked),
        searches=tuple(
            Search(gallery=size, ms=times.get(size) or _line(times, size), measured=size in times) for size in GALLERIES
        ),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})",
        threads=torch.get_num_threads(),
    )


def _products(images: Vectors, texts: Vectors) -> Tensor:
    with torch.autocast(images.vectors.device.type, enabled=False):
        return images.vectors @ texts.vectors.T


def _bytes(encoded: Encoded) -> float:
    """Memory of one item: its vectors, and of a set its length."""
    return float(sum(tensor.nbytes for tensor in vars(encoded).values()) / len(encoded))


def _line(times: dict[int, float], size: int) -> float:
    """The time at a size, on the line through those that were measured; no less than the longest of these."""
    slope, start = np.polyfit(list(times), list(times.values()), 1)
    return max(float(start + slope * size), *times.values())


def _search_ms(
    compare: Callable[[Any, Any], Tensor], gallery: Encoded, queries: Sequence[Encoded], clock: Callable[[], float]
) -> float:
    """The median of the queries, in milliseconds."""
    step = max(1, int(_BLOCK // _bytes(gallery)))
    blocks = [gallery[i : i + step] for i in range(0, len(gallery), step)]
    taken = []
    for query in (queries[0], *queries):
        started = clock()
        scores = torch.cat([compare(block, query) for block in blocks])
        scores.flatten().topk(min(BEST, len(gallery))).indices.cpu()  # which waits for the device
        taken.append(clock() - started)
    return 1000 * median(taken[1:])
