"""Images and captions per second that encoding Flickr30K's test split takes, for encoders at published size.

    python -m benchmarks.encoding --json encoding.json

1,000 images of 36 × 2,048 simulated features, read from float16 shards, and 5,000 captions of random tokens, as long as
Flickr30K's, go through the evaluation's own code (`itrcore.evaluation.scoring.encode`) once each, after a few items
that do not count. Weights are drawn at random, which costs as much as trained ones do: ESA and VSE∞ with BiGRU, and ESA
with a BERT of bert-base-uncased's size. Precision is float32, on a GPU bf16 where it has that. `watching` are the seconds that
an evaluation on dev then takes to watch for a collapse.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.simulated_arrays import REGIONS, WIDTH, feature_rows
from benchmarks.untrained import ROOT, method_of
from itrcore.assets.pieces import BertSource
from itrcore.cores import cores
from itrcore.data import scan_writing
from itrcore.data.captions import write
from itrcore.data.feeding.random_captions import F30K_IDS, PIECES, WORDS, captions
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.shards import region_writer
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.sources import caption_table as splits
from itrcore.data.text.tokens import TokenIds
from itrcore.device import make_accelerator
from itrcore.evaluation.scoring import encode, score
from itrcore.files import write_json
from itrcore.settings.datasets import SPLITS, RegionShardSettings
from itrcore.settings.encoders import BertSettings
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.training.collapse import watched

METHODS = ("esa_bigru", "vse_infty_bigru", "esa_bert")
CAPTIONS = 5  # an image
WARM_UP = 20  # captions
BERT_IDS = TokenIds(30522, 103, np.arange(999, 30522))  # of bert-base-uncased: [MASK], and where its whole words begin


def shards(folder: Path, n_images: int) -> Path:
    """Shards of a data set with so many test images."""
    raw, first = folder / "raw", 0
    raw.mkdir()
    for split, n in {"train": 1, "dev": 1, "test": n_images}.items():
        ids = range(first, first + n)
        lines = [[f"caption {i} of image {image}" for i in range(CAPTIONS)] for image in ids]
        scan_writing.write_split(raw, split, (n, REGIONS, WIDTH), feature_rows(n), ids, lines, "image")
        first += n
    names = {split: split for split in SPLITS}
    write(splits.from_scan(raw, names, None), folder / "captions.parquet")
    settings = RegionShardSettings(dtype="float16", samples_per_shard=1000)
    return region_writer.write(raw, names, folder / "captions.parquet", "simulated", settings, folder / "work")


def bert_source(settings: BertSettings) -> BertSource:
    """A BERT of bert-base-uncased's size, which transformers' configuration has where nothing is said."""
    from transformers import BertConfig

    return BertSource(settings, BertConfig())


def measure(name: str, params: Params, store: FeatureStore) -> dict[str, float]:
    """Encode the split with one method."""
    settings = params.recipes[name].settings
    if isinstance(settings.model.text, BertSettings):
        method, ids, counts = method_of(settings, bert_source(settings.model.text), store.width), BERT_IDS, PIECES
    else:
        method, ids, counts = method_of(settings, width=store.width), F30K_IDS, WORDS
    n = len(store) * CAPTIONS
    image_of = np.repeat(np.arange(len(store)), CAPTIONS)
    split = Split(
        RegionImages(store), range(n), TokenTable.of(captions(n, ids, counts, np.random.default_rng(0))), image_of
    )
    accelerator = make_accelerator(params.training)
    method = method.to(accelerator.device)
    with accelerator.autocast():
        encode(method, split.first(WARM_UP), params.evaluation.batch_size, accelerator.device)
        done = encode(method, split, params.evaluation.batch_size, accelerator.device)
        scores = score(method, done.images, done.texts, params.evaluation.tile)
    started = time.perf_counter()
    watched(done.images, done.texts, scores, 1.0, None)
    return {
        "watching_s": time.perf_counter() - started,
        "images_per_s": len(store) / done.image_seconds,
        "captions_per_s": n / done.text_seconds,
        "seconds": done.image_seconds + done.text_seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="of the split, with five captions each")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="which of them")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(cores())
    params = load(ROOT / "params.yaml")
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{cores()} cores"
    print(f"{given.images:,} images of {REGIONS} × {WIDTH:,} and {given.images * CAPTIONS:,} captions, {where}")
    print(f"{'':16} {'images/s':>9} {'captions/s':>11} {'seconds':>8} {'watching':>9}")
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(shards(Path(folder), given.images), "test")
        for name in given.methods:
            result[name] = one = measure(name, params, store)
            speeds = f"{one['images_per_s']:9,.1f} {one['captions_per_s']:11,.1f}"
            print(f"{name:16} {speeds} {one['seconds']:8,.1f} {one['watching_s']:9.3f}")
    if given.json:
        write_json(given.json, {"n_images": given.images, "captions_per_image": CAPTIONS, "device": where, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
