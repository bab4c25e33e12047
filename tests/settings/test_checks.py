"""Settings that are right each by itself and cannot go together."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from itrcore.settings import checks
from itrcore.settings.load import load
from tests.support import small_experiment
from tests.support.small_experiment import BERT, CHECKPOINT, IMPORTED, SHAPE, VSE, at, plain

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
        "runs, ensembles and transfers: Two and two differ only in upper and lower case; some file systems take them for one",
    ),
    (
        ("datasets", "tiny", "source", "features"),
        "none",
        "datasets.tiny: shards.regions needs features, and this source has none; remove it",
    ),
    (
        ("datasets", "tiny", "protocols"),
        ["coco_1l"],
        "datasets.tiny.protocols: no 'coco_1l' in the protocols; did you mean 'coco_1k'? (known: coco_1k, ",
    ),
    (
        ("datasets", "tiny", "protocols"),
        ["eccv"],
        "datasets.tiny.protocols: eccv is of the test images of benchmark coco, and tiny is no benchmark; remove it, or give "
        "datasets.tiny.benchmark: coco if it is that one",
    ),
    (
        ("datasets", "tiny", "protocols"),
        ["cxc_within"],
        "datasets.tiny.protocols: cxc_within reads Crisscrossed Captions' ratings; give datasets.tiny.cxc, the folder with ",
    ),
    (
        ("datasets", "tiny", "protocols"),
        ["sugar_crepe"],
        "datasets.tiny.protocols: sugar_crepe reads SugarCrepe's captions; give datasets.tiny.negatives, the folder with its ",
    ),
    (
        ("datasets", "tiny", "protocols"),
        ["split"],
        "datasets.tiny.protocols: every data set is judged by split; remove it",
    ),
    (
        ("datasets", "tiny", "protocols"),
        ["cxc", "cxc"],
        "datasets.tiny.protocols: one is listed twice in ['cxc', 'cxc']",
    ),
    (("datasets", "tiny", "shards"), {}, "datasets.tiny: shards: give regions, images or both"),
    (
        ("datasets", "tiny", "features"),
        {"extractor": {"kind": "lite0", "framing": "whole"}, "dtype": "float16", "samples_per_shard": 9},
        "datasets.tiny: features are computed in place of those of shards.regions; remove one of the two",
    ),
    (
        ("datasets", "tiny", "features"),
        {"extractor": {"kind": "lite1", "framing": "whole"}, "dtype": "float16", "samples_per_shard": 9},
        "datasets.tiny.features.extractor",
    ),
]


@pytest.mark.parametrize(("keys", "value", "message"), COMBINATIONS, ids=lambda value: str(value)[:40])
def test_what_cannot_go_together_is_refused(keys: tuple[str, ...], value: Any, message: str, complaints: Any) -> None:
    data = plain()
    at(data, *keys[:-1])[keys[-1]] = value
    assert complaints(data)[0].startswith(message)


def test_all_names_that_do_not_exist_are_reported_together(complaints: Any) -> None:
    data = plain()
    data["runs"]["one"] |= {"data": "tin", "method": "vs", "profile": "shor"}
    data["ensembles"]["both"]["runs"] = ["one", "tow"]
    assert complaints(data) == [
        "runs.one.data: no 'tin' in datasets; did you mean 'tiny'? (known: tiny, other)",
        "runs.one.method: no 'vs' in recipes; did you mean 'vse'? (known: vse)",
        "runs.one.profile: no 'shor' in profiles; did you mean 'short'? (known: short)",
        "ensembles.both.runs: one is a run on tin, not on tiny; an ensemble needs one and the same data set",
        "ensembles.both.runs: no 'tow' in runs; did you mean 'two'? (known: one, two)",
    ]


def test_an_unknown_variant_is_named_with_its_run_and_the_nearest(complaints: Any) -> None:
    data = plain()
    data["runs"]["one"]["variant"] = "slo"
    assert complaints(data) == [
        "runs.one.variant: no 'slo' in the variants of vse; did you mean 'slow'? (known: wide, slow)"
    ]
    del data["methods"]["vse"]["variants"]
    assert complaints(data) == ["runs.one.variant: no 'slo' in the variants of vse (known: none)"]


def test_an_unknown_profile_and_an_unknown_recipe_are_named_with_the_nearest(complaints: Any) -> None:
    data = plain()
    data["runs"]["one"]["profile"] = "shortt"
    data["runs"]["two"]["method"] = "vsee"
    assert complaints(data) == [
        "runs.one.profile: no 'shortt' in profiles; did you mean 'short'? (known: short)",
        "runs.two.method: no 'vsee' in recipes; did you mean 'vse'? (known: vse)",
    ]


def broken(key: str) -> Any:
    data = plain()
    data["methods"]["vse"]["recipe"][key] = data["methods"]["vse"]["recipe"].pop("epochs")
    data["runs"]["three"] = {"data": "other", "method": "vse", "seed": 3, "variant": "slow"}
    return data


def test_what_is_wrong_in_a_recipe_is_said_once_with_its_file_and_key_though_several_runs_use_it(
    complaints: Any,
) -> None:
    [line] = complaints(broken("epoch"))
    assert line.startswith(f"{VSE}: recipe: unknown key 'epoch'; did you mean 'epochs'?")


def test_what_is_wrong_in_a_profile_is_said_once_for_each_method_that_it_lies_over(complaints: Any) -> None:
    data = plain()
    data["methods"]["b"] = data["methods"]["vse"]
    data["runs"] |= {
        "three": {"data": "tiny", "method": "b", "seed": 1, "profile": "short"},
        "four": {"data": "tiny", "method": "vse", "variant": "slow", "seed": 1, "profile": "short"},
    }
    data["profiles"]["short"]["recipe"]["epoch"] = 3
    assert [line.split(": recipe: unknown key 'epoch'; did you mean 'epochs'?")[0] for line in complaints(data)] == [
        "profiles.short over vse", "profiles.short over b", "profiles.short over vse, variant slow",
    ]  # fmt: skip


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


def test_a_path_in_a_download_that_the_data_set_does_not_read_is_named(complaints: Any) -> None:
    data = plain()
    data["downloads"] = {"f30k": {"karpathy": {"sources": ["https://mirror/caption_datasets.zip"]}}}
    data["datasets"]["tiny"]["source"]["karpathy"] = "downloads/f30k/dataset_flickr30k.json"
    [line] = complaints(data)
    assert line.startswith(
        "datasets.tiny.source.karpathy: downloads/f30k/dataset_flickr30k.json is fetched only where reads"
    )
    data["datasets"]["tiny"]["reads"] = "downloads/f30k.json"
    assert complaints(data) == []


def test_a_data_set_may_not_take_the_folder_of_the_sentence_data(complaints: Any) -> None:
    data = plain()
    data["datasets"]["nltk"] = data["datasets"]["other"]
    assert complaints(data) == ["datasets.nltk: data/nltk holds nltk's sentence data; choose another name"]


def test_a_method_that_reads_concepts_needs_a_data_set_that_has_some(tmp_path: Path) -> None:
    params = load(small_experiment.write(tmp_path, plain()))
    run, text = params.runs["one"], params.method_of("one").model.text
    reading = SimpleNamespace(model=SimpleNamespace(text=text, concepts={"dim": 8}))
    [line] = checks._wrong_text(params, "runs.one", run, reading)  # type: ignore[arg-type]
    assert line.startswith(
        f"runs.one: {run.method} reads the data set's concepts; give datasets.tiny.vocabulary.concepts, such as"
    )
    data = plain()
    data["datasets"]["tiny"]["vocabulary"]["concepts"] = {"objects": 5, "motions": 2, "properties": 2}
    params = load(small_experiment.write(tmp_path, data))
    assert not list(checks._wrong_text(params, "runs.one", run, reading))  # type: ignore[arg-type]


def test_a_run_on_a_data_set_without_region_features_is_refused(complaints: Any) -> None:
    data = plain()
    data["datasets"]["tiny"]["source"]["features"] = "none"
    data["datasets"]["tiny"]["shards"] = {"images": {"samples_per_shard": 10, "max_megapixels": 50}}
    assert (
        complaints(data)[0]
        == "runs.one: vse reads region features, and tiny has none; choose a method that reads pictures, or have features "
        "computed from the pictures: datasets.tiny.features"
    )


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


def test_an_imported_run_needs_neither_glove_nor_word_pieces_of_the_data_set(complaints: Any) -> None:
    data = plain()
    data["methods"]["vse"]["model"]["text"]["init"] = "glove"
    data["runs"], data["ensembles"] = {"new": IMPORTED}, {}
    assert complaints(data) == []
    data["methods"]["vse"]["model"]["text"] = BERT | {"weights": "random", "shape": SHAPE}
    data["methods"]["vse"]["recipe"]["factors"] = {"bert": 0.1}
    assert complaints(data) == []
