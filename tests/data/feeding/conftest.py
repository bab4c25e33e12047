"""One small data set in shards, whose training split several files of these tests read."""

from __future__ import annotations

import pytest

from itrcore.data import captions
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from tests.support.scan_data import ScanFolder, write_scan_folder, write_shards

N, PER_IMAGE = 60, 3


@pytest.fixture(scope="package")
def scan_folder(tmp_path_factory: pytest.TempPathFactory) -> ScanFolder:
    sizes = {"train": N, "dev": 3, "test": 3}
    return write_scan_folder(tmp_path_factory.mktemp("batches") / "scan", sizes, PER_IMAGE, (6, 4))


@pytest.fixture(scope="package")
def split(scan_folder: ScanFolder, tmp_path_factory: pytest.TempPathFactory) -> Split:
    shards = write_shards(scan_folder, tmp_path_factory.mktemp("shards"), per_shard=7)
    texts = [caption for group in scan_folder.captions["train"] for caption in group]
    vocabulary = Vocabulary.build(texts, 1, WordSplitter(None))
    return Split.open(
        RegionImages(FeatureStore(shards, "train")),
        captions.read(shards.parent / "captions.parquet", "train"),
        vocabulary,
    )
