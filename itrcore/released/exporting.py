"""A run of this project as a released checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itrcore.assets.words import Words
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.released import checkpoint as released
from itrcore.released import convert
from itrcore.released import options as released_options
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.layouts import layout_of
from itrcore.settings.methods import MethodSettings


@dataclass(frozen=True)
class Exported:
    """vocabulary: of a BiGRU, beside the checkpoint; cautions: what the released code will not take as it stands."""

    vocabulary: Path | None
    cautions: list[str]


def export_run(folder: Path, out: Path) -> Exported:
    """Write a run's model as its method's released code saves one; beside it the vocabulary of a BiGRU, as SCAN's JSON.

    folder: of the run. `DataError` where `out` is a folder, or another vocabulary lies where this one should; nothing is
    written then.
    """
    run = read_json(folder / "run.json")
    settings = MethodSettings.model_validate(run["settings"])
    found = layout_of(settings)
    if out.is_dir():
        raise DataError.at(out, "a folder", f"the file to write, such as {out / 'model_best.pth'}")
    method, assets = load_method(run, folder)
    text = assets.text
    # The released codes tell data sets apart by whether `coco` is in their name.
    data = "coco" if "coco" in run["data"].lower() else "f30k"
    words = text.tokeniser if isinstance(text, Words) else None
    vocabulary = out.parent / f"{data}_precomp_vocab.json"
    new = words is not None and _is_new(vocabulary, words)
    sizes = convert.Sizes(settings, assets.image, text.source, text.tokeniser.token_ids.size)
    released.write(
        Checkpoint(
            out,
            convert.to_released(method, found),
            math.ceil(run["best_epoch"]) if run["best_epoch"] is not None else None,
            _best_rsum(run, folder),
            None,
            released_options.options(sizes, data),
            found.flat,
        ),
        found.data_parallel,
    )
    if words is not None and new:
        words.save(vocabulary)
    cautions = [
        *released_options.cautions(method, found),
        *released_options.other_values(settings, text, data),
    ]
    return Exported(vocabulary if words is not None else None, cautions)


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


def _best_rsum(run: dict[str, Any], folder: Path) -> float | None:
    if run["origin"] == "imported":
        found: float | None = run["checkpoint"]["best_rsum"]
        return found
    records = read_json(folder / "history.json")["evaluations"]
    rsum: float = max(record["dev"]["rsum"] for record in records)
    return rsum
