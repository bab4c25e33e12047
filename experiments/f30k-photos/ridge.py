"""What needs no training: a ridge regression from the mean of an image's features to the mean of its captions' hidden states.

    python ridge.py /path/to/bert

A trained method that reads the same and stays below it has a recipe that does not fit so few images. The strength of the penalty is
chosen on dev. Run it behind `dvc repro features@photos splits@photos vocab@photos`.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from itrcore.data.feeding.prepared import open_split
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import RegionInput
from itrcore.data.text.wordpieces import WordPieces
from itrcore.layers.text_encoders import BertEncoder
from itrcore.pretrained import bert
from itrcore.ranking import metrics, ranks
from itrcore.settings.encoders import BertSettings

DATA, PENALTIES = "photos", 10.0 ** np.arange(0, 7)


def images_of(split: Split) -> np.ndarray:
    """(n_images, width) the mean of each image's features."""
    batch = split.images.batch(range(split.n_images))
    return batch.regions.double().mean(dim=1).numpy()


def captions_of(split: Split, encoder: BertEncoder) -> np.ndarray:
    """(n_captions, hidden) the mean of each caption's hidden states, of length 1."""
    means = []
    for row in range(split.n_captions):
        batch = split.texts([row])
        means.append(encoder.states(batch)[0].double().mean(dim=0).numpy())
    return unit(np.stack(means))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each divided by its length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main(folder: str) -> None:
    """folder: the BERT's"""
    tokeniser = WordPieces.pretrained(folder)
    encoder = BertEncoder(
        bert.pretrained(folder), 2, BertSettings(kind="bert", weights=folder, dropout=0.0, freeze=True)
    ).eval()
    splits = {name: open_split(DATA, name, tokeniser, RegionInput()) for name in ("train", "dev", "test")}
    images = {name: images_of(split) for name, split in splits.items()}
    captions = {name: captions_of(split, encoder) for name, split in splits.items()}
    centre, middle = images["train"].mean(axis=0), captions["train"].mean(axis=0)
    x = images["train"] - centre
    y = np.stack([captions["train"][splits["train"].image_of == row].mean(axis=0) for row in range(len(x))]) - middle

    def found(penalty: float, name: str) -> dict[str, float]:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
        scores = unit((images[name] - centre) @ weights) @ unit(captions[name] - middle).T
        return metrics(ranks(scores.astype(np.float32), splits[name].image_of, name))

    best = max(PENALTIES, key=lambda penalty: found(penalty, "dev")["rsum"])
    for name in ("dev", "test"):
        print(name, f"penalty {best:g}", {key: round(value, 1) for key, value in found(best, name).items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1])
