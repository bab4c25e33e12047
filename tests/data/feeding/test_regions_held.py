"""Region features that a device holds: the same batches, bit for bit, as those that are read for each."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from itrcore import layout
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.image_inputs import RegionInput
from tests.support.tiny_project import prepared

CPU = torch.device("cpu")


@pytest.mark.parametrize("drop", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("hold", [True, False])
def test_batches_are_the_same_whatever_way_they_cross(drop: float, hold: bool) -> None:
    with contextlib.chdir(prepared()):
        read = RegionImages.open(layout.region_shards("tiny"), "train", RegionInput(drop=drop))
        fed = read.feeding(CPU if hold else torch.device("meta"), hold)  # any device but a CPU takes them as stored
        for rows in ([3, 0, 3, 5], np.arange(len(read))[::-1], [2]):
            pairs = [
                (images.training_batch(rows, np.random.default_rng(1)), images.batch(rows)) for images in (read, fed)
            ]
            for one, other in zip(*pairs, strict=True):
                assert torch.equal(one.regions, other.to(CPU).regions) and torch.equal(one.lengths, other.lengths)
        assert fed.batch([0]).regions.dtype == torch.from_numpy(np.empty(0, read.store.dtype)).dtype
        assert read.batch([0]).regions.dtype == torch.float32
