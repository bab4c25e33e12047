"""A released checkpoint as a run of this project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from itrcore import layout
from itrcore.assets.assets import Assets
from itrcore.assets.text import TextSide
from itrcore.data.feeding.prepared import feature_width
from itrcore.errors import ConfigError, DataError
from itrcore.files import sha256, sha256_of_all
from itrcore.methods.contract import Method
from itrcore.methods.describe import describe
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.layouts import layout_of
from itrcore.runs import inputs, records
from itrcore.runs.folder import RUN, untrained, write
from itrcore.runs.observer import Observer
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params

SELECTED_ON = "unknown (imported)"
_SHOWN = 12  # characters of a digest


@dataclass(frozen=True)
class Imported:
    """A released checkpoint as a method, with all that a run's folder needs. settings: with the checkpoint's sizes"""

    method: Method[Any, Any]
    assets: Assets
    settings: MethodSettings
    checkpoint: Checkpoint

    @property
    def text(self) -> TextSide:
        """Its text side."""
        return self.assets.text

    def summary(self) -> list[str]:
        """What the checkpoint holds, for people: a line for each part, then its sizes and the epoch that it is of."""
        form, lines = layout_of(self.settings), list[str]()
        for part, entries in zip(form.parts, self.checkpoint.parts, strict=True):
            unused = [name for name in map(part.unused_as, entries) if name is not None]
            names = f"; known to be unused: {', '.join(sorted(set(unused)))}" if unused else ""
            lines.append(f"{part.name}: {len(entries) - len(unused)} entries used{names}")
        if self.checkpoint.widened:
            lines.append(f"{self.checkpoint.widened} entries of CLIP were float16 and are float32 now")
        width = self.assets.image.width
        regions = f", region features {width}" if width is not None else ""
        lines.append(f"dimensions {self.settings.model.dim}{regions}, tokens {self.text.tokeniser.token_ids.size:,}")
        if numbers := convert.numbers(self.checkpoint, form):
            lines.append(f"by its options: {', '.join(f'{key} {value:g}' for key, value in numbers.items())}")
        lines += form.remarks(self.settings.model)
        if self.checkpoint.epoch is not None and self.checkpoint.best_rsum is not None:
            lines.append(f"saved after epoch {self.checkpoint.epoch}, best dev rsum {self.checkpoint.best_rsum:.1f}")
        return lines


def load(path: Path, settings: MethodSettings, vocabulary: Path | None, data: str) -> Imported:
    """Read a released checkpoint of the method that the settings name, every entry accounted for.

    vocabulary: the one it was trained with (SCAN's JSON, BERT's vocab.txt, CLIP's tokenizer.json or OpenAI's
        bpe_simple_vocab_16e6.txt.gz); None: that of the data set, or of the BERT or CLIP that the settings name
    data: the data set; the width of its region features is compared if they are prepared
    `DataError` where the file is not of that method, or the vocabulary or the region features are not of its size.
    """
    form = layout_of(settings)
    checkpoint = Checkpoint.read(path)
    sizes = convert.sizes(checkpoint, settings, form.text.own_config(settings.model.text))
    # Before the vocabulary is read: else a file of another method would be blamed on the vocabulary.
    method = convert.empty(sizes)
    method.load_state_dict(convert.weights(checkpoint, form, method))
    own = sizes.image.width
    if (width := feature_width(data)) is not None and own not in (None, width):
        raise DataError.at(path, f"trained on region features of width {own}", f"{width}, as {data} has them")
    if vocabulary is not None and not vocabulary.is_file():
        raise DataError.at(vocabulary, "no such file", "the vocabulary that the checkpoint was trained with")
    assets = Assets(sizes.image, form.text.side(sizes, vocabulary, data))
    return Imported(method, assets, sizes.settings, checkpoint)


def import_run(params: Params, name: str, observer: Observer) -> Path:
    """Write the folder of imported run `name`: all that a training writes but history.json. Returns the folder.

    `DataError` where the checkpoint or its vocabulary has changed since it was added, or does not fit.
    `ConfigError` where the run has no checkpoint.
    """
    run = params.run(name)
    if (given := run.checkpoint) is None:
        raise ConfigError(f"runs.{name} has a seed to train with, and no checkpoint to import")
    path, vocabulary = Path(given.path), given.vocabulary
    _check_unchanged(path, sha256_of(path), given.sha256, name)
    imported = load(path, params.method_of(name), Path(vocabulary) if vocabulary else None, run.data)
    read_with = vocabulary or own_vocabulary(imported.settings, run.data)
    _check_unchanged(read_with, imported.text.digest, given.text_digest, name)
    checkpoint = records.Checkpoint(
        path=given.path,
        sha256=given.sha256,
        epoch=imported.checkpoint.epoch,
        best_rsum=imported.checkpoint.best_rsum,
        vocabulary=read_with,
    )
    description = describe(
        params,
        name,
        imported.settings,
        imported.assets,
        imported.method,
        inputs.training(params, name),
        SELECTED_ON,
        checkpoint,
    )
    with untrained(description, observer) as temporary:
        imported.assets.save(temporary)
        tensors = {key: value.contiguous() for key, value in imported.method.state_dict().items()}
        save_file(tensors, temporary / layout.WEIGHTS)
        files = sha256_of_all(temporary)
        write(temporary / RUN, records.Run(**dict(description), files=files, best_epoch=imported.checkpoint.epoch))
    return layout.run(run.data, name)


def own_vocabulary(settings: MethodSettings, data: str) -> str:
    """The vocabulary that a run without one of its own is read with, for people."""
    return layout_of(settings).text.own_vocabulary(settings.model.text, data)


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


def _check_unchanged(what: Path | str, digest: str, wanted: str, name: str) -> None:
    if digest != wanted:
        raise DataError.at(
            str(what),
            f"digest {digest[:_SHOWN]}…",
            f"{wanted[:_SHOWN]}…, as when runs.{name} was added",
            do="Put the same file back, or remove that run from params.yaml and import it again.",
        )
