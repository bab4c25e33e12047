"""Reading features at random: the bits that a slow, obvious reader gives, whatever the order, threads and memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from itrcore.data.shards import regions
from itrcore.data.shards.regions import FeatureStore
from tests.support.scan_data import write_scan_folder, write_shards

N, REGIONS, WIDTH = 40, 9, 64


@pytest.fixture(scope="module", params=["float16", "float32"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one to nine regions, in shards of seven."""
    path = tmp_path_factory.mktemp(request.param)
    scan_folder = write_scan_folder(path / "scan", {"train": N, "dev": 3, "test": 3}, 1, (REGIONS, WIDTH))
    np.save(scan_folder.path / "train_counts.npy", np.random.default_rng(3).integers(1, REGIONS + 1, N))
    return write_shards(scan_folder, path, request.param, per_shard=7)


@pytest.fixture(scope="module")
def store(folder: Path) -> FeatureStore:
    return FeatureStore(folder, "train")


@pytest.fixture(scope="module")
def images(folder: Path) -> list[np.ndarray]:
    """Every image as webdataset streams it."""
    return [
        sample["regions"].astype(np.float32)
        for path in sorted(folder.glob("train-*.tar"))
        for sample in regions.samples(path)
    ]


def plainly(images: list[np.ndarray], rows: np.ndarray, keep: np.ndarray | None) -> tuple[np.ndarray, list[int]]:
    taken = [images[row] if keep is None else images[row][keep[i, : len(images[row])]] for i, row in enumerate(rows)]
    lengths = [len(image) for image in taken]
    out = np.zeros((len(rows), max(lengths, default=0), WIDTH), np.float32)
    for i, image in enumerate(taken):
        out[i, : len(image)] = image
    return out, lengths


def some(store: FeatureStore, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows in any order, some of them twice, and regions to keep."""
    rows = rng.integers(0, N, int(rng.integers(1, 30)))
    keep = rng.random((len(rows), int(store.n_regions[rows].max()))) < 0.5
    keep[:, 0] = True
    return rows, keep & (np.arange(keep.shape[1]) < store.n_regions[rows][:, None])


def same(got: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, list[int]]) -> bool:
    return got[0].dtype == np.float32 and got[0].tobytes() == expected[0].tobytes() and got[1].tolist() == expected[1]


def test_the_bits_are_those_of_the_plain_way(store: FeatureStore, images: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    assert len({len(image) for image in images}) > 5
    for _ in range(60):
        rows, keep = some(store, rng)
        size = len(rows) * REGIONS * WIDTH
        used = [np.full(size, np.nan, np.float32) for _ in range(3)]  # memory that comes back is not clean
        del used
        assert same(store.gather(rows), plainly(images, rows, None))
        assert same(store.gather(rows, keep), plainly(images, rows, keep))


def test_nothing_asked_for_gives_nothing(store: FeatureStore) -> None:
    features, lengths = store.gather(np.array([], int))
    assert features.shape == (0, 0, WIDTH) and lengths.shape == (0,)


def test_an_image_of_which_nothing_is_kept_is_padding(store: FeatureStore) -> None:
    keep = np.zeros((2, int(store.n_regions[[4, 5]].max())), bool)
    keep[0, 0] = True
    features, lengths = store.gather([4, 5], keep)
    assert lengths.tolist() == [1, 0] and features.shape == (2, 1, WIDTH) and not features[1].any()


def test_several_threads_read_side_by_side(store: FeatureStore, images: list[np.ndarray]) -> None:
    asked = [some(store, np.random.default_rng(seed)) for seed in range(200)]
    with ThreadPoolExecutor(4) as pool:
        for (rows, keep), got in zip(asked, pool.map(lambda one: store.gather(*one), asked), strict=True):
            assert same(got, plainly(images, rows, keep))


def test_a_batch_in_use_stays_as_it_is_while_others_are_read(store: FeatureStore, images: list[np.ndarray]) -> None:
    asked = [some(store, np.random.default_rng(seed))[0] for seed in range(50)]
    held = [store.gather(rows) for rows in asked]
    assert all(same(got, plainly(images, rows, None)) for rows, got in zip(asked, held, strict=True))


def test_features_begin_on_a_boundary_of_64_bytes(store: FeatureStore) -> None:
    """Elsewhere a product over them may be summed in another order: the last bits of a training would differ by chance."""
    held = [store.gather([row] * n)[0] for row in range(N) for n in (1, 2, 5)]
    assert {features.ctypes.data % 64 for features in held} == {0}
