"""A run of this project as a released checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itrcore.assets.words import Words
from itrcore.data.shards.checks import numbers
from itrcore.data.shards.files import read_index
from itrcore.data.shards.regions import KIND
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.evaluation.load import load_run
from itrcore.files import read_json
from itrcore.layout import region_shards
from itrcore.methods.contract import Method
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Layout, Sizes, vocabulary_file
from itrcore.released.layouts import layout_of
from itrcore.runs.folder import RUN, read
from itrcore.runs.records import Run
from itrcore.settings.datasets import SPLITS


@dataclass(frozen=True)
class Exported:
    """vocabulary: of a BiGRU, beside the checkpoint; cautions: what the released code does not take without a change."""

    vocabulary: Path | None
    cautions: list[str]


def export_run(folder: Path, out: Path) -> Exported:
    """Write a run's model as its method's released code saves one; beside it the vocabulary of a BiGRU, as SCAN's JSON.

    folder: of the run; out: the file to write
    `ConfigError` where its method has no released checkpoints, or these have no place for its weights. `DataError` where the
    run or the index of its data set's shards cannot be read, `out` is a folder, or another vocabulary is already beside it.
    Nothing is written then.
    """
    record = read(folder / RUN, Run, f"train@{folder.name}")
    settings, layout = record.settings, layout_of(record.settings)  # refuses before weights are read
    if out.is_dir():
        raise DataError.at(out, "a folder", f"the file to write, such as {out / 'model_best.pth'}")
    run = load_run(folder)
    method, text = run.method, run.assets.text
    data = record.data
    words = text.tokeniser if isinstance(text, Words) else None
    vocabulary = out.parent / vocabulary_file(data)
    new = words is not None and _is_new(vocabulary, words)
    sizes = Sizes(settings, run.assets.image, text.source, text.tokeniser.token_ids.size)
    cautions = [
        *other_shapes(method, layout),
        *layout.other_values(settings.model),
        *layout.text.other_values(text, data),
        *_other_regions(data, layout.n_regions),
    ]
    if words is not None and (opened := layout.vocabulary(data)) != vocabulary.name:
        cautions.append(f"its vocabulary is {vocabulary.name}; the released code opens {opened}")
    checkpoint = Checkpoint(
        out,
        convert.to_released(method, layout),
        math.ceil(record.best_epoch) if record.best_epoch is not None else None,
        record.dev_rsum if record.checkpoint is None else record.checkpoint.best_rsum,
        None,
        options(sizes, data),
        layout.flat,
    )
    checkpoint.write(layout.data_parallel)
    if words is not None and new:
        words.save(vocabulary)
    return Exported(vocabulary if words is not None else None, list(dict.fromkeys(cautions)))


def options(sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    """The fields of `opt` or `config` that the released evaluations need."""
    layout = layout_of(sizes.settings)
    return {
        **layout.options(sizes.settings.model, sizes, data),
        **layout.text.options(sizes.source),
        **{name: need.value for name, need in layout.needs.items()},
    }


def other_shapes(method: Method[Any, Any], layout: Layout) -> list[str]:
    """Where the method's weights have other shapes than the released code builds without a change: a line each."""
    shapes = {name: tuple(tensor.shape) for name, tensor in method.state_dict().items()}
    lines = [
        f"{convert.label(layout, ours)} is {shapes.get(ours, 'not there')}; the released code builds {shape}"
        for ours, shape in {**layout.text.BUILT, **layout.built}.items()
        if shapes.get(ours) != shape
    ]
    return [*lines, f"it needs {layout.switch}"] if layout.switch else lines


def _other_regions(data: str, there: int | None) -> Iterator[str]:
    """Where images have other numbers of regions than the released code builds for, by the data set's shards if they are here."""
    folder = region_shards(data)
    if there is None or not folder.is_dir():
        return
    found = {int(n) for split in SPLITS for n in np.unique(numbers(read_index(folder, split, KIND), "n_regions"))}
    if found - {there}:
        least, most = min(found), max(found)
        ours = f"{least}" if least == most else f"{least} to {most}"
        yield f"its images have {ours} regions; the released code builds {there}"


def _is_new(path: Path, words: Vocabulary) -> bool:
    if not path.exists():
        return True
    try:
        same = read_json(path)["word2idx"] == words.ids
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise DataError.at(path, "another vocabulary", "none yet, or this run's", do="Export into another folder.")
    return False
