"""A trained run on the test split, and an ensemble of runs: metrics, similarity matrix and retrieved examples."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from itrcore import layout
from itrcore.config import EvaluationSettings, Params
from itrcore.data import captions
from itrcore.data.captions import Image
from itrcore.data.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.evaluation import ensemble as ensembles
from itrcore.evaluation.ranking import metrics
from itrcore.evaluation.retrieved import retrieved
from itrcore.evaluation.similarity import encode, score
from itrcore.files import read_json, replacing, write_json
from itrcore.models import registry
from itrcore.models.base import Method
from itrcore.models.settings import MethodSettings
from itrcore.training.device import make_accelerator
from itrcore.training.run import open_split

SPLIT = "test"


def load_method(run: dict[str, Any], folder: Path) -> Method:
    """The trained method of a run's folder. `run` is its run.json."""
    settings = MethodSettings.model_validate(run["settings"])
    method = registry.build(settings, run["width"], run["n_words"], run["seed"])
    method.load_state_dict(load_file(folder / "model.safetensors"))
    return method


def evaluate(params: Params, name: str) -> Path:
    """Evaluate run `name` on test; returns the folder with metrics.json, similarity.npy and retrieved.json."""
    data = params.runs[name].data
    folder = layout.run(data, name)
    run = _read(folder / "run.json", f"train@{name}")
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
        _finish(temporary, result, matrix, split.image_of, _images(data), settings)
    return layout.evaluation(data, name)


def evaluate_ensemble(params: Params, name: str) -> Path:
    """Evaluate ensemble `name` from its members' stored matrices; returns its folder, like a run's."""
    data, members = params.ensembles[name].data, params.ensembles[name].runs
    results = [_read(layout.evaluation(data, member) / "metrics.json", f"evaluate@{member}") for member in members]
    digests = {result["data_digest"] for result in results}
    if len(digests) > 1:
        raise DataError(
            f"ensembles.{name}: its runs were trained on other states of {data}; run dvc repro to renew them"
        )
    images = _images(data)
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    with replacing(layout.ensemble(data, name)) as temporary:
        temporary.mkdir(parents=True)
        matrix = ensembles.mean_of(
            [layout.evaluation(data, member) / "similarity.npy" for member in members], temporary / "similarity.npy"
        )
        result = {
            "kind": "ensemble",
            "name": name,
            "members": members,
            **dict.fromkeys(("method", "seed", "profile", "train_seconds", "encode_image_ms", "encode_caption_ms")),
            **dict.fromkeys(("score_image_ms", "score_caption_ms")),
            **{key: results[0][key] for key in ("data", "features", "selected_on", "data_digest", "device")},
            "parameters": sum(result["parameters"] for result in results),
            "code_version": ", ".join(sorted({result["code_version"] for result in results})),
        }
        _finish(temporary, result, matrix, image_of, images, params.evaluation)
    return layout.ensemble(data, name)


def _finish(
    folder: Path,
    result: dict[str, Any],
    matrix: np.ndarray,
    image_of: np.ndarray,
    images: list[Image],
    settings: EvaluationSettings,
) -> None:
    value = {
        **result,
        "split": SPLIT,
        "n_images": matrix.shape[0],
        "n_captions": matrix.shape[1],
        "metrics": metrics(matrix, image_of, result["name"]),
    }
    write_json(folder / "metrics.json", value)
    write_json(folder / "retrieved.json", retrieved(matrix, images, image_of, settings.queries, settings.retrieved))


def _images(data: str) -> list[Image]:
    return captions.read(layout.captions(data), SPLIT)


def _read(path: Path, stage: str) -> Any:
    if not path.exists():
        raise DataError.at(path, "no such file", f"the output of stage {stage}", do=f"Run: dvc repro {stage}")
    return read_json(path)
