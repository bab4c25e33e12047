"""A released checkpoint as a run of this project."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import save_file

from itrcore import layout
from itrcore.config import Params
from itrcore.data.shards.regions import ShardInfo
from itrcore.data.tokens import TokenIds
from itrcore.data.vocabulary import Vocabulary
from itrcore.data.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.files import replacing, sha256, write_json
from itrcore.models import bert, registry
from itrcore.models.base import Method
from itrcore.models.settings import BertSettings, MethodSettings
from itrcore.models.text import Pieces, Text, TextInputs, Words
from itrcore.released import checkpoint as released
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.layouts import layout_of
from itrcore.training.observer import Observer
from itrcore.training.run import describe

if TYPE_CHECKING:
    from transformers import BertConfig

SELECTED_ON = "unknown (imported)"
_SHOWN = 12  # characters of a digest


@dataclass(frozen=True)
class Imported:
    """A released model as a method of ours, with what it needs besides its weights.

    settings: the given ones, with the checkpoint's sizes; width: of the region features
    """

    method: Method
    text: Text
    settings: MethodSettings
    width: int
    checkpoint: Checkpoint

    def summary(self) -> list[str]:
        """What was found, for people: a line for each part, then sizes and where its training stood."""
        found, lines = layout_of(self.settings), []
        for part, entries in zip(found.parts, self.checkpoint.parts, strict=True):
            unused = sorted(set(entries) & set(part.unused))
            names = f"; known to be unused: {', '.join(unused)}" if unused else ""
            lines.append(f"{part.name}: {len(entries) - len(unused)} entries used{names}")
        n_tokens = self.text.inputs.ids.size
        lines.append(f"dimensions {self.settings.model.dim}, region features {self.width}, tokens {n_tokens:,}")
        if self.checkpoint.epoch is not None and self.checkpoint.best_rsum is not None:
            lines.append(f"saved after epoch {self.checkpoint.epoch}, best dev rsum {self.checkpoint.best_rsum:.1f}")
        return lines


def load(path: Path, settings: MethodSettings, vocabulary: Path | None, data: str) -> Imported:
    """Read a released checkpoint of the method that the settings name, every entry accounted for.

    vocabulary: the one it was trained with (SCAN's JSON, or BERT's vocab.txt); None: that of the data set, or of the
    BERT that the settings name
    data: the data set, checked as far as it is prepared
    `DataError` where the file is none of that method, or the vocabulary or the region features are not of its size.
    """
    checkpoint = released.read(path)
    sizes = convert.sizes(checkpoint, settings, _config_of(settings))
    # Before the vocabulary is looked at: a file of another method would be told to need another vocabulary.
    inputs = TextInputs(
        TokenIds(sizes.n_tokens, sizes.n_tokens - 1, np.arange(0)),
        bert=partial(bert.configured, sizes.bert) if sizes.bert else None,
    )
    method = registry.build(sizes.settings, sizes.width, inputs, 0)
    method.load_state_dict(convert.weights(checkpoint, layout_of(settings), method))
    shards = layout.region_shards(data)
    if shards.exists() and (width := ShardInfo.read(shards).width) != sizes.width:
        raise DataError.at(path, f"trained on region features of width {sizes.width}", f"{width}, as {data} has them")
    return Imported(method, _text(sizes, vocabulary, data), sizes.settings, sizes.width, checkpoint)


def import_run(params: Params, name: str, observer: Observer) -> Path:
    """Write the folder of imported run `name`: what a training leaves there but its history. Returns the folder.

    `DataError` where the checkpoint or its vocabulary is another one than when it was added, or does not fit.
    """
    run = params.run(name)
    assert run.checkpoint is not None
    path, vocabulary = Path(run.checkpoint.path), run.checkpoint.vocabulary
    _check_unchanged(path, sha256_of(path), run.checkpoint.sha256, name)
    imported = load(path, params.method_of(name), Path(vocabulary) if vocabulary else None, run.data)
    read_with = vocabulary or _own_vocabulary(imported.settings, run.data)
    _check_unchanged(read_with, imported.text.digest, run.checkpoint.text_digest, name)
    described: dict[str, Any] = {
        **describe(params, name, imported.settings, ShardInfo.read(layout.region_shards(run.data)), imported.method),
        "origin": "imported",
        "checkpoint": {
            "path": run.checkpoint.path,
            "sha256": run.checkpoint.sha256,
            "epoch": imported.checkpoint.epoch,
            "best_rsum": imported.checkpoint.best_rsum,
            "vocabulary": read_with,
        },
        "text_digest": imported.text.digest,
        "selected_on": SELECTED_ON,
        "best_epoch": imported.checkpoint.epoch,
        "train_seconds": None,
    }
    observer.begin(described, None)
    try:
        out = layout.run(run.data, name)
        with replacing(out) as temporary:
            (temporary / layout.TEXT).mkdir(parents=True)
            imported.text.save(temporary / layout.TEXT)
            tensors = {key: value.contiguous() for key, value in imported.method.state_dict().items()}
            save_file(tensors, temporary / layout.WEIGHTS)
            write_json(temporary / "run.json", described)
        observer.finish(out)
    except BaseException:
        observer.fail()
        raise
    return out


def _text(sizes: convert.Sizes, vocabulary: Path | None, data: str) -> Text:
    settings = sizes.settings.model.text
    if vocabulary is not None and not vocabulary.is_file():
        raise DataError.at(vocabulary, "no such file", "the vocabulary that the checkpoint was trained with")
    if isinstance(settings, BertSettings):
        assert sizes.bert is not None
        if vocabulary is None and settings.shape is None:
            where = settings.weights
            try:
                pieces = WordPieces.pretrained(where, settings.revision)
            except DataError as error:
                raise DataError(f"{error} Or name the BERT's vocab.txt with --vocab.") from error
        else:
            path = vocabulary or _of_data(data, layout.PIECES)
            where, pieces = str(path), WordPieces.read(path)
        _check_size(where, len(pieces), sizes.n_tokens)
        return Pieces(pieces, sizes.bert)
    path = vocabulary or _of_data(data, layout.WORDS)
    words = Vocabulary.load(path, layout.NLTK)
    _check_size(path, words.token_ids.size, sizes.n_tokens)
    return Words(words)


def _of_data(data: str, file: str) -> Path:
    path = layout.vocabulary(data) / file
    if not path.exists():
        raise DataError.at(
            path,
            "no such file",
            f"the vocabulary of {data}",
            do=f"Run: dvc repro vocab@{data}. Or name the checkpoint's own with --vocab.",
        )
    return path


def _check_size(path: Path | str, tokens: int, wanted: int) -> None:
    if tokens != wanted:
        raise DataError.at(
            path,
            f"a vocabulary of {tokens} tokens, the mask token included",
            f"{wanted}, as many as the checkpoint has embeddings for",
            do="A checkpoint works with the vocabulary that it was trained with and no other: name it with --vocab.",
        )


def _config_of(settings: MethodSettings) -> BertConfig | None:
    """Of a BERT whose folder the settings name; weights alone do not tell all of it."""
    text = settings.model.text
    folder = Path(text.weights) if isinstance(text, BertSettings) else None
    return bert.read_config(folder / "config.json") if folder and (folder / "config.json").is_file() else None


def _own_vocabulary(settings: MethodSettings, data: str) -> str:
    text = settings.model.text
    if isinstance(text, BertSettings) and text.shape is None:
        return f"the word pieces of {text.weights}"
    return f"the vocabulary of {data}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a checkpoint file. `DataError` where it cannot be read."""
    try:
        return sha256(path)
    except OSError as error:
        raise DataError.at(
            path,
            f"cannot be read ({error.strerror})",
            "a checkpoint",
            do="Put it back, or correct checkpoint.path of its run in params.yaml.",
        ) from None


def _check_unchanged(what: Path | str, found: str, wanted: str, name: str) -> None:
    if found != wanted:
        raise DataError.at(
            str(what),
            f"digest {found[:_SHOWN]}…",
            f"{wanted[:_SHOWN]}…, as when runs.{name} was added",
            do="Put the same file back, or remove that run from params.yaml and import it again.",
        )
