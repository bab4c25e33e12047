"""MS-COCO's real ids, captions and annotations, judged by every protocol with simulated similarities: the whole path, and its cost.

    python -m benchmarks.real_truth --captions coco_precomp --cxc crisscrossed --out real-truth --json real_truth.json

Makes an experiment in the folder `--out` from SCAN's captions and ids (dev_caps.txt, dev_ids.txt, testall_caps.txt,
testall_ids.txt) and CxC's files, writes what `evaluate` would leave of four pretended runs (`benchmarks/oracle.py`), and then
runs the project's own commands there, each shown with what it prints: judging, an ensemble chosen on dev, a comparison, the
leaderboards, the report. At the end: how sure figures of 5,000 and of 1,000 images are, how many wrong answers are right by
others, and the seconds and the peak memory of each judging, a process of its own. Needs 1 GB of disk.
No model is trained or asked: figures say what protocols make of the same similarities, and nothing about any method.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from benchmarks import oracle
from benchmarks.oracle import Oracle, Words
from benchmarks.processes import in_fresh_process
from itrcore import layout, registry
from itrcore.arrays import new_array
from itrcore.data import captions, scan
from itrcore.data.source import Source
from itrcore.files import read_json, replacing, sha256_of_all, write_json
from itrcore.protocols.coco_1k import FOLDS, IMAGES
from itrcore.protocols.contract import SIDES, Judged
from itrcore.protocols.uncertainty import Outcomes, intervals
from itrcore.provenance import code_version
from itrcore.ranking import Ranks
from itrcore.runs.digests import captions_of
from itrcore.runs.folder import SCORES, SPLIT, read, write
from itrcore.runs.records import Scores
from itrcore.runs.scored import DEV, SIMILARITY, open_scores, save_vectors
from itrcore.settings.load import load

ROOT = Path(__file__).parents[1]
DATA = "coco-oracle"
SPLITS = {DEV: "dev", SPLIT: "testall"}  # ours → SCAN's
# Those whose captions are scored anew by a model are left out: there is none.
PROTOCOLS = tuple(
    name
    for name, listed in registry.PROTOCOLS.items()
    if name != registry.WHOLE_SPLIT and listed.reads not in registry.FURTHER
)
LIMIT_SECONDS, LIMIT_GB = 90.0, 4.0  # what the project promises for one run by all protocols, on 2 cores
# Two of vectors that differ in their seed, one of wider vectors, one that compares words with images. Noise such that recalls
# are about those of published methods.
ORACLES = (
    Oracle("coco-oracle_512-1", 1, 512, 1.5),
    Oracle("coco-oracle_512-2", 2, 512, 1.5),
    Oracle("coco-oracle_1024-1", 1, 1024, 2.1),
    Oracle("coco-oracle_words-1", 1, None, 0.08),
)
_SOURCE = (
    "None: no method. Its runs' similarities are simulated (benchmarks/oracle.py), and nothing below is read for them"
)


def make(given: Path, cxc: Path, out: Path, oracles: Sequence[Oracle], protocols: Sequence[str]) -> None:
    """Write an experiment whose stages up to `evaluate` look done. given: the folder of SCAN's captions and ids; out: a new one

    `DataError` where captions or ids cannot be read.
    """
    splits = {split: scan.read_captions(given, name) for split, name in SPLITS.items()}
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        _write_params(folder, given.resolve(), cxc.resolve(), oracles, protocols)
        with chdir(folder):
            load()  # refuses what is wrong
            Source("simulated", folder=str(given.resolve())).write(_made(layout.raw(DATA)))
            _write_captions(splits)
            words = Words.of([group for _, groups in splits.values() for group in groups])
            for each in oracles:
                _write_scores(each, {split: groups for split, (_, groups) in splits.items()}, words)


def _write_params(folder: Path, given: Path, cxc: Path, oracles: Sequence[Oracle], protocols: Sequence[str]) -> None:
    yaml = YAML(typ="safe", pure=True)
    read = {name: yaml.load(ROOT / name) for name in ("params.yaml", "recipes/vse_infty_bigru.yaml")}
    dataset = {
        "reads": str(given), "benchmark": "coco", "protocols": list(protocols), "cxc": str(cxc),
        "source": {"kind": "scan", "folder": str(given), "features": "simulated", "splits": {"train": "train", **SPLITS}},
        "vocabulary": {"min_count": 4}, "shards": {"regions": {"dtype": "float16", "samples_per_shard": 1000}},
    }  # fmt: skip
    params = {
        "root": ".", "downloads": {}, "datasets": {DATA: dataset}, "profiles": {}, "training": read["params.yaml"]["training"],
        "evaluation": read["params.yaml"]["evaluation"],
        "runs": {each.name: {"data": DATA, "method": _method(each), "seed": each.seed} for each in oracles},
        "ensembles": {}, "report": {**read["params.yaml"]["report"], "title": "MS-COCO's real truth, simulated similarities"},
    }  # fmt: skip
    heading = (
        "# Made by benchmarks/real_truth.py: captions, ids and annotations are MS-COCO's, similarities are simulated.\n"
    )
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        file.write(heading)
        yaml.dump(params, file)
    for each in oracles:  # a run's method has a recipe, also where there is nothing to train
        path = _made(folder / layout.RECIPES) / f"{_method(each)}.yaml"
        yaml.dump({**read["recipes/vse_infty_bigru.yaml"], "source": _SOURCE}, path)


def _method(each: Oracle) -> str:
    return each.name.removeprefix("coco-").rpartition("-")[0]


def _write_captions(splits: dict[str, tuple[list[int], list[list[str]]]]) -> None:
    """The caption table. Captions are only numbered, as SCAN's files have no ids of theirs."""
    ids, groups = splits[DEV]
    train = {"train": (ids[:1], groups[:1])}  # a table needs such a split; nothing here reads it
    rows: list[dict[str, Any]] = []
    for split, (ids, groups) in (train | splits).items():
        for position, (image, group) in enumerate(zip(ids, groups, strict=True)):
            of_image = {"image_id": image, "file_name": None, "split": split, "position": position}
            rows += [{**of_image, "caption_id": len(rows) + n, "text": text} for n, text in enumerate(group)]
    captions.write(pa.Table.from_pylist(rows, captions.SCHEMA), layout.captions(DATA))


