"""What a configuration has still to do: its runs in groups that cost the same, each with what is done of it already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from itrcore import layout
from itrcore.costs.counts import Shape, SplitCounts, counts, shape
from itrcore.costs.rates import steps_of
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.runs.folder import METRICS, RUN, SCORES, read
from itrcore.runs.records import Run, Scores
from itrcore.settings.datasets import DatasetSettings
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params

_WORDS = 8_482  # of SCAN's vocabulary of Flickr30K, and the mask


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed, or in the checkpoint that they are imported from.

    names: all of them; trainings: those that train, not imports, not zero-shot ones
    to_make, to_train, to_evaluate: what is not done, or out of date, of their weights, of the trainings, of the evaluations
    settings: of their method; counts: of each split of their data set, None where that is not known yet; shape: of its images
    n_tokens: of the vocabulary, or of word pieces of the data set's own
    """

    data: str
    method: str
    changes: str
    names: tuple[str, ...]
    trainings: tuple[str, ...]
    to_make: tuple[str, ...]
    to_train: tuple[str, ...]
    to_evaluate: tuple[str, ...]
    settings: MethodSettings
    counts: Mapping[str, SplitCounts] | None
    shape: Shape
    n_tokens: int

    @property
    def steps(self) -> int | None:
        """Of one training; None where the data set's size is not known yet."""
        return None if self.counts is None else steps_of(self.settings, self.counts["train"].captions)


def groups(params: Params) -> list[Group]:
    """Of the configuration whose folder is the working directory, in its order."""
    named: dict[tuple[str, str, str], list[str]] = {}
    for name, run in params.runs.items():
        named.setdefault((run.data, run.method, run.changes), []).append(name)
    return [_group(params, *key, names) for key, names in named.items()]


def _group(params: Params, data: str, method: str, changes: str, names: list[str]) -> Group:
    dataset, settings = params.dataset(data), params.method_of(names[0])
    trainings = [name for name in names if params.runs[name].checkpoint is None and not settings.zero_shot]
    to_make = [name for name in names if not _done(params, "train", name)]
    return Group(
        data,
        method,
        changes,
        tuple(names),
        tuple(trainings),
        to_make=tuple(to_make),
        to_train=tuple(name for name in to_make if name in trainings),
        to_evaluate=tuple(name for name in names if name in to_make or not _done(params, "evaluate", name)),
        settings=settings,
        counts=counts(data, dataset),
        shape=shape(data, dataset),
        n_tokens=_n_tokens(data, dataset, settings),
    )


def _n_tokens(data: str, dataset: DatasetSettings, settings: MethodSettings) -> int:
    """Words of the vocabulary if it is there, with the mask; for a BERT or CLIP that starts at random the most word pieces."""
    pieces = dataset.vocabulary.word_pieces
    if pieces is not None and not isinstance(settings.model.text, BiGRUSettings):
        return pieces.pieces
    try:
        return len(read_json(layout.vocabulary(data) / layout.WORDS)["word2idx"]) + 1
    except (OSError, ValueError, TypeError, KeyError):  # not made yet; or damaged, which a training reports
        return _WORDS


def _done(params: Params, stage: str, name: str) -> bool:
    """Whether a stage's result is there and made from what is there now. Its weights and scores are not read."""
    data = params.run(name).data
    path = layout.run(data, name) / RUN if stage == "train" else layout.evaluation(data, name) / SCORES
    if not path.exists() or (stage == "evaluate" and not (layout.result(data, name) / METRICS).exists()):
        return False
    from itrcore.runs import inputs  # here: it loads pyarrow, and most often there is nothing to compare

    try:
        made_from = read(path, Run, stage).inputs if stage == "train" else read(path, Scores, stage).inputs
        return made_from == inputs.RECORDS[stage](params, name)
    except (DataError, OSError):  # damaged, or its data set is gone
        return False
