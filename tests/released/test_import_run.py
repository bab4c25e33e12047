"""Released checkpoints as runs, and runs as released checkpoints: the same similarities, and nothing lost on the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itrcore import intact
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import ConfigError, DataError
from itrcore.evaluation.ensemble import evaluate_ensemble
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.files import read_json, sha256
from itrcore.ranking import metrics, ranks
from itrcore.released import importing
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.exporting import export_run
from itrcore.runs.observer import Observer
from itrcore.settings import edit
from itrcore.settings.load import load
from tests.support.exported import CHANGES, METHOD, ON_WORDS
from tests.support.helpers import released_file
from tests.support.parity_fixtures import ROOT
from tests.support.scores import similarities
from tests.support.tiny_project import write_params

OWN = Path("tiny_precomp_vocab.json")  # a vocabulary that is given


def added(name: str, path: Path | None = None, vocabulary: Path | None = None, **changes: Any) -> None:
    """params.yaml with run `new`, that imports the exported run `name` (or another file), as `itr import` writes it."""
    path = path or Path(name, "model_best.pth")
    settings = write_params(Path("."), {**deepcopy(CHANGES), **changes}).method_with(METHOD[name])
    digest = importing.load(path, settings, vocabulary, "tiny").text.digest
    checkpoint = {"path": str(path), "sha256": sha256(path), "text_digest": digest}
    if vocabulary:
        checkpoint["vocabulary"] = str(vocabulary)
    new = {"data": "tiny", "method": METHOD[name], "checkpoint": checkpoint}
    write_params(Path("."), {**deepcopy(CHANGES), "runs.new": new, **changes})


def imported(observer: Any = None) -> Any:
    """Import, evaluate and judge run `new`; its run.json."""
    params = load()
    run = importing.import_run(params, "new", observer or Observer())
    evaluate(params, "new")
    judge(params, "new")
    return read_json(run / "run.json")


def similarity(name: str) -> bytes:
    return similarities(name).tobytes()


def refusal() -> str:
    with pytest.raises(DataError) as caught:
        importing.import_run(load(), "new", Observer())
    said = str(caught.value)
    assert "\n" not in said
    assert not Path("runs/tiny/new").exists()
    return said


@pytest.mark.parametrize("name", METHOD)
@pytest.mark.parametrize("own_vocabulary", [False, True])
def test_an_imported_run_gives_the_similarities_of_the_exported_one(
    name: str, own_vocabulary: bool, folder: Path
) -> None:
    vocabulary = None
    if own_vocabulary:
        source, place = (Path(name, OWN), OWN) if name in ON_WORDS else (PIECES, Path("vocab.txt"))
        vocabulary = Path(shutil.copy(source, place))
        shutil.rmtree("data/tiny/vocab")
    added(name, vocabulary=vocabulary)
    imported()
    assert similarity("new") == similarity(name)
    assert {path.name for path in Path("runs/tiny/new").iterdir()} == {"model.safetensors", "run.json", "text"}


def test_its_record_says_where_it_comes_from_and_claims_no_training(folder: Path) -> None:
    added("one")
    described, trained = imported(), read_json(Path("runs/tiny/one/run.json"))
    path = Path("one/model_best.pth")
    history = read_json(Path("runs/tiny/one/history.json"))["evaluations"]
    assert described["checkpoint"] == {
        "path": str(path),
        "sha256": sha256(path),
        "epoch": trained["best_epoch"],
        "best_rsum": history[trained["best_epoch"] - 1]["dev"]["rsum"],
        "vocabulary": "the vocabulary of tiny",
    }
    assert (described["origin"], described["selected_on"]) == ("imported", "unknown (imported)")
    assert {described[key] for key in ("seed", "training", "train_seconds", "device", "precision")} == {None}
    same = ("family", "settings", "features", "data_digest", "width", "parameters", "text_digest")
    assert {key: described[key] for key in same} == {key: trained[key] for key in same}
    result = read_json(Path("results/tiny/new/metrics.json"))
    assert (result["origin"], result["family"], result["seed"]) == ("imported", "esa_bigru", None)
    assert result["checkpoint"] == described["checkpoint"]


@pytest.mark.parametrize("name", METHOD)
def test_sizes_are_the_checkpoints_whatever_the_method_says(name: str, folder: Path) -> None:
    model = f"methods.{METHOD[name]}.model"
    changes: dict[str, Any] = {f"{model}.dim": 64}
    other_bert = name in ("three", "four")  # whose word pieces are not the data set's
    if other_bert:
        changes[f"{model}.text"] = {"kind": "bert", "weights": "lab/other", "dropout": 0.1}
    elif name == "five":
        shape = {"picture": 96, "patch": 8, "text_hidden": 40, "text_heads": 5, "image_heads": 1, "image_layers": 4}
        changes |= {f"{model}.text.shape.{key}": value for key, value in shape.items()}
    else:
        changes[f"{model}.text.word_dim"] = 5
    if name in ("four", "five"):
        changes |= {f"{model}.levels": 1, f"{model}.kernel": 4}
    added(name, vocabulary=PIECES if other_bert else None, **changes)
    described = imported()
    assert described["settings"]["model"]["dim"] == 16
    assert (described["checkpoint"]["vocabulary"] == str(PIECES)) == other_bert
    assert similarity("new") == similarity(name)


@pytest.mark.parametrize("name", [name for name in METHOD if name != "five"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_data_parallels_prefix_makes_no_difference(name: str, wrapped: bool, folder: Path) -> None:
    path = Path(name, "model_best.pth")
    content = released_file(path)
    parts = [
        {("module." if wrapped else "") + key.removeprefix("module."): value for key, value in part.items()}
        for part in content["model"]
    ]
    torch.save({**content, "model": parts}, "changed.pth")
    added(name, Path("changed.pth"))
    imported()
    assert similarity("new") == similarity(name)


def test_a_released_file_that_says_little_of_its_training_is_imported(folder: Path) -> None:
    content = released_file(Path("one/model_best.pth"))
    torch.save({"model": content["model"]}, "bare.pth")
    added("one", Path("bare.pth"))
    described = imported()
    assert (described["checkpoint"]["epoch"], described["checkpoint"]["best_rsum"], described["best_epoch"]) == (
        None, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("name", METHOD)
def test_an_imported_run_exports_to_the_entries_it_came_from(name: str, folder: Path) -> None:
    added(name)
    imported()
    before, after = Checkpoint.read(Path(name, "model_best.pth")), None
    export_run(Path("runs/tiny/new"), Path("again/model_best.pth"))
    after = Checkpoint.read(Path("again/model_best.pth"))
    for first, second in zip(before.parts, after.parts, strict=True):
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert (after.epoch, after.best_rsum, after.options) == (before.epoch, before.best_rsum, before.options)


def test_an_import_loads_no_code_that_its_record_lacks(folder: Path) -> None:
    added("one")
    program = """
