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
from itrcore.device import make_accelerator, precision
from itrcore.errors import DataError
from itrcore.evaluation import explanations
from itrcore.evaluation.results import SPLIT, images_of_test, read_output, write_result
from itrcore.evaluation.similarity import encode, score
from itrcore.files import replacing
from itrcore.models import registry, sides
from itrcore.models.base import Method
from itrcore.models.settings import MethodSettings
from itrcore.models.text import Text


def load_method(run: dict[str, Any], folder: Path) -> tuple[Method, Text]:
    """The method of a run's folder with its weights, and its text side. `run` is its run.json.

    `DataError` where the weights cannot be read.
    """
    settings = MethodSettings.model_validate(run["settings"])
    restored = sides.restore(settings.model, folder, layout.NLTK, run["width"])
    method = registry.build(settings, restored.image.inputs, restored.text.inputs, 0)
    path = folder / layout.WEIGHTS
    try:
        method.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: readable, but other tensors
        raise DataError.at(
            path, f"cannot be loaded ({error})", f"the weights of {run['name']}", do="Run: dvc repro"
        ) from error
    return method, restored.text


def evaluate(params: Params, name: str) -> Path:
    """Evaluate run `name` on test; returns the folder.

    It holds metrics.json, similarity.npy, retrieved.json and, where words attend to regions, explained.json.
    """
    data = params.run(name).data
    folder = layout.run(data, name)
    run = read_output(folder / "run.json", f"train@{name}")
    torch.set_num_threads(params.training.threads)
    accelerator = make_accelerator(params.training)
    method, text = load_method(run, folder)
    method = method.to(accelerator.device)
    split = open_split(data, SPLIT, text.tokeniser, method.input, verify=True)
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
            **{key: run[key] for key in ("name", "data", "method", "family", "origin", "seed", "profile")},
            **{key: run[key] for key in ("features", "selected_on", "parameters", "train_seconds", "data_digest")},
            "checkpoint": run.get("checkpoint"),
            "encode_image_ms": 1000 * encoded.image_seconds / shape[0],
            "encode_caption_ms": 1000 * encoded.text_seconds / shape[1],
            "score_image_ms": 1000 * seconds / shape[0],
            "score_caption_ms": 1000 * seconds / shape[1],
            "device": str(accelerator.device),
            "precision": precision(accelerator),
            "code_version": run["code_version"],
        }
        write_result(temporary, result, matrix, split.image_of, images_of_test(data), settings)
        explanations.write(temporary, method, encoded, split, text.tokeniser)
    return layout.evaluation(data, name)
