"""A run of this project as a released checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itrcore.data.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.evaluation.run import load_method
from itrcore.files import read_json
from itrcore.models.settings import GPOSettings, MethodSettings
from itrcore.models.text import Pieces, Text, Words
from itrcore.released import checkpoint as released
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.layouts import layout_of

_TEMPERATURE = 0.1  # of the released GPO's softmax
_BERT_BASE = {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12}


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
    method, text = load_method(run, folder)
    # The released codes tell data sets apart by whether `coco` is in their name.
    data = "coco" if "coco" in run["data"].lower() else "f30k"
    words = text.tokeniser if isinstance(text, Words) else None
    vocabulary = out.parent / f"{data}_precomp_vocab.json"
    new = words is not None and _is_new(vocabulary, words)
    config = text.config if isinstance(text, Pieces) else None
    released.write(
        Checkpoint(
            out,
            convert.released(method, found),
            run["best_epoch"],
            _best_rsum(run, folder),
            None,
            convert.options(convert.Sizes(settings, run["width"], text.inputs.ids.size, config), data),
        ),
        found.data_parallel,
    )
    if words is not None and new:
        words.save(vocabulary)
    cautions = [*convert.cautions(method, found), *_other_values(settings, text)]
    return Exported(vocabulary if words is not None else None, cautions)


def _other_values(settings: MethodSettings, text: Text) -> Iterator[str]:
    """What no weight's shape tells and the released codes have fixed."""
    pooling = getattr(settings.model, "pooling", None)
    if isinstance(pooling, GPOSettings) and pooling.temperature != _TEMPERATURE:
        yield f"its pooling's temperature is {pooling.temperature:g}; the released code has {_TEMPERATURE:g}"
    if isinstance(text, Pieces):
        for key, value in _BERT_BASE.items():
            if (found := getattr(text.config, key)) != value:
                yield f"its BERT's {key} is {found}; the released code builds bert-base-uncased, with {value}"
        if not text.tokeniser.lower:
            yield "its captions keep upper case; the released code's BERT is uncased"


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
    epochs = read_json(folder / "history.json")["epochs"]
    rsum: float = epochs[run["best_epoch"] - 1]["dev"]["rsum"]
    return rsum
