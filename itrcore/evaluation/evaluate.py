"""The scores of a run on the test split; `judging.py` makes figures of them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from itrcore import layout
from itrcore.arrays import new_array
from itrcore.data.feeding.prepared import open_split
from itrcore.device import make_accelerator, precision
from itrcore.evaluation import efficiency
from itrcore.evaluation.load import load_run
from itrcore.evaluation.scoring import encode, score
from itrcore.files import replacing, sha256_of_all
from itrcore.methods.contract import Attends, EmbeddingMethod
from itrcore.progress import count_bars
from itrcore.runs import inputs
from itrcore.runs.digests import captions_of
from itrcore.runs.folder import IMAGE_VECTORS, SCORES, SIMILARITY, SPLIT, TEXT_VECTORS, write
from itrcore.runs.records import Scores
from itrcore.settings.params import Params


def evaluate(params: Params, name: str) -> Path:
    """Score all pairs of the test split with run `name`; returns the folder of the scores.

    It holds similarity.npy, (n_images, n_captions) float32, and evaluation.json; of an embedding method also
    image_vectors.npy, (n_images, d), and text_vectors.npy, (n_captions, d), both float32.
    `DataError` where the run or the data set cannot be read.
    """
    data = params.run(name).data
    torch.set_num_threads(params.training.threads)
    accelerator = make_accelerator(params.training)
    run = load_run(layout.run(data, name))
    record, method = run.record, run.method.to(accelerator.device)
    split = open_split(data, SPLIT, run.assets.text.tokeniser, method.input)
    settings = params.evaluation
    with replacing(layout.evaluation(data, name)) as temporary:
        temporary.mkdir(parents=True)
        path = temporary / SIMILARITY
        with accelerator.autocast(), count_bars() as bars:
            encoded = encode(method, split, settings.batch_size, accelerator.device, bars.show)
            started = time.perf_counter()
            n_images, n_captions = len(encoded.images), len(encoded.texts)
            matrix = new_array(path, (n_images, n_captions))
            score(method, encoded.images, encoded.texts, settings.tile, matrix, bars.show)
            seconds = time.perf_counter() - started
            measured = efficiency.measure(method, encoded.images, encoded.texts)
        matrix.flush()
        if isinstance(method, EmbeddingMethod):
            np.save(temporary / IMAGE_VECTORS, method.image_vectors(encoded.images).cpu().numpy())
            np.save(temporary / TEXT_VECTORS, method.text_vectors(encoded.texts).cpu().numpy())
        scores = Scores(
            kind="run",
            name=record.name,
            data=record.data,
            family=record.family,
            origin=record.origin,
            seed=record.seed,
            checkpoint=record.checkpoint,
            features=record.features,
            selected_on=record.selected_on,
            dev_rsum=record.dev_rsum,
            parameters=record.parameters,
            train_seconds=record.train_seconds,
            encode_image_ms=1000 * encoded.image_seconds / n_images,
            encode_caption_ms=1000 * encoded.text_seconds / n_captions,
            score_image_ms=1000 * seconds / n_images,
            score_caption_ms=1000 * seconds / n_captions,
            efficiency=measured,
            device=str(accelerator.device),
            precision=precision(accelerator),
            code_version=record.code_version,
            data_digest=record.data_digest,
            files=sha256_of_all(temporary),
            attends=isinstance(method, Attends),
            test_digest=captions_of(layout.captions(data), SPLIT),
            inputs=inputs.evaluation(params, name),
        )
        write(temporary / SCORES, scores)
    return layout.evaluation(data, name)
