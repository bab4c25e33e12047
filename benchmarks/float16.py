"""What float16 shards change in the similarities, against float32 features of the same images.

    python -m benchmarks.float16 --json float16.json

Image encoders of ESA, VSE∞ and VSE++ at their published sizes with freshly drawn weights encode 1,000 simulated images
from float32 features and from the same features stored as float16. Captions are stand-ins: five vectors an image, its
float32 one with so much noise that about half of them find it first. Similarities are cosines. Where
$ITR_SHARED_DATA/bua_demo has real bottom-up-attention features, the same is done with their ten images.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.simulated_arrays import feature_rows
from benchmarks.untrained import method_of, settings_of
from itrcore.data.feeding.batches import RegionBatch
from itrcore.files import write_json
from itrcore.methods.contract import Method
from itrcore.ranking import metrics, ranks

CAPTIONS = 5
METHODS = ("esa_bigru", "vse_infty_bigru", "vse_pp_bigru")
FOUND_FIRST = 50.0  # percent of captions


@torch.inference_mode()
def vectors(method: Method, features: np.ndarray) -> np.ndarray:
    """Unit vectors (n_images, d) of features (n_images, n_regions, width)."""
    method.eval()
    blocks = []
    for start in range(0, len(features), 100):
        regions = torch.from_numpy(features[start : start + 100].astype(np.float32))
        lengths = torch.full((len(regions),), regions.shape[1])
        blocks.append(method.encode_images(RegionBatch(regions, lengths)).vectors.numpy())
    joined = np.concatenate(blocks)
    return joined / np.linalg.norm(joined, axis=1, keepdims=True)


def stand_ins(images: np.ndarray, image_of: np.ndarray) -> np.ndarray:
    """Caption vectors (n_captions, d): their image's with noise, whose size is found by halving an interval."""
    noise = np.random.default_rng(1).normal(size=(len(image_of), images.shape[1])).astype(np.float32)
    spread = float(images.std(axis=0).mean())
    low, high = 0.0, 100.0
    for _ in range(20):
        size = (low + high) / 2
        captions = images[image_of] + size * spread * noise
        if metrics(ranks(images @ captions.T, image_of))["t2i_r1"] > FOUND_FIRST:
            low = size
        else:
            high = size
    return captions / np.linalg.norm(captions, axis=1, keepdims=True)


def compare(method: Method, features: np.ndarray) -> dict[str, float]:
    """Changes of similarities, of ranks and of recalls."""
    full = vectors(method, features)
    half = vectors(method, features.astype(np.float16))
    image_of = np.repeat(np.arange(len(features)), CAPTIONS)
    captions = stand_ins(full, image_of)
    before, after = full @ captions.T, half @ captions.T
    change = np.abs(after - before)
    ranked = ranks(before, image_of), ranks(after, image_of)
    old, new = (metrics(of) for of in ranked)
    both = ([of.image_to_text, of.text_to_image] for of in ranked)
    moved = [np.abs(a - b) for a, b in zip(*both, strict=True)]
    return {
        "largest_change": float(change.max()),
        "mean_change": float(change.mean()),
        "i2t_ranks_moved_percent": 100 * float((moved[0] > 0).mean()),
        "t2i_ranks_moved_percent": 100 * float((moved[1] > 0).mean()),
        "furthest_move": int(max(part.max() for part in moved)),
        "rsum": old["rsum"],
        "rsum_change": new["rsum"] - old["rsum"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    sets = {"simulated": np.stack(list(feature_rows(given.images)))}
    real = Path(os.environ.get("ITR_SHARED_DATA", "")) / "bua_demo" / "ims.npy"
    if real.is_file():
        sets["real"] = np.load(real, allow_pickle=False)
    result: dict[str, Any] = {}
    print(f"{'':27} {'change of cosines':^19} {'ranks moved %':^13} {'furthest':>8} {'rsum':>6}")
    print(
        f"{'features':10} {'method':16} {'largest':>9} {'mean':>9} {'i2t':>6} {'t2i':>6} {'places':>8} {'':>6} change"
    )
    for kind, features in sets.items():
        for name in METHODS:
            one = compare(method_of(settings_of(name), width=features.shape[2], seed=1), features)
            result.setdefault(kind, {})[name] = one
            print(
                f"{kind:10} {name:16} {one['largest_change']:9.1e} {one['mean_change']:9.1e} "
                f"{one['i2t_ranks_moved_percent']:6.2f} {one['t2i_ranks_moved_percent']:6.2f} "
                f"{one['furthest_move']:8} {one['rsum']:6.1f} {one['rsum_change']:+.2f}"
            )
    if given.json:
        write_json(given.json, {"n_images": {kind: len(features) for kind, features in sets.items()}, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
