"""Draws this experiment's learning curves: dev's rsum after each epoch, of seeds the mean, with the ridge regression's beside them.

    python curves.py ../../docs/images/real-photos-curves.png --ridge 284.8

Run it behind `dvc repro`; `ridge.py` prints the figure of the ridge regression.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

TITLES = {"bigru": "BiGRU", "bert": "MiniLM, frozen where not called trained"}


def read() -> dict[str, dict[str, np.ndarray]]:
    """Text encoder → method → (epochs,) mean of its seeds."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for path in sorted(Path("curves").glob("photos-*.csv")):
        with path.open(newline="") as table:
            found[path.stem.removeprefix("photos-").rpartition("-")[0]].append(
                [float(row["dev/rsum"]) for row in csv.DictReader(table)]
            )
    by_text: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, seeds in found.items():
        text = "bigru" if name.endswith("bigru") else "bert"
        by_text[text][name.replace("_bert", "").removesuffix("_bigru")] = np.mean(seeds, axis=0)
    return by_text


def main(out: Path, ridge: float) -> None:
    """out: the picture; ridge: dev's rsum of the ridge regression"""
    by_text = read()
    figure, axes = pyplot.subplots(1, len(by_text), figsize=(5.5 * len(by_text), 4), sharey=True, layout="constrained")
    for axis, text in zip(np.atleast_1d(axes), (text for text in TITLES if text in by_text), strict=True):
        for number, (method, values) in enumerate(sorted(by_text[text].items())):
            line = "-" if number < 10 else ":"  # there are ten colours
            axis.plot(range(1, len(values) + 1), values, line, marker=".", label=method)
        if text != "bigru":  # it reads MiniLM
            axis.axhline(ridge, color="grey", linestyle="--", label="ridge regression")
        axis.set(title=TITLES[text], xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    np.atleast_1d(axes)[0].set_ylabel("rsum on dev (242 photos)")
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ridge", type=float, required=True)
    given = parser.parse_args()
    main(given.out, given.ridge)
