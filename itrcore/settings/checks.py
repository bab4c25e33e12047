"""Checks across the sections of params.yaml: names, downloads, runs and ensembles that do not fit each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from itrcore import layout, registry
from itrcore.errors import ConfigError, nearest, unknown
from itrcore.settings.encoders import BertSettings, BiGRUSettings, CLIPSettings
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params
from itrcore.settings.runs import RunSettings

# Key of a data set that protocols need → what they read there, and what it names.
_READ = {
    "cxc": ("Crisscrossed Captions' ratings", "the folder with sis_test.csv, sits_test.csv and sts_test.csv"),
    "negatives": ("SugarCrepe's captions", "the folder with its files add_att.json and so on"),
    "altered": ("RoCOCO's captions", "the folder with its files danger.json and so on"),
}


def problems(params: Params) -> Iterator[str]:
    """One line per problem, each with the key that it is about; a problem of a recipe begins with the recipe's file."""
    if not params.recipes:
        yield f"root: {params.root}: no recipes in {params.recipes.folder}; give the folder that holds itrcore and recipes"
        return
    yield from _wrong_names(params)
    yield from _wrong_reads(params)
    yield from _wrong_protocols(params)
    yield from _wrong_runs(params)
    yield from _wrong_ensembles(params)
    yield from _wrong_transfers(params)


def _wrong_names(params: Params) -> Iterator[str]:
    if "nltk" in params.datasets:
        yield "datasets.nltk: data/nltk holds nltk's sentence data; choose another name"
    yield from _alike("datasets", params.datasets)
    yield from _alike("downloads", params.downloads)
    yield from _alike("runs, ensembles and transfers", [*params.runs, *params.ensembles, *params.transfers])


def _wrong_reads(params: Params) -> Iterator[str]:
    for name, dataset in params.datasets.items():
        reads = PurePosixPath(dataset.reads)
        if reads.parts[:1] == (str(layout.DOWNLOADS),) and params.download_of(name) is None:
            known = [str(layout.download_record(download)) for download in params.downloads]
            yield (
                f"datasets.{name}.reads: {dataset.reads} is the record of no download{nearest(dataset.reads, known)} "
                f"(known: {', '.join(known)})"
            )
        for key, path in dataset.paths().items():
            parts = PurePosixPath(path).parts
            if parts[:1] == (str(layout.DOWNLOADS),) and len(parts) > 1:
                record = layout.download_record(parts[1]).as_posix()
                if record != reads.as_posix():
                    yield (
                        f"datasets.{name}.{key}: {path} is fetched only where reads is {record}, not {dataset.reads}; "
                        "files that lie elsewhere can be added to that download, as a part with link: true"
                    )


def check_protocol(params: Params, name: str) -> None:
    """`ConfigError` where no data set is judged by the protocol of this name."""
    used = dict.fromkeys(
        [registry.WHOLE_SPLIT, *(each for dataset in params.datasets.values() for each in dataset.protocols)]
    )
    for problem in unknown("protocol", name, used, "those of params.yaml"):
        raise ConfigError(problem)


def _wrong_protocols(params: Params) -> Iterator[str]:
    known = {name: listed for name, listed in registry.PROTOCOLS.items() if name != registry.WHOLE_SPLIT}
    for name, dataset in params.datasets.items():
        where = f"datasets.{name}.protocols"
        if len(set(dataset.protocols)) < len(dataset.protocols):
            yield f"{where}: one is listed twice in {dataset.protocols}"
        for protocol in dataset.protocols:
            if protocol == registry.WHOLE_SPLIT:
                yield f"{where}: every data set is judged by {protocol}; remove it"
                continue
            yield from unknown(where, protocol, known, "the protocols")
            key = known[protocol].reads if protocol in known else None
            if key is not None and key not in dataset.paths():
                read, files = _READ[key]
                yield f"{where}: {protocol} reads {read}; give datasets.{name}.{key}, {files}, or remove the protocol"
            needed = known[protocol].benchmark if protocol in known else None
            if needed not in (None, dataset.benchmark):
                yield (
                    f"{where}: {protocol} is of the test images of benchmark {needed}, and {name} is "
                    + ("no benchmark" if dataset.benchmark is None else f"benchmark {dataset.benchmark}")
                    + f"; remove it, or give datasets.{name}.benchmark: {needed} if it is that one"
                )


def _wrong_runs(params: Params) -> Iterator[str]:
    first: dict[tuple[str | None, ...], str] = {}  # what tells runs apart → the first run that has it
    reported: set[str] = set()  # many runs share a recipe or a profile: what is wrong there is reported once
    for name, run in params.runs.items():
        where = f"runs.{name}"
        unknown_names = [
            *unknown(f"{where}.data", run.data, params.datasets, "datasets"),
            *unknown(f"{where}.method", run.method, params.recipes, "recipes"),
            *(unknown(f"{where}.profile", run.profile, params.profiles, "profiles") if run.profile else ()),
        ]
        yield from unknown_names
        origin = str(run.seed) if run.checkpoint is None else run.checkpoint.sha256 + run.checkpoint.text_digest
        twin = first.setdefault((run.data, run.method, run.variant, run.profile, origin), name)
        if twin != name and run.checkpoint is None:
            yield f"{where}: same data, method, variant, profile and seed as runs.{twin}; remove one or change its seed"
        if twin != name and run.checkpoint is not None:
            yield f"{where}: same data, method, variant, profile, checkpoint and vocabulary as runs.{twin}; remove one"
        if unknown_names:
            continue
        try:
            lines = list(wrong_method(params, where, name))
        except ConfigError as error:
            lines = str(error).splitlines()
        yield from (line for line in lines if line not in reported)
        reported |= set(lines)


