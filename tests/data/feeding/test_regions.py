"""Region features as batches: which regions training drops, and which features a method has no weights for."""

from __future__ import annotations

import numpy as np
import pytest

from itrcore.data.feeding.regions import RegionImages, keep_regions
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import RegionInput
from itrcore.errors import DataError


def test_images_of_another_number_of_regions_are_refused_when_the_split_is_opened(split: Split) -> None:
    assert isinstance(split.images, RegionImages)
    store = split.images.store
    assert len(RegionImages(store, RegionInput(regions=6))) == len(split.images)
    with pytest.raises(
        DataError, match=r"image \d+ has 6 regions \(\d+ of \d+ images .*expected 36 regions.*ranked_regions"
    ):
        RegionImages(store, RegionInput(regions=36))


@pytest.mark.parametrize("drop", [0.2, 0.5])
def test_regions_are_dropped_at_the_rate_everywhere_and_padding_is_never_kept(drop: float) -> None:
    lengths = np.array([36, 20, 28, 36] * 200)
    keep = keep_regions(lengths, drop, np.random.default_rng(0))
    assert keep.shape == (800, 36)
    assert keep.sum() / lengths.sum() == pytest.approx(1 - drop, abs=0.01)
    assert not keep[np.arange(36) >= lengths[:, None]].any()
    assert keep[::4].sum(axis=0).min() > 200 * (1 - drop) * 0.7  # the last region as often as the first


def test_an_image_keeps_at_least_one_region_any_of_them() -> None:
    keep = keep_regions(np.array([5, 3] * 600), 0.99, np.random.default_rng(0))
    assert keep.sum(axis=1).min() == 1
    assert keep[::2].sum(axis=0).min() > 60 and keep[1::2, :3].sum(axis=0).min() > 100
