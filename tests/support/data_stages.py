"""The data stages, and a project with one small data set for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import stages.concepts
import stages.nltk_data
import stages.raw
import stages.shards
import stages.splits
import stages.vocab
from itrcore.settings.load import load
from itrcore.settings.params import Params
from tests.conftest import ROOT

STAGES: dict[str, Callable[[Params, str], None]] = {
    "raw": stages.raw.main,
    "splits": stages.splits.main,
    "nltk": stages.nltk_data.main,
    "vocab": stages.vocab.main,
    "concepts": stages.concepts.main,
    "shards": stages.shards.main,
}


def write_params(downloads: Any = None, nltk_sources: Sequence[str] = (), **changes: Any) -> Params:
    """The project's experiment with one small data set `toy` and no runs, in the current folder."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((ROOT / "params.yaml").read_text("utf-8"))
    toy = {
        "reads": "scan",
        "source": {
            "kind": "scan",
            "folder": "scan",
            "features": "bottom-up attention",
            "splits": {"train": "train", "dev": "dev", "test": "test"},
        },
        "vocabulary": {"min_count": 2},
        "shards": {"regions": {"dtype": "float16", "samples_per_shard": 3}},
    }
    params |= {"downloads": downloads or {}, "datasets": {"toy": toy | changes}, "runs": {}, "ensembles": {}}
    nltk = yaml.load((ROOT / "nltk.yaml").read_text("utf-8")) | {"sources": list(nltk_sources)}
    nltk = {key: value for key, value in nltk.items() if key not in ("tagger", "wordnet")}
    for path, value in (("params.yaml", params), ("nltk.yaml", nltk)):
        with open(path, "w", encoding="utf-8") as handle:
            yaml.dump(value, handle)
    if not Path("recipes").exists():
        shutil.copytree(ROOT / "recipes", "recipes")
    return load()
