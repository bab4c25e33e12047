"""The scores of a run on test, and on the part of dev that chose its weights; `judging.py` makes figures of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from itrcore import layout, registry
from itrcore.arrays import new_array
from itrcore.data.feeding.prepared import feature_width, features_of, open_split
from itrcore.data.feeding.split import Split
from itrcore.device import make_accelerator, precision
from itrcore.errors import DataError
from itrcore.evaluation import efficiency
from itrcore.evaluation.further import Further, Scorer
from itrcore.evaluation.load import load_run
from itrcore.evaluation.scoring import EncodedSplit, encode, score
from itrcore.files import replacing, sha256_of_all
from itrcore.methods.contract import Attends, EmbeddingMethod, Method
from itrcore.progress import Show, count_bars
from itrcore.runs import inputs
from itrcore.runs.digests import captions_of
from itrcore.runs.folder import SCORES, SPLIT, write
from itrcore.runs.records import Run, Scores
from itrcore.runs.scored import DEV, SIMILARITY, save_vectors
from itrcore.settings.evaluation import EvaluationSettings
from itrcore.settings.params import Params


def evaluate(params: Params, name: str) -> Path:
    """Score all pairs of test, and of the selection part of dev, with run `name`; returns the folder of the scores.

    Of a transfer of this name, all pairs of the other data set's test, with the run's own weights and tokeniser.

    It holds evaluation.json, with the costs of test, of each split what `itrcore/runs/scored.py` says, and of test the scores
    of captions that the data set has beside its own.
    `DataError` where the run or the data set cannot be read, or its features are of another width.
    """
    each = params.evaluated(name)
    data, own = each.data, each.data == each.trained_on
    torch.set_num_threads(params.training.threads)
    accelerator = make_accelerator(params.training)
    run = load_run(layout.run(each.trained_on, each.run))
    if not own:
        _check_width(run.record, name, data)
    record, method = run.record, run.method.to(accelerator.device)
    reads_pixels = record.settings.model.reads_pixels
    tokeniser = run.assets.text.tokeniser
    test = open_split(data, SPLIT, tokeniser, method.input)
    dev = open_split(data, DEV, tokeniser, method.input) if own else None
    further: list[Further] = [
        registry.load(registry.FURTHER[key])(path, data) for key, path in params.dataset(data).further.items()
    ]
    with replacing(layout.evaluation(data, name)) as temporary:
        with accelerator.autocast(), count_bars() as bars:
            encoded, seconds = _score(method, test, params.evaluation, accelerator.device, temporary / SPLIT, bars.show)
            measured = efficiency.measure(method, encoded.images, encoded.texts)
            sizes = params.evaluation.batch_size, params.evaluation.tile
            scorer = Scorer(method, encoded.images, tokeniser, *sizes, accelerator.device, bars.show)
            for score_further in further:
                score_further(scorer, temporary / SPLIT)
            if dev is not None:
                selection = dev.first(params.training.selection.captions)
                _score(
                    method, selection, params.evaluation, accelerator.device, temporary / DEV, bars.show, timed=False
                )
        n_images, n_captions = len(encoded.images), len(encoded.texts)
        scores = Scores(
            kind="run",
            name=name,
            data=data,
            trained_on=None if own else each.trained_on,
            weights_of=None if own else each.run,
            family=record.family,
            origin=record.origin,
            seed=record.seed,
            checkpoint=record.checkpoint,
            features=record.features if own else features_of(data, reads_pixels, params.dataset(data).drawn),
            selected_on=record.selected_on,
            dev_rsum=record.dev_rsum if own else None,
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
            dev_digest=captions_of(layout.captions(data), DEV),
            inputs=inputs.evaluation(params, name),
        )
        write(temporary / SCORES, scores)
    return layout.evaluation(data, name)


def _check_width(run: Run, name: str, data: str) -> None:
    width = None if run.width is None else feature_width(data)
    if run.width != width:
        raise DataError(
            f"transfers.{name}: {run.name} reads region features of {run.width:,} values, and those of {data} have "
            f"{'none' if width is None else f'{width:,}'}; expected the same width. Give a run or a data set that fits."
        )


def _score(
    method: Method[Any, Any],
    split: Split,
    settings: EvaluationSettings,
    device: torch.device,
    folder: Path,
    show: Show,
    timed: bool = True,
) -> tuple[EncodedSplit[Any], float]:
    """Encode a split, score all its pairs and write what is kept of that; what was encoded, and the seconds of scoring.

    timed: score those of an embedding method too, whose vectors say as much, so that it is known how long that takes
    """
    folder.mkdir(parents=True)
    encoded = encode(method, split, settings.batch_size, device, show)
    embeds = isinstance(method, EmbeddingMethod)
    started = time.perf_counter()
    matrix = None if embeds else new_array(folder / SIMILARITY, (len(encoded.images), len(encoded.texts)))
    if timed or not embeds:
        score(method, encoded.images, encoded.texts, settings.tile, matrix, show)
    seconds = time.perf_counter() - started
    if matrix is not None:
        matrix.flush()
    if isinstance(method, EmbeddingMethod):
        images, captions = method.image_vectors(encoded.images), method.text_vectors(encoded.texts)
        save_vectors(folder, images.cpu().numpy(), captions.cpu().numpy(), settings.vectors)
    return encoded, seconds
