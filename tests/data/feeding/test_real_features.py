"""Ten real bottom-up-attention arrays through the reader, the shards and the encoders; skipped where they are absent.

The images have no captions; those used here are lists of the classes detected in them, made for these tests.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from itrcore.arrays import open_array
from itrcore.data import captions, scan, scan_writing
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.shards import region_writer, regions, writing
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.sources import caption_table as splits
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.methods.contract import EmbeddingMethod
from itrcore.settings.datasets import RegionShardSettings
from tests.support.helpers import METHODS, method_of, method_settings
from tests.support.scan_data import image

ROWS = {"train": range(6), "dev": range(6, 8), "test": range(8, 10)}
NAMES = {split: split for split in ROWS}


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Path:
    folder = shared_data / "bua_demo"
    if not (folder / "ims.npy").exists():
        pytest.skip("bua_demo is not here")
    return folder


@pytest.fixture(scope="module")
def boxes(real: Path) -> np.ndarray:
    with np.load(real / "detections.npz") as detections:
        return np.asarray(detections["boxes"])


def captions_of_classes(real: Path) -> list[list[str]]:
    """Two made captions an image: its most confident detected classes, and its most frequent ones."""
    names = (real / "objects_vocab.txt").read_text("utf-8").splitlines()
    with np.load(real / "detections.npz") as detections:
        ids, confidence = detections["objects_id"], detections["objects_conf"]
    captions = []
    for classes, certain in zip(ids, confidence, strict=True):
        sure = [names[i].split(",")[0] for i in classes[np.argsort(-certain)[:4]]]
        often = [names[i].split(",")[0] for i in np.argsort(-np.bincount(classes), kind="stable")[:4]]
        captions.append([f"detected: {' and '.join(sure)}", f"detected: {' and '.join(often)}"])
    return captions


@pytest.fixture(scope="module")
def folder(real: Path, boxes: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ten arrays as a SCAN folder of six, two and two images."""
    folder = tmp_path_factory.mktemp("real") / "scan"
    folder.mkdir()
    features = open_array(real / "ims.npy")
    texts = captions_of_classes(real)
    for split, rows in ROWS.items():
        shape = (len(rows), *features.shape[1:])
        own = [texts[row] for row in rows]
        scan_writing.write_split(
            folder, split, shape, (features[row] for row in rows), rows, own, "caption", boxes[rows]
        )
    return folder


@pytest.fixture(scope="module")
def shards_of(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def write(dtype: str) -> Path:
        out = tmp_path_factory.mktemp(dtype)
        captions.write(splits.from_scan(folder, NAMES, None), out / "captions.parquet")
        settings = RegionShardSettings.model_validate({"dtype": dtype, "samples_per_shard": 4})
        table, label = out / "captions.parquet", "bottom-up attention"
        writing.move(region_writer.write(folder, NAMES, table, label, settings, out / "work"), out / "shards")
        return out / "shards"

    return write


def open_training(folder: Path) -> Split:
    images = captions.read(folder.parent / "captions.parquet", "train")
    texts = [caption for image in images for caption in image.captions]
    return Split.open(
        RegionImages(FeatureStore(folder, "train")), images, Vocabulary.build(texts, 1, WordSplitter(None))
    )


def test_the_reader_takes_the_real_file_as_it_is(real: Path, boxes: np.ndarray) -> None:
    features = open_array(real / "ims.npy")
    assert features.shape == (10, 36, 2048) and features.dtype == np.float32 and isinstance(features, np.memmap)
    split = scan.ScanSplit(
        list(range(10)),
        captions_of_classes(real),
        np.arange(10),
        np.ones(10, int),
        features,
        boxes,
        None,
        real / "ims.npy",
    )
    for row in range(10):
        regions = image(split, row)
        assert regions.min() >= 0 and 5 < regions.max() < 50 and 0.1 < (regions == 0).mean() < 0.6


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_shards_hold_the_real_values_and_boxes(
    real: Path, boxes: np.ndarray, shards_of: Callable[[str], Path], dtype: str
) -> None:
    features = np.load(real / "ims.npy", mmap_mode="r")
    folder = shards_of(dtype)
    for split, rows in ROWS.items():
        store = FeatureStore(folder, split)
        store.verify()
        got, lengths = store.gather(range(len(rows)))
        assert lengths.tolist() == [36] * len(rows)
        np.testing.assert_allclose(got, features[list(rows)], rtol=0 if dtype == "float32" else 2**-10, atol=1e-7)
        streamed = [sample for path in sorted(folder.glob(f"{split}-*.tar")) for sample in regions.samples(path)]
        np.testing.assert_array_equal([sample["boxes"] for sample in streamed], boxes[list(rows)])
    cosine = (got * features[list(rows)]).sum() / np.linalg.norm(got) / np.linalg.norm(features[list(rows)])
    assert cosine > 1 - 1e-6


@pytest.mark.parametrize("name", [name for name in METHODS if not name.endswith(("clip", "towers"))])
def test_encoders_tell_real_images_apart_in_either_dtype(shards_of: Callable[[str], Path], name: str) -> None:
    similarity = {}
    for dtype in ("float32", "float16"):
        split = open_training(shards_of(dtype))
        settings = method_settings(name, dim=64)
        method = method_of(settings, 2048, int(split.tokens.ids.max()) + 2, seed=1).eval()
        with torch.no_grad():
            images = method.encode_images(split.images.batch(range(6)))
            texts = method.encode_texts(split.texts(range(12)))
            similarity[dtype] = method.similarity(images, texts)
        assert similarity[dtype].shape == (6, 12) and torch.isfinite(similarity[dtype]).all()
        distances = torch.cdist(similarity[dtype], similarity[dtype]) + torch.eye(6)
        assert distances.min() > 1e-4  # six different photos, not one
        if not isinstance(method, EmbeddingMethod):
            continue
        vectors = method.image_vectors(images)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(6))
        among = vectors @ vectors.T
        assert (among - torch.eye(6)).max() < 1 - 1e-4  # ten different photos, not one vector
    torch.testing.assert_close(similarity["float32"], similarity["float16"], atol=2e-3, rtol=0)
