"""A whole project in a temporary folder: params.yaml, and a world of a few scenes made by the real stages' functions."""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from itrcore import layout
from itrcore.assets.concepts import untrained
from itrcore.files import read_json, sealed, write_sealed
from itrcore.runs.observer import Observer
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.training.state import StateFolder
from itrcore.training.train import train
from tests.support.helpers import CLUSTERS, MOMENTUM

ROOT = Path(__file__).parents[2]

_LOSS = {"kind": "hinge", "margin": 0.2, "warmup_epochs": 1}
_VIEWS_LOSS = {**_LOSS, "kind": "self_expanding"}
_RECIPE = {
    "optimiser": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "batch_size": 8,
    "epochs": 3,
    "evaluations": 1,
    "schedule": {"kind": "step", "epochs": [2], "factor": 0.1},
    "clip_norm": 2.0,
}
_TEXT = {"kind": "bigru", "word_dim": 8, "dropout": 0.1, "init": "random"}
BERT = {
    "kind": "bert",
    "weights": "random",
    "shape": {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16, "positions": 32},
    "dropout": 0.1,
}
_ESL = {"strategy": "adaptive", "dim": 16, "levels": 2, "kernel": 2}
_TOWER = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16}
_CLIP = {
    "kind": "clip",
    "weights": "random",
    "shape": {
        "picture": 32,
        "patch": 16,
        **{f"{tower}_{key}": size for tower in ("image", "text") for key, size in _TOWER.items()},
        "positions": 32,
    },
    "strip": ".",
}
_GRID = {
    "backbone": "detector",
    "weights": "random",
    "shape": {"embedding": 4, "widths": [4, 4, 8, 8], "depths": [1, 1, 1, 1]},
    "picture": 32,
    "random_crop": 0.6,
    "flip": True,
    "warmup_epochs": 1,
    "stage_epochs": 1,
}
_VIEWS = {"touch": 0.2, "mask": 0.5, "random": 0.1, "remove": 0.4}
NLTK: dict[str, Any] = {"sources": [], "sha256": "0" * 64, "files": {}, "timeout": 1}
PARAMS: dict[str, Any] = {  # `methods` are written as recipes
    "root": ".",
    "downloads": {},
    "datasets": {
        "tiny": {
            "reads": "params.yaml",
            "source": {
                "kind": "scenes",
                "seed": 3,
                "images": {"train": 24, "dev": 8, "test": 8},
                "captions_per_image": 5,
                "regions": 6,
                "width": 16,
                "min_objects": 2,
                "max_objects": 4,
                "near_duplicates": 2,
                "noise": 0.1,
                "picture_size": 32,
            },
            "vocabulary": {"min_count": 1, "word_pieces": {"pieces": 200, "min_count": 1}},
            "shards": {"regions": {"dtype": "float32", "samples_per_shard": 10}},
        }
    },
    "methods": {
        "gpo": {
            "model": {
                "kind": "vse",
                "dim": 16,
                "text": _TEXT,
                "pooling": {"kind": "gpo", "code_dim": 4, "hidden_dim": 4, "temperature": 0.1},
                "region_drop": 0.2,
                "token_views": _VIEWS,
            },
            "loss": _LOSS,
            "recipe": _RECIPE,
        },
        "esa": {
            "model": {
                "kind": "esa",
                "dim": 16,
                "text": _TEXT,
                "views": 2,
                "region_drop": 0.2,
                "token_views": _VIEWS,
            },
            "loss": _VIEWS_LOSS,
            "recipe": _RECIPE,
        },
        "esa_bert": {
            "model": {"kind": "esa", "dim": 16, "text": BERT, "views": 2, "region_drop": 0.2, "token_views": _VIEWS},
            "loss": _VIEWS_LOSS,
            "recipe": {**_RECIPE, "factors": {"bert": 0.1}},
        },
        "esl_bert": {
            "model": {**_ESL, "kind": "esl", "text": BERT, "region_drop": 0.2, "token_views": _VIEWS},
            "loss": _LOSS,
            "recipe": {**_RECIPE, "factors": {"bert": 0.1}},
        },
        "esl_grid": {
            "model": {
                **_ESL,
                "kind": "esl",
                "text": BERT,
                "region_drop": 0.2,
                "token_views": _VIEWS,
                "grid": _GRID,
            },
            "loss": _LOSS,
            "recipe": {**_RECIPE, "factors": {"bert": 0.1, "backbone": 0.1}},
        },
        "saf": {
            "model": {
                "kind": "sgraf",
                "dim": 16,
                "text": _TEXT,
                "module": {"kind": "saf"},
                "softmax_scale": 9.0,
                "alignment_dim": 8,
                "dropout": 0.1,
            },
            "loss": _LOSS,
            "recipe": {**_RECIPE, "optimiser": "adam"},
        },
        "esl_clip": {
            "model": {**_ESL, "kind": "esl_clip", "text": _CLIP},
            "loss": {"kind": "symmetric", "max_scale": 100.0},
            "recipe": {
                **_RECIPE,
                "optimiser": "adamw_bert",
                "factors": {"clip": 0.1},
                "evaluations": 4,
                "schedule": {"kind": "cosine", "warmup": 0.1},
            },
        },
    },
    "profiles": {},
    "training": {
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "save_every_steps": 4,
        "selection": {"captions": 5000},
    },
    "evaluation": {"batch_size": 16, "tile": 16, "vectors": "float32", "retrieved": 2, "queries": 2},
    "runs": {
        "one": {"data": "tiny", "method": "esa", "seed": 1},
        "two": {"data": "tiny", "method": "gpo", "seed": 1},
    },
    "ensembles": {"both": {"data": "tiny", "runs": ["one", "two"]}},
    "report": {"title": "tiny"},
}