def _write_scores(each: Oracle, splits: dict[str, oracle.Captions], words: Words) -> None:
    """What `itrcore/evaluation/evaluate.py` leaves of a run: evaluation.json, and the scores of test and dev."""
    with replacing(layout.evaluation(DATA, each.name)) as folder:
        for split, groups in splits.items():
            if each.width is None:
                matrix = oracle.similarity(each, groups, words)
                stored = new_array(_made(folder / split) / SIMILARITY, matrix.shape)
                stored[:] = matrix
                stored.flush()
            else:
                images, texts = oracle.vectors(each, groups, words)
                save_vectors(_made(folder / split), images, texts, "float32")
        table = layout.captions(DATA)
        scores = Scores(
            kind="run", name=each.name, data=DATA, family="oracle", origin="simulated", features="simulated",
            selected_on="nothing (simulated)", parameters=0, code_version=code_version(ROOT),
            data_digest=captions_of(table, DEV), files=sha256_of_all(folder), attends=False,
            test_digest=captions_of(table, SPLIT), dev_digest=captions_of(table, DEV), inputs={},
        )  # fmt: skip
        write(folder / SCORES, scores)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def command(out: Path, *words: str) -> dict[str, float]:
    """Run a command of the project in the experiment's folder, shown as a user types it; what its process took."""
    shown, module = ("itr", "itrcore.cli") if words[0] == "itr" else (f"python -m {words[0]}", words[0])
    print(f"$ {' '.join((shown, *words[1:]))}", flush=True)
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-m", module, *words[1:]], cwd=out, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(code)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_gb": used.ru_maxrss * unit / 1e9,
    }


def whole_path(out: Path) -> dict[str, dict[str, float]]:
    """Every command after `evaluate`, one after the other; what each judging and the ensemble took."""
    took = {each.name: command(out, "stages.judge", each.name) for each in ORACLES}
    command(out, "itr", "ensemble", "--search", "pairs", "--weights", "dev", "--top", "1", "--add")
    ensemble = f"{DATA}-pairs-1"
    took[ensemble] = command(out, "stages.ensemble", ensemble)
    for protocol in (registry.WHOLE_SPLIT, *PROTOCOLS):
        command(out, "itr", "leaderboard", "--protocol", protocol)
    files = ("--csv", "eccv.csv", "--latex", "eccv.tex")
    command(out, "itr", "leaderboard", "--protocol", "eccv", *files)
    command(out, "itr", "compare", ORACLES[0].name, ORACLES[1].name, "--examples", "1")
    took["report"] = command(out, "stages.report")
    return took


