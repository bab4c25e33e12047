"""An experiment: settings that are right each by itself and cannot go together, and names and paths that are not safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.settings.load import load
from tests.support.config_data import VSE, at, plain

COMBINATIONS: list[tuple[tuple[str, ...], Any, str]] = [
    (
        ("profiles", "short", "recipe"),
        {"epochs": 4},
        "profiles.short over vse: recipe: schedule.epochs [15] reach past the last of 4 epochs; lower them or "
        "raise epochs (a profile that shortens epochs must say schedule.epochs too)",
    ),
    (
        ("profiles", "short", "loss"),
        {"warmup_epochs": 4},
        "profiles.short over vse: loss.warmup_epochs 4 must be less than recipe.epochs 4",
    ),
    (
        ("methods", "vse", "recipe", "schedule", "epochs"),
        [9, 3],
        f"{VSE}: recipe.schedule: epochs must rise, not [9, 3]",
    ),
    (
        ("runs", "two", "seed"),
        1,
        "runs.two: same data, method, variant, profile and seed as runs.one; remove one or change its seed",
    ),
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


@pytest.mark.parametrize(
    "change", [{"variant": "slow"}, {"profile": None}, {"data": "other"}, {"seed": 2}, {"method": "b"}]
)
def test_runs_that_differ_in_one_of_these_are_two(change: dict[str, Any], complaints: Any) -> None:
    data = plain()
    data["methods"]["b"] = data["methods"]["vse"]
    data |= {"ensembles": {}, "runs": {"one": data["runs"]["one"], "two": data["runs"]["one"] | change}}
    data["profiles"]["short"]["recipe"]["learning_rate"] = 1e-3
    assert complaints(data) == []
    data["runs"]["three"] = data["runs"]["two"]
    [line] = complaints(data)
    assert line.startswith("runs.three: same data, method, variant, profile and seed as runs.two")


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
    assert (
        complaints(data)[0]
        == "runs.one: vse reads region features, and tiny has none; choose a method that reads pictures"
    )


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
    "name",
    ["", "..", "../x", "a/b", "a b", ".x", "-x", "é", "a.b", "a\n", "x" * 101, "${x}", "a@b", "size", "nfiles"],
)
@pytest.mark.parametrize("section", ["datasets", "profiles", "runs", "ensembles"])
def test_a_name_that_is_no_safe_folder_or_means_something_to_dvc_is_refused(
    section: str, name: str, complaints: Any
) -> None:
    data = plain()
    data[section][name] = next(iter(data[section].values()))
    assert any(f"{name!r} cannot be a name" in line for line in complaints(data))


@pytest.mark.parametrize("name", ["", "../x", "a b", "${x}", "size", "nfiles"])
@pytest.mark.parametrize("key", ["data", "method", "variant", "profile"])
def test_a_run_names_nothing_that_could_not_be_a_name(key: str, name: str, complaints: Any) -> None:
    data = plain()
    data["runs"]["one"][key] = name
    [line] = complaints(data)
    assert line.startswith(f"runs.one.{key}: {name!r} cannot be a name")


@pytest.mark.parametrize("name", ["a/b", "size", "nfiles"])
def test_the_same_holds_for_downloads_and_their_parts(name: str, complaints: Any) -> None:
    part = {"sources": ["https://mirror/data.zip"]}
    for downloads in ({name: {"features": part}}, {"f30k": {name: part}}):
        assert any(f"{name!r} cannot be a name" in line for line in complaints(plain() | {"downloads": downloads}))


def test_names_that_only_hold_dvcs_are_names(complaints: Any) -> None:
    data = plain()
    for name in ("Size", "size1", "file-size"):
        data["methods"][name] = data["methods"]["vse"]
        data["runs"][name] = {"data": "tiny", "method": name, "seed": 1}
    assert complaints(data) == []


CHECKPOINT = {"path": "model_best.pth", "sha256": "a" * 64, "text_digest": "c" * 64}
IMPORTED = {"data": "tiny", "method": "vse", "profile": "short", "checkpoint": CHECKPOINT}
BERT = {"kind": "bert", "weights": "lab/bert", "dropout": 0.1}
SHAPE = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16, "positions": 32}


def test_a_run_is_either_trained_or_imported(complaints: Any, tmp_path: Path) -> None:
    data = plain()
    data["runs"]["one"] |= {"checkpoint": CHECKPOINT}
    assert complaints(data) == ["runs.one: give seed, for a training, or checkpoint, for an import, not both"]
    del data["runs"]["one"]["seed"]
    assert complaints(data) == []
    imported, trained = (load(tmp_path / "params.yaml").runs[name] for name in ("one", "two"))
    assert (imported.seed, trained.checkpoint) == (None, None)
    del data["runs"]["one"]["checkpoint"]
    assert complaints(data) == ["runs.one: the key seed is missing"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "a" * 63}, "runs.new.checkpoint.sha256: String should match pattern"),
        ({"text_digest": "none"}, "runs.new.checkpoint.text_digest: String should match pattern"),
        ({"text_digest": None}, "runs.new.checkpoint.text_digest: Input should be a valid string, not None"),
        ({"sha": "a" * 64}, "runs.new.checkpoint: unknown key 'sha'; did you mean 'sha256'?"),
    ],
)
def test_a_checkpoint_that_is_not_said_in_full_is_named(change: dict[str, str], said: str, complaints: Any) -> None:
    data = plain()
    data["runs"]["new"] = {**IMPORTED, "checkpoint": CHECKPOINT | change}
    [line] = complaints(data)
    assert line.startswith(said)


def test_a_checkpoint_without_a_digest_of_its_ids_is_refused(complaints: Any) -> None:
    data = plain()
    data["runs"]["new"] = {**IMPORTED, "checkpoint": {k: v for k, v in CHECKPOINT.items() if k != "text_digest"}}
    assert complaints(data) == ["runs.new.checkpoint.text_digest: this key is missing"]


def test_a_checkpoint_imported_twice_is_refused_and_another_one_or_another_vocabulary_is_not(complaints: Any) -> None:
    data = plain()
    data["runs"] |= {"new": IMPORTED, "again": {**IMPORTED, "checkpoint": CHECKPOINT | {"path": "copy.pth"}}}
    twice = ["runs.again: same data, method, variant, profile, checkpoint and vocabulary as runs.new; remove one"]
    assert complaints(data) == twice
    for key in ("sha256", "text_digest"):
        data["runs"]["again"]["checkpoint"] = CHECKPOINT | {key: "b" * 64}
        assert complaints(data) == []
    # Where it lies does not tell whether it is another one.
    data["runs"]["again"]["checkpoint"] = CHECKPOINT | {"vocabulary": "vocab.json"}
    assert complaints(data) == twice


def test_a_text_encoder_that_starts_from_glove_needs_vectors_of_its_width(complaints: Any) -> None:
    data = plain()
    data["methods"]["vse"]["model"]["text"]["init"] = "glove"
    for line, run in zip(complaints(data), ("one", "two"), strict=True):
        assert line.startswith(
            f"runs.{run}: vse starts its word embeddings from GloVe, and datasets.tiny.vocabulary.glove"
        )
    data["datasets"]["tiny"]["vocabulary"]["glove"] = {"file": "glove.txt", "width": 50}
    for line, run in zip(complaints(data), ("one", "two"), strict=True):
        assert line.startswith(f"runs.{run}: vse (short) ")
        assert "has text.word_dim 8, and the vectors of datasets.tiny.vocabulary.glove have width 50" in line
    data["datasets"]["tiny"]["vocabulary"]["glove"]["width"] = 8
    assert complaints(data) == []
    del data["datasets"]["tiny"]["vocabulary"]["glove"]
    data["profiles"]["short"]["model"]["text"] = {"init": "random"}
    assert complaints(data) == []


def test_an_imported_run_needs_neither_glove_nor_word_pieces_of_the_data_set(complaints: Any) -> None:
    data = plain()
    data["methods"]["vse"]["model"]["text"]["init"] = "glove"
    data["runs"], data["ensembles"] = {"new": IMPORTED}, {}
    assert complaints(data) == []
    data["methods"]["vse"]["model"]["text"] = BERT | {"weights": "random", "shape": SHAPE}
    data["methods"]["vse"]["recipe"]["factors"] = {"bert": 0.1}
    assert complaints(data) == []


def test_a_bert_that_starts_at_random_needs_word_pieces_and_a_published_one_does_not(complaints: Any) -> None:
    data = plain()
    method = data["methods"]["vse"]
    method["model"]["text"], method["recipe"]["factors"] = BERT, {"bert": 0.1}
    assert complaints(data) == []
    data["profiles"]["short"]["model"]["text"] = {"weights": "random", "shape": SHAPE}
    for line, run in zip(complaints(data), ("one", "two"), strict=True):
        assert line.startswith(f"runs.{run}: vse (short) starts its BERT at random, which needs word pieces")
    data["datasets"]["tiny"]["vocabulary"]["word_pieces"] = {"pieces": 100, "min_count": 2}
    assert complaints(data) == []


WRONG_BERTS: list[tuple[dict[str, Any], str]] = [
    ({"weights": "random"}, "weights: random needs shape (hidden, layers, heads, intermediate, positions)"),
    ({"shape": SHAPE}, "shape is for weights: random; those of lab/bert have their own"),
    ({"weights": "random", "shape": SHAPE, "revision": "v1"}, "revision is for weights from the hub; remove it"),
    ({"weights": "random", "shape": SHAPE | {"heads": 3}}, "hidden 16 must be a multiple of heads 3"),
    ({"weights": "random", "shape": SHAPE | {"positions": 7}}, "greater than or equal to 8, not 7"),
]


@pytest.mark.parametrize(("change", "said"), WRONG_BERTS, ids=lambda value: str(value)[:40])
def test_a_bert_that_cannot_be_built_is_named(change: dict[str, Any], said: str, complaints: Any) -> None:
    data = plain()
    method = data["methods"]["vse"]
    method["model"]["text"], method["recipe"]["factors"] = BERT | change, {"bert": 0.1}
    [line] = complaints(data)
    assert line.startswith(f"{VSE}: model.text") and said in line


def test_the_factor_of_berts_learning_rate_is_given_where_there_is_a_bert_and_nowhere_else(complaints: Any) -> None:
    data = plain()
    method = data["methods"]["vse"]
    method["recipe"]["factors"] = {"bert": 0.1}
    assert complaints(data) == [f"{VSE}: recipe.factors name parts that this model does not have: bert; remove them"]
    method["model"]["text"] = BERT
    assert complaints(data) == []
    del method["recipe"]["factors"]
    assert complaints(data) == [
        f"{VSE}: recipe.factors must give the factor of the learning rate of bert, such as {{bert: 0.1}}"
    ]
    method["recipe"]["factors"] = {"bert": 0}
    assert "greater than 0, not 0" in complaints(data)[0]
    method["recipe"]["factors"] = {"brt": 0.1}
    assert any(line.startswith(f"{VSE}: recipe.factors") and "bert" in line for line in complaints(data))


def test_a_family_follows_from_the_settings_whatever_the_recipe_is_called(complaints: Any, tmp_path: Path) -> None:
    data = plain()
    method = data["methods"]["vse"]
    for pooling in ({"kind": "mean"}, method["model"]["pooling"]):
        for text in (method["model"]["text"], BERT):
            entry = {**method, "model": {**method["model"], "pooling": pooling, "text": text}}
            if text is BERT:
                entry["recipe"] = {**method["recipe"], "factors": {"bert": 0.1}}
            data["methods"][f"mine-{len(data['methods'])}"] = entry
    assert complaints(data) == []
    params = load(tmp_path / "params.yaml")
    assert {name: recipe.settings.family for name, recipe in params.recipes.items()} == {
        "vse": "vse_infty_bigru", "mine-1": "vse_pp_bigru", "mine-2": "vse_pp_bert", "mine-3": "vse_infty_bigru",
        "mine-4": "vse_infty_bert",
    }  # fmt: skip
