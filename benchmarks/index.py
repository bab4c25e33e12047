"""One million vectors: seconds to build an index, its size and memory, and queries per second at recall@10 of at least 0.98.

    python -m benchmarks.index --json index.json

The vectors are made with a seed: 2,000 clusters in 48 dimensions, bent into --dim dimensions, with noise, of length 1. Queries
are such vectors near ones of the gallery, all moved by one offset, as texts lie beside images. Each way (flat; hnsw, which
`itr index` takes at this size; ivfpq, beyond two million) is built in one process and searched in another. The effort of an
approximate index is chosen with 300 queries, and its recall measured with 500 others.
`alone`: one query at a time; `together`: 100 at a time; per second, and per second of processor time, which others on the machine
change less: how many times as many as flat is of this. Memory is what the process held at most, and of a search also what of it
was no mapped file: the system may take mapped pages back.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.processes import STATUS, in_fresh_process, resident_peak
from itrcore.arrays import new_array, open_array
from itrcore.files import write_json
from itrcore.index.neighbours import NEAREST, Approximate, exact

WANTED = 0.98
WAYS = ("flat", "hnsw", "ivfpq")
CLUSTERS, INNER = 2_000, 48
TUNED_BY, MEASURED_BY, TOGETHER = 300, 500, 100
_BLOCK = 50_000


class World:
    """Where vectors come from; `images` and `texts` of the same inner points lie near each other."""

    def __init__(self, dim: int) -> None:
        self.rng = np.random.default_rng(7)
        self.centres = self.rng.standard_normal((CLUSTERS, INNER), dtype=np.float32)
        self.first = self.rng.standard_normal((INNER, dim), dtype=np.float32) / np.float32(INNER**0.5)
        self.second = self.rng.standard_normal((dim, dim), dtype=np.float32) / np.float32(dim**0.5)
        self.offset = self.rng.standard_normal(dim, dtype=np.float32) / np.float32(2)

    def points(self, n: int) -> np.ndarray:
        near = self.rng.standard_normal((n, INNER), dtype=np.float32)
        return self.centres[self.rng.integers(CLUSTERS, size=n)] + np.float32(0.7) * near

    def vectors(self, points: np.ndarray, text: bool = False) -> np.ndarray:
        if text:
            points = points + np.float32(0.3) * self.rng.standard_normal(points.shape, dtype=np.float32)
        bent = np.tanh(points @ self.first) @ self.second
        bent += np.float32(0.1) * self.rng.standard_normal(bent.shape, dtype=np.float32) + self.offset * text
        return bent / np.linalg.norm(bent, axis=1, keepdims=True)


def make(folder: Path, n: int, dim: int) -> None:
    world = World(dim)
    vectors = new_array(folder / "vectors.npy", (n, dim))
    kept = []
    for start in range(0, n, _BLOCK):
        points = world.points(min(_BLOCK, n - start))
        vectors[start : start + len(points)] = world.vectors(points)
        kept.append(points[: (TUNED_BY + MEASURED_BY) // -(-n // _BLOCK) + 1])
    vectors.flush()
    queries = world.rng.permutation(np.concatenate(kept))[: TUNED_BY + MEASURED_BY]
    np.save(folder / "queries.npy", world.vectors(queries, text=True))


def build(folder: Path, way: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    vectors = open_array(folder / "vectors.npy")
    started, used = time.perf_counter(), time.process_time()
    index = Approximate.build(vectors, way, lambda *told: print(*told, flush=True))  # type: ignore[arg-type]
    index.write(folder / f"{way}.faiss")
    return {
        "build_seconds": time.perf_counter() - started,
        "build_cpu_seconds": time.process_time() - used,
        "build_peak_gb": resident_peak() / 1e9,
        "index_gb": (folder / f"{way}.faiss").stat().st_size / 1e9,
    }


def search(folder: Path, way: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    vectors, queries = open_array(folder / "vectors.npy"), np.load(folder / "queries.npy")
    tuned_by, asked = queries[:TUNED_BY], queries[TUNED_BY:]
    result: dict[str, Any] = {}
    if way == "flat":
        few = asked[:TOGETHER]
        _, nearest = exact(vectors, asked, NEAREST)
        np.save(folder / "nearest.npy", nearest)

        def find(some: np.ndarray) -> Any:
            return exact(vectors, some, NEAREST)

        result["recall"] = 1.0
    else:
        few = asked
        index = Approximate.read(folder / f"{way}.faiss", vectors, 1)
        tuned = index.tune(tuned_by, WANTED)
        result |= {"effort": tuned.effort, "tuned_recall": tuned.recall}
        result["recall"] = index.measure(asked, np.load(folder / "nearest.npy")).recall

        def find(some: np.ndarray) -> Any:
            return index.search(some, NEAREST)

    alone = few[: 10 if way == "flat" else len(few)]
    for name, size, some in (("alone", 1, alone), ("together", TOGETHER, few)):
        started, used = time.perf_counter(), time.process_time()
        for start in range(0, len(some), size):
            find(some[start : start + size])
        result[f"{name}_per_second"] = len(some) / (time.perf_counter() - started)
        result[f"{name}_per_cpu_second"] = len(some) / (time.process_time() - used)
    own = re.search(r"RssAnon:\s*(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return {
        **result,
        "search_peak_gb": resident_peak() / 1e9,
        "search_own_gb": int(own[1]) * 1024 / 1e9 if own else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=WAYS[1:], default=list(WAYS[1:]), help="beside flat")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_fresh_process(make, folder, given.vectors, given.dim)
        print(
            f"{given.vectors:,} vectors of {given.dim} dimensions, {given.threads} threads, {os.cpu_count()} cores",
            flush=True,
        )
        for way in ("flat", *given.ways):
            built = {} if way == "flat" else in_fresh_process(build, folder, way, given.threads)
            results[way] = {**built, **in_fresh_process(search, folder, way, given.threads)}
            found = results[way]
            gain = found["together_per_cpu_second"] / results["flat"]["together_per_cpu_second"]
            print(
                f"{way:6} {found.get('build_seconds', 0):7.0f} s to build, {found.get('index_gb', 0):.2f} GB beside the vectors; "
                f"recall@{NEAREST} {found['recall']:.3f}, {found['alone_per_second']:.0f} queries/s alone, "
                f"{found['together_per_second']:.0f} together ({gain:.0f} times flat)",
                flush=True,
            )
            if given.json:
                shape = {"vectors": given.vectors, "dim": given.dim, "threads": given.threads, "cores": os.cpu_count()}
                write_json(given.json, {**shape, **results})
    return 0 if all(results[way]["recall"] >= WANTED for way in given.ways if way == "hnsw") else 1


if __name__ == "__main__":
    sys.exit(main())
