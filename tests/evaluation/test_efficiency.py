"""The time of a search, measured or extrapolated, by a clock that only the method's work moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.evaluation.efficiency import measure
from itrcore.layers.encoded import Sets, Vectors
from itrcore.methods.contract import EmbeddingMethod, Method
from tests.support.helpers import method_of, method_settings

FIXED, EACH, FIRST = (
    0.002,
    0.00005,
    0.03,
)  # seconds of a search, of each image in it, and of the first one of each gallery


class Timed(Method[RegionBatch, Sets]):
    """Takes the same time for every image, and more for the first query among a gallery."""

    def __init__(self, each: float) -> None:
        super().__init__()
        self.each, self.now, self.sizes = each, 0.0, list[int]()

    def encode_images(self, batch: RegionBatch) -> Sets:
        raise NotImplementedError

    def encode_texts(self, batch: TextBatch) -> Sets:
        raise NotImplementedError

    def similarity(self, images: Sets, texts: Sets) -> Tensor:
        assert len(texts) == 1 and not self.training
        self.now += FIXED + self.each * len(images) + (FIRST if len(images) not in self.sizes else 0.0)
        self.sizes.append(len(images))
        return torch.zeros(len(images), 1)


def sets(count: int, size: int) -> Sets:
    return Sets(torch.zeros(count * size, 4), torch.full((count,), size))


@pytest.mark.parametrize(
    ("each", "measured"), [(EACH, [True, True, False]), (1e-7, [True, True, True]), (1.0, [False] * 3)]
)
def test_what_the_time_is_too_short_for_is_extrapolated_and_marked(each: float, measured: list[bool]) -> None:
    method = Timed(each).train()
    found = measure(method, sets(7, 3), sets(9, 2), lambda: method.now)
    assert [(search.gallery, search.measured) for search in found.searches] == [
        *zip((1_000, 5_000, 100_000), measured, strict=True)
    ]
    for search in found.searches:
        assert search.ms == pytest.approx(1000 * (FIXED + each * search.gallery), rel=1e-6)
        assert (search.gallery in method.sizes) is search.measured
    assert found.extrapolated == {f"search_{search.gallery}_ms" for search in found.searches if not search.measured}


def test_memory_is_that_of_what_a_search_reads() -> None:
    found = measure(method := Timed(1.0), sets(7, 3), sets(9, 2), lambda: method.now)
    assert (found.embeds, found.image_bytes, found.caption_bytes) == (False, 3 * 4 * 4 + 8, 2 * 4 * 4 + 8)
    vse = method_of(method_settings("vse_pp_bigru"), 6, 20)
    assert isinstance(vse, EmbeddingMethod)
    narrow = Vectors(torch.randn(7, 16, dtype=torch.bfloat16))  # an index holds float32
    found = measure(vse, narrow, narrow)
    assert (found.embeds, found.image_bytes, found.figures["gallery_5000_bytes"]) == (True, 4 * 16, 5_000 * 4 * 16)
