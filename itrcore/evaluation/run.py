"""A trained run on the test split."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from itrcore import layout
from itrcore.config import Params
from itrcore.data.prepared import open_split
from itrcore.data.vocabulary import Vocabulary
from itrcore.device import make_accelerator
from itrcore.errors import DataError
from itrcore.evaluation.results import SPLIT, images_of_test, read_output, write_result
from itrcore.evaluation.similarity import encode, score
from itrcore.files import replacing
from itrcore.models import registry
from itrcore.models.base import Method
from itrcore.models.settings import MethodSettings


def load_method(run: dict[str, Any], folder: Path) -> Method:
    """The trained method of a run's folder. `run` is its run.json. `DataError` where the weights cannot be read."""
    settings = MethodSettings.model_validate(run["settings"])
    method = registry.build(settings, run["width"], run["n_words"], run["seed"])
    path = folder / "model.safetensors"
    try:
        method.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: readable, but other tensors
        raise DataError.at(
            path, f"cannot be loaded ({error})", f"the weights of {run['name']}", do="Run: dvc repro"
        ) from error
    return method


def evaluate(params: Params, name: str) -> Path:
    """Evaluate run `name` on test; returns the folder with metrics.json, similarity.npy and retrieved.json."""
    data = params.run(name).data
    folder = layout.run(data, name)
    run = read_output(folder / "run.json", f"train@{name}")
    torch.set_num_threads(params.training.threads)
    accelerator = make_accelerator(params.training)
    method = load_method(run, folder).to(accelerator.device)
    split = open_split(data, SPLIT, Vocabulary.load(layout.vocabulary(data), layout.NLTK), verify=True)
    settings = params.evaluation
    with replacing(layout.evaluation(data, name)) as temporary:
        temporary.mkdir(parents=True)
        with accelerator.autocast():
            encoded = encode(method, split, settings.batch_size, accelerator.device)
            started = time.perf_counter()
            shape = (len(encoded.images), len(encoded.texts))
            matrix = np.lib.format.open_memmap(temporary / "similarity.npy", "w+", np.float32, shape)
            score(method, encoded.images, encoded.texts, settings.tile, matrix)
            seconds = time.perf_counter() - started
        matrix.flush()
        result = {
            "kind": "run",
            **{key: run[key] for key in ("name", "data", "method", "seed", "profile", "features", "selected_on")},
            **{key: run[key] for key in ("parameters", "train_seconds", "data_digest")},
            "encode_image_ms": 1000 * encoded.image_seconds / shape[0],
            "encode_caption_ms": 1000 * encoded.text_seconds / shape[1],
            "score_image_ms": 1000 * seconds / shape[0],
            "score_caption_ms": 1000 * seconds / shape[1],
            "device": str(accelerator.device),
            "code_version": run["code_version"],
        }
        write_result(temporary, result, matrix, split.image_of, images_of_test(data), settings)
    return layout.evaluation(data, name)
