"""Real photos with real captions, from a table to figures: ESL on a small CLIP, and on grid cells of a small ResNet.

Without pretrained weights so few photos teach little: where there are a thousand, what is asked is to beat chance clearly.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.own_data.make import make
from itrcore.runs.observer import Observer
from itrcore.runs.records import Evaluation
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.training.train import train
from stages import raw, shards, splits, vocab
from tests.support.project import ROOT
from tests.support.tiny_project import NLTK

GRID = {
    "backbone": "imagenet_res152",
    "weights": "random",
    "shape": {"embedding": 16, "widths": [32, 64, 128, 256], "depths": [1, 1, 1, 1]},
    "picture": 128,
    "warmup_epochs": 0,
    "stage_epochs": 0,
}


def f30k(shared: Path) -> Iterable[tuple[str, str, str]]:
    """Split, file and caption of every photo, five of each: captions as SCAN has them."""
    captions = {
        "train": gzip.decompress((shared / "f30k_scan/train_caps.txt.gz").read_bytes()).decode().splitlines(),
        "dev": (shared / "f30k_scan/dev_caps.txt").read_text("utf-8").splitlines(),
        "test": (shared / "f30k_scan/test_caps.txt").read_text("utf-8").splitlines(),
    }
    with open(shared / "f30k_photos/f30k_overlap.csv", newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            if row["in_images_224"] == "1":
                split = row["karpathy_split"].replace("val", "dev")
                first = 5 * int(row["scan_image_index"])
                for caption in captions[split][first : first + 5]:
                    yield split, row["flickr8k_file"], caption


def coco(shared: Path) -> Iterable[tuple[str, str, str]]:
    """COCO's own captions in Karpathy's split, restval to train as the field has it."""
    folder = shared / "coco_mini"
    captions_of: dict[int, list[str]] = {}
    for year in ("train2017", "val2017"):
        for item in json.loads((folder / f"annotations/captions_{year}.json").read_text("utf-8"))["annotations"]:
            captions_of.setdefault(item["image_id"], []).append(item["caption"].strip())
    with open(folder / "karpathy_map.csv", newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            split = {"val": "dev", "restval": "train"}.get(row["karpathy_split"], row["karpathy_split"])
            for caption in captions_of[int(row["coco_id"])][:5]:
                yield split, row["file"], caption


def project(folder: Path, rows: Iterable[tuple[str, str, str]], images: Path, method: str, changes: Any) -> Params:
    """A project of one data set, `photos`, prepared by the real stages, with one run on it."""
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False
    params = yaml.load((ROOT / "params.yaml").read_text("utf-8"))
    params |= {"datasets": {}, "runs": {}, "ensembles": {}}
    params["training"] |= {"device": "cpu", "precision": "float32"}
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    _write(yaml, NLTK, folder / "nltk.yaml")
    _write(yaml, params, folder / "params.yaml")
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("split", "image", "caption"), *rows])
    with contextlib.chdir(folder):
        make("photos", Path("captions.csv"), images=images)
        params = yaml.load((folder / "params.yaml").read_text("utf-8"))
        params["datasets"]["photos"]["vocabulary"]["word_pieces"] = {"pieces": 1000, "min_count": 2}
        params["profiles"]["tried"] = changes
        params["runs"] = {"one": {"data": "photos", "method": method, "seed": 1, "profile": "tried"}}
        _write(yaml, params, folder / "params.yaml")
        params = load()
        for stage in (raw, splits, vocab, shards):
            stage.main(params, "photos")
    return params


def _write(yaml: YAML, value: Any, path: Path) -> None:
    with open(path, "w", encoding="utf-8") as handle:
        yaml.dump(value, handle)


def evaluated(folder: Path, params: Params) -> Evaluation:
    """What a training gives on test."""
    with contextlib.chdir(folder):
        train(params, "one", Observer())
        evaluate(params, "one")
        evaluation = judge(params, "one")
    assert evaluation.features == "pixels"
    return evaluation


SMALL_CLIP = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))["profiles"]["small_clip"]
SMALL_GRID = {
    "model": {
        "dim": 128,
        "levels": 6,
        "text": {
            "weights": "random",
            "shape": {"hidden": 64, "layers": 2, "heads": 2, "intermediate": 128, "positions": 64},
        },
        "grid": GRID,
    },
    "loss": {"warmup_epochs": 1},
    "recipe": {
        "batch_size": 32,
        "epochs": 2,
        "schedule": {"epochs": []},
        "factors": {"bert": 1.0, "backbone": 1.0},
    },
}


@pytest.mark.slow
def test_esl_on_a_small_clip_learns_from_flickr30k_photos(shared_data: Path, tmp_path: Path) -> None:
    changes = SMALL_CLIP | {"recipe": SMALL_CLIP["recipe"] | {"learning_rate": 1.0e-3, "epochs": 2, "batch_size": 64}}
    params = project(tmp_path, f30k(shared_data), shared_data / "f30k_photos/images_224", "esl_h_clip", changes)
    result = evaluated(tmp_path, params)
    assert (result.n_images, result.n_captions) == (243, 1215)
    chance = 100 * 2 * (1 + 5 + 10) / 243  # five right captions among five times as many
    assert result.metrics.rsum > 1.5 * chance


@pytest.mark.slow
@pytest.mark.parametrize(("method", "changes"), [("esl_a_clip", SMALL_CLIP), ("esl_h_bert_grid", SMALL_GRID)])
def test_coco_photos_of_any_size_are_trained_on_and_evaluated(
    method: str, changes: dict[str, Any], shared_data: Path, tmp_path: Path
) -> None:
    changes = changes | {"recipe": changes["recipe"] | {"epochs": 2}}
    params = project(tmp_path, coco(shared_data), shared_data / "coco_mini", method, changes)
    result = evaluated(tmp_path, params)
    assert (result.n_images, result.n_captions, result.family) == (11, 55, method)
