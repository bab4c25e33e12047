"""Result files of runs and ensembles for the tests of the report, some of their texts hostile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itrcore import layout
from itrcore.data import captions
from itrcore.data.captions import Image
from itrcore.files import sha256, write_sealed
from itrcore.protocols import ranked
from itrcore.protocols.ranked import Ranked

SCRIPT = "<script>alert(1)</script> & \"quoted\" 'cap'"
OUTSIDE = "../../etc/x.jpg"
ODD = 'a pict"ure #1 é.png'
TITLE = "Benchmark <of> tests"


def figures(r1: float) -> dict[str, float]:
    sides = {side: {"r1": r1, "r5": r1 + 10, "r10": r1 + 20, "median": 2.0, "mean": 4.5} for side in ("i2t", "t2i")}
    named = {f"{side}_{key}": value for side, values in sides.items() for key, value in values.items()}
    return named | {"rsum": 6 * r1 + 60}


def evaluation(name: str, data: str, method: str | None, seed: int | None, r1: float, **other: Any) -> dict[str, Any]:
    """metrics.json of a trained run, or, with no method, of an ensemble; the method is its own family."""
    return {
        "name": name, "kind": "run" if method else "ensemble", "data": data, "features": "synthetic", "split": "test",
        "selected_on": "dev", "method": method, "family": method, "origin": "trained" if method else None,
        "seed": seed, "profile": "small", "n_images": 150, "n_captions": 750,
        "metrics": figures(r1), "parameters": 2_100_000, "train_seconds": 12.3, "encode_image_ms": 0.4,
        "encode_caption_ms": 0.2, "score_image_ms": 0.01, "score_caption_ms": 0.01, "device": "cpu",
        "precision": "float32" if method else None,
        "code_version": "abc123", "data_digest": "d" * 64, "files": {},
    } | other  # fmt: skip


def efficiency(embeds: bool, ms: float, measured: int = 100_000, device: str = "cpu") -> dict[str, Any]:
    """Of metrics.json. ms: among 1,000 images; measured: the largest gallery that was"""
    searches = [{"gallery": n, "ms": ms * n / 1000, "measured": n <= measured} for n in (1_000, 5_000, 100_000)]
    return {
        "embeds": embeds, "image_bytes": 10.0 * ms, "caption_bytes": 5.0, "searches": searches, "device": device, "threads": 1,
    }  # fmt: skip


def imported(name: str, data: str, method: str, r1: float, **other: Any) -> dict[str, Any]:
    """metrics.json of a run read from a checkpoint."""
    checkpoint = {
        "path": "/models/f30k/model_best.pth", "sha256": "c" * 64, "epoch": 22, "best_rsum": 512.34,
        "vocabulary": "f30k_precomp_vocab.json",
    }  # fmt: skip
    changes = {
        "origin": "imported",
        "selected_on": "unknown (imported)",
        "train_seconds": None,
        "checkpoint": checkpoint,
    }
    return evaluation(name, data, method, None, r1, **(changes | other))


def image_row(number: int, file_name: str | None, correct: bool) -> dict[str, Any]:
    return {"image_id": number, "file_name": file_name, "score": 0.5 - number / 10, "correct": correct}


def retrieved() -> dict[str, Any]:
    return {
        "image_to_text": [
            {
                "image_id": 1, "file_name": "one.png", "rank": 2, "kind": "good", "captions": ["the right one"],
                "retrieved": [
                    {"caption": SCRIPT, "score": 0.9, "correct": False},
                    {"caption": "the right one", "score": 0.8, "correct": True},
                ],
            }
        ],
        "text_to_image": [
            {
                "caption": SCRIPT, "rank": 7, "image_id": 3, "file_name": ODD, "kind": "bad",
                "retrieved": [image_row(1, "one.png", False), image_row(2, OUTSIDE, False), image_row(4, None, False)],
            }
        ],
    }  # fmt: skip


def history(an_epoch: int = 1) -> dict[str, Any]:
    """Three evaluations, `an_epoch` of them in each epoch; the last is the best."""
    records = [
        {
            "evaluation": number, "epoch": number / an_epoch if number % an_epoch else number // an_epoch,
            "learning_rate": 5e-4, "losses": {"hinge": 9.0 / number, "total": 9.0 / number},
            "dev": figures(10.0 * number), "seconds": 1.9, "pairs_per_second": 2400.0,
        }
        for number in (1, 2, 3)
    ]  # fmt: skip
    return {"evaluations": records, "best_epoch": records[-1]["epoch"]}


def write(path: Path, value: Any) -> None:
    write_sealed(path, {key: inner for key, inner in value.items() if key != "digest"})


def ranks(count: int, recalls: list[float]) -> np.ndarray:
    """Ranks with these recalls at 1, 5 and 10, as near as so few queries can have them; the last queries are the worst."""
    reached = [round(count * min(recall, 100.0) / 100) for recall in recalls]
    of_queries = np.full(count, 20, np.int32)
    for rank, number in ((10, reached[2]), (5, reached[1]), (1, reached[0])):
        of_queries[:number] = rank
    return of_queries


def first_ten(queries: int, items: int) -> np.ndarray:
    """For each query the first ten items as its best answers."""
    return np.tile(np.arange(min(10, items), dtype=np.int32), (queries, 1))


def put_ranks(root: Path, value: dict[str, Any]) -> None:
    """ranks.parquet with the recalls of a metrics.json, whose `files` it enters, and the data set's caption table."""
    counts = value["n_images"], value["n_captions"]
    sides = {"image_to_text": ("i2t", counts[0]), "text_to_image": ("t2i", counts[1])}
    path = root / layout.result(value["data"], value["name"]) / "ranks.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = value["metrics"]
    of_sides = {
        name: ranks(count, [figures[f"{side}_r{k}"] for k in (1, 5, 10)]) for name, (side, count) in sides.items()
    }
    own = np.array_split(np.arange(counts[1]), counts[0])
    images = [Image(100 + image, None, of_image.tolist(), []) for image, of_image in enumerate(own)]
    found = Ranked(**of_sides, captions_found=first_ten(*counts), images_found=first_ten(*reversed(counts)))
    ranked.write(path, found, images)
    value["files"] = {path.name: sha256(path)}
    table = root / layout.captions(value["data"])
    if not table.exists():
        each = counts[1] // counts[0]
        columns = [
            {
                "image_id": 100 + image, "file_name": "one.png", "split": split, "position": image,
                "caption_id": image * each + number, "text": f"caption {number} of image {100 + image}",
            }
            for split, images in (("train", 1), ("dev", 1), ("test", value["n_images"]))
            for image in range(images)
            for number in range(each)
        ]  # fmt: skip
        captions.write(pa.Table.from_pylist(columns, schema=captions.SCHEMA), table)


def put_run(root: Path, value: dict[str, Any]) -> None:
    folder = root / "results" / value["data"] / value["name"]
    put_ranks(root, value)
    write(folder / "metrics.json", value)
    write(folder / "retrieved.json", retrieved())
    if value["origin"] == "trained":
        write(root / "runs" / value["data"] / value["name"] / "history.json", history())


def put_ensemble(root: Path, value: dict[str, Any]) -> None:
    folder = root / "results" / value["data"] / value["name"]
    put_ranks(root, value)
    write(folder / "metrics.json", value)
    write(folder / "retrieved.json", retrieved())