PIXELS: dict[str, Any] = {  # the data set's pictures in shards, and run `one` on them
    "datasets.tiny.shards.images": {"samples_per_shard": 20, "max_megapixels": 1},
    "runs.one.method": "esl_clip",
    "methods.esl_clip.recipe.batch_size": 40,
    "methods.esl_clip.recipe.epochs": 2,
}


CODER: dict[str, Any] = {  # run `two`, two epochs of three steps
    "datasets.tiny.vocabulary.concepts": {"objects": 4, "motions": 1, "properties": 1},
    "methods.gpo.recipe": {
        **_RECIPE,
        "batch_size": 40,
        "epochs": 2,
        "schedule": {"kind": "step", "epochs": [1], "factor": 0.1},
        "factors": {"graph": 0.4},
    },
    "methods.gpo.model.kind": "coder",
    "methods.gpo.model.graph_dim": 8,
    "methods.gpo.model.attention_scale": 10.0,
    "methods.gpo.model.alpha": {"kind": "dev", "step": 0.05, "near": 0.9},
    "methods.gpo.loss": {**MOMENTUM, "queue": 100, "clusters": CLUSTERS},
}


def write_experiment(folder: Path, values: Mapping[str, Any], nltk: Mapping[str, Any] = NLTK) -> None:
    """Write params.yaml, and what lies beside it: nltk.yaml and, of `methods`, a recipe each."""
    params = {key: value for key, value in values.items() if key != "methods"}
    (folder / "recipes").mkdir(parents=True, exist_ok=True)
    recipes = {f"recipes/{name}.yaml": {"source": "a test", **recipe} for name, recipe in values["methods"].items()}
    for path, value in {"params.yaml": params, "nltk.yaml": nltk, **recipes}.items():
        yaml = YAML(typ="safe", pure=True)
        yaml.width = 1_000_000  # no mapping over several lines, as in the shipped files
        yaml.sort_base_mapping_type_on_output = False
        yaml.dump(copy.deepcopy(value), folder / path)  # copied: the same object twice would be an anchor


def write_params(folder: Path, changes: Mapping[str, Any] | None = None) -> Params:
    """Write an experiment, with `{"methods.gpo.recipe.epochs": 5}` changed; the configuration as it is then read."""
    values = copy.deepcopy(PARAMS)
    for key, value in (changes or {}).items():
        *above, last = key.split(".")
        inside = values
        for part in above:
            inside = inside[part]
        inside[last] = value
    write_experiment(folder, values)
    return load(folder / "params.yaml")


def prepare(folder: Path, changes: Mapping[str, Any] | None = None) -> Params:
    """Fill the folder with a project whose data set `tiny` is ready to train on."""
    from stages import raw, shards, splits, vocab

    params = write_params(folder, changes)
    with contextlib.chdir(folder):
        for stage in (raw, splits, vocab, shards):
            stage.main(params, "tiny")
    return params


@functools.cache
def prepared() -> Path:
    """A project made once for all tests; none may change it."""
    folder = Path(tempfile.mkdtemp(prefix="itr-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    prepare(folder)
    return folder


def project(folder: Path, changes: Mapping[str, Any] | None = None) -> Params:
    """A project of its own on the data of `prepared`."""
    shutil.copytree(prepared() / "data", folder / "data", ignore=shutil.ignore_patterns("*.jpg"))
    return write_params(folder, changes)


def coder_project(folder: Path, changes: Mapping[str, Any] | None = None) -> Params:
    """As `project`, with run `two` as CODER, and concepts for it."""
    params = project(folder, {**CODER, **(changes or {})})
    untrained(6, 4).save(folder / layout.concepts("tiny"))
    return params


def train_in(folder: Path, name: str = "one", observer: Observer | None = None) -> Path:
    """Train in this process; the folder of the results."""
    with contextlib.chdir(folder):
        params = load()
        run = train(params, name, observer or Observer())
        StateFolder(layout.STATE / params.run(name).data / name).clear()  # as the report does, once DVC has recorded it
    return folder / run


def rewrite(path: Path, **changes: Any) -> None:
    """Change entries of a record, as if its stage had written it so."""
    write_sealed(path, {**sealed(read_json(path)), **changes})


def freeze_code(folder: Path) -> Path:
    """A copy of the code, for processes that must all run the same while someone edits it."""
    for package in ("itrcore", "stages"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def stage(
    folder: Path, name: str, *arguments: str, code: Path = ROOT, by: str = sys.executable, **env: str
) -> subprocess.Popen[str]:
    """Start `python -m stages.NAME` in the folder; its output is one stream. by: the Python, such as `warm.python`"""
    known = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return subprocess.Popen(
        [by, "-m", f"stages.{name}", *arguments],
        cwd=folder,
        env={**known, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def timeless(run: Path) -> Any:
    """A run's history.json without its times, which are the one thing that may differ between two same trainings."""
    history = sealed(read_json(run / "history.json"))  # the digest is of the times too
    for record in history["evaluations"]:
        del record["seconds"], record["pairs_per_second"]
    return history


def weights(run: Path) -> bytes:
    """The bytes of a run's checkpoint."""
    return (run / "model.safetensors").read_bytes()
