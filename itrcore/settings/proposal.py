"""A first run for a new data set, like those that the experiment has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from itrcore.errors import ConfigError
from itrcore.settings.checks import wrong_method
from itrcore.settings.datasets import WordPieceSettings
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params
from itrcore.settings.runs import RunSettings

FEW = 10_000  # images to train on; published recipes are for 29,000 and more
# What a small BERT or CLIP that starts at random needs of its data set.
PIECES = WordPieceSettings(pieces=1000, min_count=2)


def first_run(params: Params, data: str, n_images: int) -> RunSettings | None:
    """A valid run on a data set of params.yaml: like its first run that can read it, else of any method that can.

    n_images: to train on; with fewer than `FEW`, runs and profiles come first whose batches are smaller than the recipe's, then
        those for which the data set has to be given `PIECES` first
    None where no method can be trained on it.
    """
    runs = [run.model_copy(update={"checkpoint": None}) for run in params.runs.values()]
    methods = dict.fromkeys([*(run.method for run in runs), *params.recipes])
    alone = [RunSettings(data=data, method=method, seed=1) for method in methods]
    with_profile = [run.model_copy(update={"profile": profile}) for run in alone for profile in params.profiles]
    for given in (params, _with_pieces(params, data)) if n_images < FEW else ():
        for run, method in _possible(given, data, [*runs, *with_profile]):
            if method.recipe.batch_size < params.recipes[run.method].settings.recipe.batch_size:
                return run
    return next((run for run, _ in _possible(params, data, [*runs, *alone])), None)


def _possible(params: Params, data: str, runs: Iterable[RunSettings]) -> Iterator[tuple[RunSettings, MethodSettings]]:
    """The runs that would be valid on a data set, with their methods' settings."""
    pixels = params.dataset(data).without_regions
    for run in runs:
        new = run.model_copy(update={"data": data, "seed": 1})
        with_it = params.model_copy(update={"runs": {"new": new}})
        try:
            method = with_it.method_of("new")
            if method.model.reads_pixels == pixels and not list(wrong_method(with_it, "new", "new")):
                yield new, method
        except ConfigError:  # a profile that does not fit the method
            continue


def needs_pieces(params: Params, run: RunSettings) -> bool:
    """Whether a run is valid only with word pieces that its data set is not given."""
    return not list(_possible(params, run.data, [run]))


def _with_pieces(params: Params, data: str) -> Params:
    dataset = params.dataset(data)
    vocabulary = dataset.vocabulary.model_copy(update={"word_pieces": PIECES})
    changed = dataset.model_copy(update={"vocabulary": vocabulary})
    return params.model_copy(update={"datasets": {**params.datasets, data: changed}})
