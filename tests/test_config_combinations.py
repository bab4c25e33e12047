"""params.yaml: settings that are right each by itself and cannot go together, and names and paths that are not safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.config import load
from tests.config_data import at, plain

COMBINATIONS: list[tuple[tuple[str, ...], Any, str]] = [
    (
        ("profiles", "short", "recipe"),
        {"epochs": 4},
        "profiles.short over methods.vse: recipe: decay_epochs [15] reach past the last of 4 epochs; lower them or raise "
        "epochs (a profile that shortens epochs must say decay_epochs too)",
    ),
    (
        ("profiles", "short", "loss"),
        {"warmup_epochs": 4},
        "profiles.short over methods.vse: loss.warmup_epochs 4 must be less than recipe.epochs 4",
    ),
    (("methods", "vse", "recipe", "decay_epochs"), [9, 3], "methods.vse.recipe: decay_epochs must rise, not [9, 3]"),
    (("runs", "two", "seed"), 1, "runs.two: same data, method and seed as runs.one; remove one or change its seed"),
    (
        ("ensembles", "both", "data"),
        "other",
        "ensembles.both.runs: one is a run on tiny, not on other; an ensemble needs",
    ),
    (("ensembles", "both", "runs"), ["one", "one"], "ensembles.both.runs: a run is listed twice in ['one', 'one']"),
    (
        ("ensembles", "one"),
        {"data": "tiny", "runs": ["one", "two"]},
        "ensembles.one: a run has this name already; choose another",
    ),
    (
        ("runs", "Two"),
        {"data": "other", "method": "vse", "seed": 1, "profile": "short"},
        "runs and ensembles: Two and two differ only in upper and lower case; some file systems take them for one",
    ),
    (
        ("datasets", "tiny", "source", "features"),
        "none",
        "datasets.tiny: shards.regions needs features, and this source has none; remove it",
    ),
    (("datasets", "tiny", "shards"), {}, "datasets.tiny: shards: give regions, images or both"),
]


@pytest.mark.parametrize(("keys", "value", "said"), COMBINATIONS, ids=lambda value: str(value)[:40])
def test_what_cannot_go_together_is_refused(keys: tuple[str, ...], value: Any, said: str, complaints: Any) -> None:
    data = plain()
    at(data, *keys[:-1])[keys[-1]] = value
    assert complaints(data)[0].startswith(said)


def test_a_data_set_that_reads_no_such_download_is_named(complaints: Any, tmp_path: Path) -> None:
    data = plain()
    data["downloads"] = {"f30k": {"features": {"sources": ["https://mirror/data.zip"]}}}
    data["datasets"]["tiny"]["reads"] = "downloads/f30.json"
    assert complaints(data) == [
        "datasets.tiny.reads: downloads/f30.json is the record of no download; did you mean 'downloads/f30k.json'? "
        "(known: downloads/f30k.json)"
    ]
    data["datasets"]["tiny"]["reads"] = "downloads/f30k.json"
    assert complaints(data) == []
    params = load(tmp_path / "params.yaml")
    assert (params.download_of("tiny"), params.download_of("other")) == ("f30k", None)


def test_what_is_read_of_a_download_that_nobody_fetches_is_named(complaints: Any) -> None:
    data = plain()
    data["downloads"] = {"f30k": {"karpathy": {"sources": ["https://mirror/caption_datasets.zip"]}}}
    data["datasets"]["tiny"]["source"]["karpathy"] = "downloads/f30k/dataset_flickr30k.json"
    [line] = complaints(data)
    assert line.startswith(
        "datasets.tiny.source.karpathy: downloads/f30k/dataset_flickr30k.json is fetched only where reads"
    )
    data["datasets"]["tiny"]["reads"] = "downloads/f30k.json"
    assert complaints(data) == []


def test_a_run_on_a_data_set_without_region_features_is_refused(complaints: Any) -> None:
    data = plain()
    data["datasets"]["tiny"]["source"]["features"] = "none"
    data["datasets"]["tiny"]["shards"] = {"images": {"samples_per_shard": 10, "max_megapixels": 50}}
    assert complaints(data)[0] == "runs.one: tiny has no region features, which every method so far needs"


@pytest.mark.parametrize("source", ["s3://bucket/data.zip", "ftp://host/data.zip"])
def test_a_source_of_no_known_kind_is_named(complaints: Any, source: str) -> None:
    data = plain()
    data["downloads"] = {"f30k": {"features": {"sources": [source]}}}
    [line] = complaints(data)
    assert line.startswith("downloads.f30k.features.sources.0: ") and "no kind of source" in line


def test_a_download_stays_in_its_folder(complaints: Any) -> None:
    data = plain()
    for into in ("../other", "/etc", "C:\\x", "a/../../b"):
        data["downloads"] = {"f30k": {"features": {"sources": ["x.zip"], "into": into}}}
        [line] = complaints(data)
        assert line.startswith("downloads.f30k.features.into: ") and "leaves the download's folder" in line


def test_a_data_set_may_not_take_the_folder_of_the_sentence_data(complaints: Any) -> None:
    data = plain()
    data["datasets"]["nltk"] = data["datasets"]["other"]
    assert complaints(data) == ["datasets.nltk: data/nltk holds nltk's sentence data; choose another name"]


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "a b", ".x", "-x", "é", "a.b", "a\n", "x" * 101, "${x}", "a@b"]
)
@pytest.mark.parametrize("section", ["datasets", "methods", "profiles", "runs", "ensembles"])
def test_a_name_that_is_no_safe_folder_is_refused(section: str, name: str, complaints: Any) -> None:
    data = plain()
    data[section][name] = next(iter(data[section].values()))
    assert any(f"{name!r} cannot be a name" in line for line in complaints(data))
