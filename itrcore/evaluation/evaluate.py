"""A trained run on the test split: its scores. What they are worth is for `judging.py`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from itrcore import layout
from itrcore.assets import assets
from itrcore.assets.assets import Assets
from itrcore.data.feeding.prepared import open_split
from itrcore.device import make_accelerator, precision
from itrcore.errors import DataError
from itrcore.evaluation.scoring import encode, score
from itrcore.files import replacing, sha256, write_json
from itrcore.methods.build import build
from itrcore.methods.contract import Attends, Method
from itrcore.runs import inputs
from itrcore.runs.digests import captions_of
from itrcore.runs.reading import SCORED, SIMILARITY, SPLIT, read_output
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params


def load_method(run: dict[str, Any], folder: Path) -> tuple[Method[Any, Any], Assets]:
    """The method of a run's folder with its weights, and what it was built from. `run` is its run.json.

    `DataError` where the weights cannot be read.
    """
    settings = MethodSettings.model_validate(run["settings"])
    restored = assets.restore(settings.model, folder, layout.NLTK, run["width"])
    method = build(settings, restored.image, restored.text.source, 0)
    path = folder / layout.WEIGHTS
    try:
        method.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: readable, but other tensors
        raise DataError.at(
            path, f"cannot be loaded ({error})", f"the weights of {run['name']}", do="Run: dvc repro"
        ) from error
    return method, restored


def evaluate(params: Params, name: str) -> Path:
    """Score all pairs of the test split with run `name`; returns the folder, with similarity.npy and evaluation.json."""
    data = params.run(name).data
    folder = layout.run(data, name)
    run = read_output(folder / "run.json", f"train@{name}")
    torch.set_num_threads(params.training.threads)
    accelerator = make_accelerator(params.training)
    method, restored = load_method(run, folder)
    method = method.to(accelerator.device)
    split = open_split(data, SPLIT, restored.text.tokeniser, method.input, verify=True)
    settings = params.evaluation
    with replacing(layout.evaluation(data, name)) as temporary:
        temporary.mkdir(parents=True)
        path = temporary / SIMILARITY
        with accelerator.autocast():
            encoded = encode(method, split, settings.batch_size, accelerator.device)
            started = time.perf_counter()
            shape = (len(encoded.images), len(encoded.texts))
            matrix = np.lib.format.open_memmap(path, "w+", np.float32, shape)
            score(method, encoded.images, encoded.texts, settings.tile, matrix)
            seconds = time.perf_counter() - started
        matrix.flush()
        facts = ("name", "data", "family", "origin", "seed", "features", "selected_on", "parameters", "train_seconds")
        result = {
            "kind": "run",
            **{key: run[key] for key in (*facts, "data_digest", "code_version")},
            "checkpoint": run.get("checkpoint"),
            "dev_rsum": run.get("dev_rsum"),
            "encode_image_ms": 1000 * encoded.image_seconds / shape[0],
            "encode_caption_ms": 1000 * encoded.text_seconds / shape[1],
            "score_image_ms": 1000 * seconds / shape[0],
            "score_caption_ms": 1000 * seconds / shape[1],
            "device": str(accelerator.device),
            "precision": precision(accelerator),
            "attends": isinstance(method, Attends),
            "similarity_sha256": sha256(path),
            "test_digest": captions_of(layout.captions(data), SPLIT),
        }
        write_json(temporary / SCORED, {**result, "inputs": inputs.evaluation(params, name)})
    return layout.evaluation(data, name)