def wrong_method(params: Params, where: str, name: str) -> Iterator[str]:
    """What a run's method needs and lacks. `ConfigError` where its recipe or profile is not valid."""
    run = params.runs[name]
    if run.variant is not None:
        variants = params.recipes[run.method].variants
        yield from unknown(f"{where}.variant", run.variant, variants, f"the variants of {run.method}")
        if run.variant not in variants:
            return
    method = params.method_of(name)
    if method.zero_shot and run.seed is not None:
        yield f"{where}.seed: {run.method} ({run.changes}) has recipe.epochs 0, which draws nothing at random; remove it"
    if not method.zero_shot and run.seed is None and run.checkpoint is None:
        yield f"{where}: the key seed is missing"
    yield from _wrong_images(params, where, run, method)
    yield from _wrong_text(params, where, run, method)


def _wrong_images(params: Params, where: str, run: RunSettings, method: MethodSettings) -> Iterator[str]:
    """Pictures or region features that a run needs and its data set does not have."""
    dataset = params.datasets[run.data]
    if method.model.reads_pixels and dataset.without_pictures:
        remedy = "choose a method that reads region features"
        if dataset.source.has_pictures:
            remedy = f"give datasets.{run.data}.shards.images, such as {{samples_per_shard: 1000, max_megapixels: 50}}"
        yield f"{where}: {run.method} reads pictures, and {run.data} has none; {remedy}"
    if not method.model.reads_pixels and dataset.without_regions:
        remedy = "choose a method that reads pictures"
        if dataset.source.has_pictures:
            remedy += f", or have features computed from the pictures: datasets.{run.data}.features"
        yield f"{where}: {run.method} reads region features, and {run.data} has none; {remedy}"


def _wrong_text(params: Params, where: str, run: RunSettings, method: MethodSettings) -> Iterator[str]:
    """What a method's text encoder, and a method that reads concepts, need of its data set."""
    if run.checkpoint is not None:
        return  # a checkpoint brings its own weights, and names its vocabulary
    text, vocabulary = method.model.text, params.datasets[run.data].vocabulary
    if isinstance(text, BiGRUSettings) and text.init == "glove":
        if vocabulary.glove is None:
            yield (
                f"{where}: {run.method} starts its word embeddings from GloVe, and "
                f"datasets.{run.data}.vocabulary.glove names no file of it; give one, or lay "
                "model: {text: {init: random}} over the method in a profile"
            )
        elif vocabulary.glove.width != text.word_dim:
            yield (
                f"{where}: {run.method} ({run.changes}) has text.word_dim {text.word_dim}, and the vectors "
                f"of datasets.{run.data}.vocabulary.glove have width {vocabulary.glove.width}; make them the same"
            )
    if isinstance(text, BertSettings | CLIPSettings) and text.shape is not None and vocabulary.word_pieces is None:
        yield (
            f"{where}: {run.method} ({run.changes}) starts its {text.kind.upper()} at random, which needs word "
            f"pieces of the data set; give datasets.{run.data}.vocabulary.word_pieces, such as {{pieces: 4000, min_count: 2}}"
        )
    if method.model.concepts and vocabulary.concepts is None:
        yield (
            f"{where}: {run.method} reads the data set's concepts; give datasets.{run.data}.vocabulary.concepts, such as "
            "{objects: 210, motions: 30, properties: 60}"
        )


def _wrong_ensembles(params: Params) -> Iterator[str]:
    for name, ensemble in params.ensembles.items():
        where = f"ensembles.{name}"
        yield from unknown(f"{where}.data", ensemble.data, params.datasets, "datasets")
        if name in params.runs:
            yield f"{where}: a run has this name already; choose another"
        if len(set(ensemble.runs)) < len(ensemble.runs):
            yield f"{where}.runs: a run is listed twice in {ensemble.runs}"
        for run in ensemble.runs:
            yield from unknown(f"{where}.runs", run, params.runs, "runs")
            if run in params.runs and params.runs[run].data != ensemble.data:
                yield (
                    f"{where}.runs: {run} is a run on {params.runs[run].data}, not on {ensemble.data}; an ensemble "
                    "needs one and the same data set"
                )


def _wrong_transfers(params: Params) -> Iterator[str]:
    for name, each in params.transfers.items():
        where = f"transfers.{name}"
        if name in params.runs or name in params.ensembles:
            yield f"{where}: a run or an ensemble has this name already; choose another"
        unknown_names = [
            *unknown(f"{where}.data", each.data, params.datasets, "datasets"),
            *unknown(f"{where}.run", each.run, params.runs, "runs"),
        ]
        yield from unknown_names
        if unknown_names:
            continue
        run = params.runs[each.run]
        if each.trained_on != run.data:
            yield f"{where}.trained_on: {each.run} is a run on {run.data}, not on {each.trained_on}; give {run.data}"
        if each.data == run.data:
            yield f"{where}.data: {each.run} is a run on {each.data} already; give another data set"
        with suppress(ConfigError):  # of the run, and said there
            yield from _wrong_images(
                params, where, run.model_copy(update={"data": each.data}), params.method_of(each.run)
            )


def _alike(section: str, names: Iterable[str]) -> Iterator[str]:
    """Names that a file system without upper and lower case would put into one folder."""
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            yield f"{section}: {name} and {twin} differ only in upper and lower case; some file systems take them for one"