import sys
from itrcore import code
from itrcore.released.importing import import_run
from itrcore.runs import inputs
from itrcore.settings.load import load
from itrcore.runs.observer import Observer
import_run(load(), "new", Observer())
empty = code.text_digest("'A docstring.'")
loaded = {
    name for name in sys.modules
    if name.startswith("itrcore.") and not code._neutral(name) and code._read(name)[0] != empty
}
print(sorted(loaded - inputs.training(load(), "new")["code"].keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_imported_and_trained_runs_make_an_ensemble(folder: Path) -> None:
    added("two")
    imported()
    edit.add(Path("params.yaml"), "ensembles", "mixed", {"data": "tiny", "runs": ["one", "new"]})
    evaluate_ensemble(load(), "mixed")
    mean = (similarities("one") + similarities("new")) / 2
    found = ranks(mean, np.repeat(np.arange(len(mean)), 5))
    result = read_json(Path("results/tiny/mixed/metrics.json"))
    assert (result["selected_on"], result["family"]) == ("dev, unknown (imported)", "esa_bigru+vse_infty_bigru")
    assert result["metrics"] == metrics(found)


def test_a_vocabulary_that_is_written_otherwise_and_gives_the_same_ids_is_the_same(folder: Path) -> None:
    shutil.copy("one" / OWN, OWN)
    added("one", vocabulary=OWN)
    before = OWN.read_bytes()
    OWN.write_text(OWN.read_text() + " ")
    assert OWN.read_bytes() != before
    assert imported()["checkpoint"]["vocabulary"] == str(OWN)
    assert similarity("new") == similarity("one")


def swapped(path: Path) -> None:
    """Two entries of a vocabulary change places: as many as before, and other ids."""
    if path.suffix == ".txt":
        *pieces, last, last_but_one = WordPieces.read(path).pieces
        WordPieces([*pieces, last_but_one, last]).save_vocabulary(path)
    else:
        vocabulary = Vocabulary.load(path, Path("data/nltk"))
        *words, last, last_but_one = vocabulary.words
        Vocabulary([*words, last_but_one, last], vocabulary.splitter).save(path)
    if (path.parent / intact.FILES).exists():
        intact.seal(path.parent)


@pytest.mark.parametrize(("name", "file"), [("one", "vocab.json"), ("three", "wordpieces.txt")])
@pytest.mark.parametrize("own_vocabulary", [False, True])
def test_a_vocabulary_of_the_right_size_that_is_another_one_than_when_it_was_added_is_refused(
    name: str, file: str, own_vocabulary: bool, folder: Path
) -> None:
    of_data = Path("data/tiny/vocab", file)
    given = Path(shutil.copy(of_data, file)) if own_vocabulary else None
    added(name, vocabulary=given)
    digest = load().runs["new"].checkpoint.text_digest  # type: ignore[union-attr]
    if given:
        swapped(of_data)  # it has nothing to do with this run
        imported()
        shutil.rmtree("runs/tiny/new")
    swapped(given or of_data)
    said = refusal()
    what = given or "the vocabulary of tiny"
    assert re.match(rf"{what}: digest \w{{12}}…; expected {digest[:12]}…, as when runs\.new was added\. Put", said), (
        said
    )


def change_checkpoint() -> None:
    shutil.copy("two/model_best.pth", "one/model_best.pth")


def remove_checkpoint() -> None:
    Path("one/model_best.pth").unlink()


def remove_vocabulary() -> None:
    ("one" / OWN).unlink()


def shorten(path: Path) -> Callable[[], None]:
    def change() -> None:
        if path.suffix == ".txt":
            WordPieces(WordPieces.read(path).pieces[:-1]).save_vocabulary(path)
        else:
            words = Vocabulary.load(path, Path("data/nltk"))
            Vocabulary(words.words[:-1], words.splitter).save(path)

    return change


WORDS, PIECES = Path("data/tiny/vocab/vocab.json"), Path("data/tiny/vocab/wordpieces.txt")
REFUSED: list[tuple[str, Path | None, Callable[[], None], str]] = [
    (
        "one",
        None,
        change_checkpoint,
        r"^one/model_best\.pth: digest \w{12}…; expected \w{12}…, as when runs\.new was added\. Put",
    ),
    ("one", None, remove_checkpoint, r"^one/model_best\.pth: cannot be read \(No such file.* checkpoint\.path of its run"),
    ("one", "one" / OWN, remove_vocabulary, r"^one/tiny_precomp_vocab\.json: no such file; expected the vocabulary that"),
    ("one", None, shorten(WORDS), r"^data/tiny/vocab/vocab\.json: a vocabulary of \d+ tokens.*expected \d+, as many.*--vocab"),
    ("three", PIECES, shorten(PIECES), r"^data/tiny/vocab/wordpieces\.txt: a vocabulary of 199 tokens, .*expected 200, as"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "vocabulary", "change", "says"), REFUSED, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_does_not_fit_is_one_error_and_leaves_no_run(
    folder: Path, name: str, vocabulary: Path | None, change: Callable[[], None], says: str
) -> None:
    added(name, vocabulary=vocabulary)
    change()
    assert re.search(says, said := refusal()), said


def test_an_import_that_fails_keeps_the_folder_of_an_earlier_one(folder: Path, monkeypatch: Any) -> None:
    added("one")
    imported()
    before = sorted((path, path.read_bytes()) for path in Path("runs/tiny/new").rglob("*") if path.is_file())

    class Watching(Observer):
        failed = 0

        def fail(self) -> None:
            self.failed += 1

    def full(*_: Any) -> None:
        raise OSError("disk full")

    observer = Watching()
    monkeypatch.setattr("itrcore.released.importing.save_file", full)
    with pytest.raises(OSError, match="disk full"):
        importing.import_run(load(), "new", observer)
    assert observer.failed == 1
    assert sorted((path, path.read_bytes()) for path in Path("runs/tiny/new").rglob("*") if path.is_file()) == before
    assert [path.name for path in Path("runs/tiny").iterdir() if path.name.startswith(".")] == []


def test_a_run_that_is_to_be_trained_is_not_imported(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^runs\.one has a seed to train with, and no checkpoint to import$"):
        importing.import_run(load(), "one", Observer())