def how_sure(out: Path, name: str) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Of a run: what is taken → figure → its value and its 95 % interval over images, for 5K, 1K and a single fold.

    Folds are of one size, so the mean over five is the figure of all images, each ranked among those of its fold.
    """
    with chdir(out):
        scores = read(layout.evaluation(DATA, name) / SCORES, Scores, "evaluate")
        scored = open_scores(layout.evaluation(DATA, name), SPLIT, scores.files, "evaluate")
        judged = Judged(name, scored.whole(), captions.read(layout.captions(DATA), SPLIT))
    image_of, folds = judged.image_of, []
    for start in range(0, FOLDS * IMAGES, IMAGES):
        first, end = np.searchsorted(image_of, (start, start + IMAGES)).tolist()
        folds.append(judged.ranks_of(slice(start, start + IMAGES), slice(first, end)))
    joined = Ranks(*(np.concatenate([getattr(f, side) for f in folds]) for side in ("image_to_text", "text_to_image")))
    taken = {
        "5K": Outcomes.of(judged.ranks, image_of),
        "1K, mean of five folds": Outcomes.of(joined, image_of),
        "1K, the first fold": Outcomes.of(folds[0], image_of[: len(folds[0].text_to_image)]),
    }
    return {
        what: {key: (each.figures()[key], *intervals([each])[0][key]) for key in ("rsum", "i2t_r1", "t2i_r1")}
        for what, each in taken.items()
    }


def _print_more(out: Path, sure: dict[str, dict[str, tuple[float, float, float]]]) -> None:
    print(f"\n{ORACLES[0].name}: figures with 95 % bootstrap intervals over images")
    for what, figures in sure.items():
        print(f"  {what:24}", *(f"{key} {v:.1f} ({low:.1f}–{high:.1f})  " for key, (v, low, high) in figures.items()))
    print("Wrong at rank 1 by COCO, and of these right by others")
    for line in read_json(out / layout.REPORT / "analysis" / f"{DATA}.json")["unlabelled"]:
        share = 100 * line["right"] / max(line["wrong"], 1)
        what = f"{line['annotation']}, {SIDES[line['side']]}"
        print(
            f"  {line['name']:22} {what:28} {line['wrong']:7,} of {line['asked']:6,} {line['right']:5,} ({share:.1f} %)"
        )
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, required=True, help="SCAN's captions and ids of MS-COCO")
    parser.add_argument("--cxc", type=Path, required=True, help="Crisscrossed Captions' CSV files, or a folder above")
    parser.add_argument("--out", type=Path, required=True, help="the experiment's folder, a new one")
    parser.add_argument("--json", type=Path, help="write what judging took to this file")
    given = parser.parse_args()
    if given.out.exists():
        parser.error(f"{given.out} is there already; give a new folder, or remove it")
    # In processes of their own: one that this one starts counts as large as this one was.
    in_fresh_process(make, given.captions, given.cxc, given.out, ORACLES, PROTOCOLS)
    took = whole_path(given.out)
    sure = in_fresh_process(how_sure, given.out, ORACLES[0].name)
    _print_more(given.out, sure)
    print(f"{'process':24} {'seconds':>8} {'CPU s':>7} {'peak GB':>8}   {os.cpu_count()} cores")
    for name, used in took.items():
        print(f"{name:24} {used['seconds']:8.1f} {used['cpu_seconds']:7.1f} {used['peak_gb']:8.2f}")
    judged = [took[each.name] for each in ORACLES]
    kept = all(used["seconds"] <= LIMIT_SECONDS and used["peak_gb"] <= LIMIT_GB for used in judged)
    print(f"one run by all protocols: {'within' if kept else 'OVER'} {LIMIT_SECONDS:g} s and {LIMIT_GB:g} GB")
    if given.json:
        write_json(
            given.json,
            {"cores": os.cpu_count(), "protocols": PROTOCOLS, "took": took, "intervals": sure, "within_limits": kept},
        )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
