"""Released checkpoints as runs, and runs as released checkpoints: the same similarities, and nothing lost on the way."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itrcore.config import load
from itrcore.data.vocabulary import Vocabulary
from itrcore.errors import ConfigError, DataError
from itrcore.evaluation.ensemble import evaluate_ensemble
from itrcore.evaluation.run import evaluate
from itrcore.files import read_json, sha256, write_json
from itrcore.released.checkpoint import read
from itrcore.released.export import export_run
from itrcore.released.run import import_run
from itrcore.training.observer import Silent
from tests.tiny_project import project, train_in, write_params

RUN = {"data": "tiny", "seed": 1, "profile": "published"}
CHANGES: dict[str, Any] = {"runs.three": {**RUN, "method": "esa_bert"}}
METHOD = {"one": "esa", "two": "gpo", "three": "esa_bert"}
FAMILY = {"one": "esa_bigru", "two": "vse_infty_bigru", "three": "esa_bert"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: Any) -> Path:
    """A project with three trained, evaluated and exported runs."""
    folder: Path = tmp_path_factory.mktemp("imported")
    params = project(folder, CHANGES)
    for name in METHOD:
        train_in(folder, name)
        with contextlib.chdir(folder):
            evaluate(params, name)
            export_run(Path("runs/tiny") / name, Path(name, "model_best.pth"))
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: Any) -> Path:
    """A copy of it, as the current folder."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def added(name: str, path: Path | None = None, vocabulary: Path | None = None, **changes: Any) -> None:
    """params.yaml with run `new`, that imports the exported run `name` (or another file)."""
    path = path or Path(name, "model_best.pth")
    checkpoint = {"path": str(path), "sha256": sha256(path)}
    if vocabulary:
        checkpoint |= {"vocabulary": str(vocabulary), "vocabulary_sha256": sha256(vocabulary)}
    new = {"data": "tiny", "method": METHOD[name], "profile": "published", "checkpoint": checkpoint}
    write_params(Path("."), {**CHANGES, "runs.new": new, **changes})


def imported(observer: Any = None) -> Any:
    """Import and evaluate run `new`; its run.json."""
    params = load()
    run = import_run(params, "new", observer or Silent())
    evaluate(params, "new")
    return read_json(run / "run.json")


def similarity(name: str) -> bytes:
    return Path("evaluations", "tiny", name, "similarity.npy").read_bytes()


def refusal() -> str:
    with pytest.raises(DataError) as caught:
        import_run(load(), "new", Silent())
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
        kept = Path("f30k_precomp_vocab.json" if name != "three" else "vocab.txt")
        source = Path(name, kept) if name != "three" else Path("data/tiny/vocab/wordpieces.txt")
        vocabulary = Path(shutil.copy(source, kept))
        shutil.rmtree("data/tiny/vocab")
    added(name, vocabulary=vocabulary)
    imported()
    assert similarity("new") == similarity(name)
    assert {path.name for path in Path("runs/tiny/new").iterdir()} == {"model.safetensors", "run.json", "text"}


def test_its_record_says_where_it_comes_from_and_claims_no_training(folder: Path) -> None:
    added("one")
    described, trained = imported(), read_json(Path("runs/tiny/one/run.json"))
    path = Path("one/model_best.pth")
    epochs = read_json(Path("runs/tiny/one/history.json"))["epochs"]
    assert described["checkpoint"] == {
        "path": str(path),
        "sha256": sha256(path),
        "epoch": trained["best_epoch"],
        "best_rsum": epochs[trained["best_epoch"] - 1]["dev"]["rsum"],
    }
    nothing = {"seed": None, "train_seconds": None, "origin": "imported", "selected_on": "unknown: imported"}
    assert nothing.items() <= described.items()
    assert "training" not in described and "device" not in described
    same = ("family", "settings", "features", "data_digest", "width", "parameters", "text_digest")
    assert {key: described[key] for key in same} == {key: trained[key] for key in same}
    result = read_json(Path("evaluations/tiny/new/metrics.json"))
    assert (result["origin"], result["family"], result["seed"]) == ("imported", "esa_bigru", None)
    assert result["checkpoint"] == described["checkpoint"]


@pytest.mark.parametrize("name", METHOD)
def test_sizes_are_the_checkpoints_whatever_the_method_says(name: str, folder: Path) -> None:
    model = f"methods.{METHOD[name]}.model"
    changes: dict[str, Any] = {f"{model}.dim": 64}
    if name == "three":  # another BERT, whose word pieces are not the data set's
        changes[f"{model}.text"] = {"kind": "bert", "weights": "lab/other", "dropout": 0.1}
    else:
        changes[f"{model}.text.word_dim"] = 5
    added(name, vocabulary=Path("data/tiny/vocab/wordpieces.txt") if name == "three" else None, **changes)
    described = imported()
    assert described["settings"]["model"]["dim"] == 16
    assert similarity("new") == similarity(name)


@pytest.mark.parametrize("name", METHOD)
@pytest.mark.parametrize("wrapped", [False, True])
def test_data_parallels_prefix_makes_no_difference(name: str, wrapped: bool, folder: Path) -> None:
    path = Path(name, "model_best.pth")
    content = torch.load(path, weights_only=False)
    parts = [
        {("module." if wrapped else "") + key.removeprefix("module."): value for key, value in part.items()}
        for part in content["model"]
    ]
    torch.save({**content, "model": parts}, "changed.pth")
    added(name, Path("changed.pth"))
    imported()
    assert similarity("new") == similarity(name)


def test_a_released_file_that_says_little_of_its_training_is_imported(folder: Path) -> None:
    content = torch.load("one/model_best.pth", weights_only=False)
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
    before, after = read(Path(name, "model_best.pth")), None
    export_run(Path("runs/tiny/new"), Path("again/model_best.pth"))
    after = read(Path("again/model_best.pth"))
    for first, second in zip(before.parts, after.parts, strict=True):
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert (after.epoch, after.best_rsum, after.options) == (before.epoch, before.best_rsum, before.options)


def test_imported_and_trained_runs_make_an_ensemble(folder: Path) -> None:
    added("two", **{"ensembles.both": {"data": "tiny", "runs": ["one", "new"]}})
    imported()
    evaluate_ensemble(load(), "both")
    one, new, both = (
        np.load(Path(kind, "tiny", name, "similarity.npy"))
        for kind, name in (("evaluations", "one"), ("evaluations", "new"), ("ensembles", "both"))
    )
    np.testing.assert_allclose(both, (one + new) / 2, atol=1e-6)
    result = read_json(Path("ensembles/tiny/both/metrics.json"))
    assert (result["selected_on"], result["family"]) == ("dev, unknown: imported", None)


def change_checkpoint() -> None:
    added("one")
    shutil.copy("two/model_best.pth", "one/model_best.pth")


def remove_checkpoint() -> None:
    added("one")
    Path("one/model_best.pth").unlink()


def change_vocabulary() -> None:
    added("one", vocabulary=Path("one/f30k_precomp_vocab.json"))
    write_json(Path("one/f30k_precomp_vocab.json"), read_json(Path("one/f30k_precomp_vocab.json")))
    with open("one/f30k_precomp_vocab.json", "a") as file:
        file.write(" ")


def remove_vocabulary() -> None:
    added("one", vocabulary=Path("one/f30k_precomp_vocab.json"))
    Path("one/f30k_precomp_vocab.json").unlink()


def other_size(name: str) -> Callable[[], None]:
    def change() -> None:
        if name == "three":
            pieces = Path("data/tiny/vocab/wordpieces.txt").read_text().splitlines()
            Path("small.txt").write_text("\n".join(pieces[:-1]) + "\n")
            added(name, vocabulary=Path("small.txt"))
        else:
            path = Path("data/tiny/vocab/vocab.json")
            words = Vocabulary.load(path, Path("data/nltk"))
            Vocabulary(words.words[:-1], words.tokenizer).save(path)
            added(name)

    return change


def other_width() -> None:
    content = torch.load("one/model_best.pth", weights_only=False)
    for entry in ("fc.weight", "mlp.layers.0.weight"):
        content["model"][0][entry] = content["model"][0][entry][:, :10].clone()
    torch.save(content, "narrow.pth")
    added("one", Path("narrow.pth"))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (
            change_checkpoint,
            r"^one/model_best\.pth: SHA-256 \w{64}; expected \w{64}, as when runs\.new was added\. Put",
        ),
        (remove_checkpoint, r"^one/model_best\.pth: cannot be read \(No such file.*the file that runs\.new imports"),
        (change_vocabulary, r"^one/f30k_precomp_vocab\.json: SHA-256 .*as when runs\.new was added"),
        (remove_vocabulary, r"^one/f30k_precomp_vocab\.json: cannot be read"),
        (
            other_size("one"),
            r"^data/tiny/vocab/vocab\.json: a vocabulary of \d+ tokens.*expected \d+, as many.*--vocab",
        ),
        (other_size("three"), r"^small\.txt: a vocabulary of 199 tokens, .*expected 200, as many"),
        (other_width, r"^narrow\.pth: trained on region features of width 10; expected 16, as tiny has them"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_fit_is_one_error_and_leaves_no_run(folder: Path, prepare: Any, says: str) -> None:
    prepare()
    assert re.search(says, said := refusal()), said


def test_an_import_that_fails_keeps_the_folder_of_an_earlier_one(folder: Path, monkeypatch: Any) -> None:
    added("one")
    imported()
    before = sorted((path, path.read_bytes()) for path in Path("runs/tiny/new").rglob("*") if path.is_file())

    class Watching(Silent):
        failed = 0

        def fail(self) -> None:
            self.failed += 1

    def full(*_: Any) -> None:
        raise OSError("disk full")

    observer = Watching()
    monkeypatch.setattr("itrcore.released.run.save_file", full)
    with pytest.raises(OSError, match="disk full"):
        import_run(load(), "new", observer)
    assert observer.failed == 1
    assert sorted((path, path.read_bytes()) for path in Path("runs/tiny/new").rglob("*") if path.is_file()) == before
    assert [path.name for path in Path("runs/tiny").iterdir() if path.name.startswith(".")] == []


def test_an_export_takes_its_vocabulary_along_and_overwrites_no_other(folder: Path) -> None:
    exported = export_run(Path("runs/tiny/one"), Path("here/model_best.pth"))
    assert exported.vocabulary == Path("here/f30k_precomp_vocab.json") and exported.cautions == []
    words = Vocabulary.load(exported.vocabulary, Path("data/nltk")).words
    assert words == Vocabulary.load(Path("data/tiny/vocab/vocab.json"), Path("data/nltk")).words
    write_json(exported.vocabulary, {"word2idx": {word: i for i, word in enumerate(words)}, "mine": True})
    export_run(Path("runs/tiny/one"), Path("here/model_best.pth"))
    assert read_json(exported.vocabulary)["mine"]  # of the same words: as good as ours
    write_json(exported.vocabulary, {"word2idx": {}})
    Path("here/model_best.pth").unlink()
    with pytest.raises(DataError, match=r"here/f30k_precomp_vocab\.json: another vocabulary; .*into another folder"):
        export_run(Path("runs/tiny/one"), Path("here/model_best.pth"))
    assert {path.name for path in Path("here").iterdir()} == {"f30k_precomp_vocab.json"}
    assert export_run(Path("runs/tiny/three"), Path("here/model_best.pth")).vocabulary is None


def test_an_export_never_takes_the_place_of_a_folder(folder: Path) -> None:
    Path("mine").mkdir()
    Path("mine/precious").write_text("x")
    with pytest.raises(DataError, match=r"^mine: a folder; expected the file to write, such as mine/model_best\.pth"):
        export_run(Path("runs/tiny/one"), Path("mine"))
    assert Path("mine/precious").read_text() == "x"


def test_a_method_without_released_code_is_not_exported(folder: Path) -> None:
    run = read_json(Path("runs/tiny/two/run.json"))
    run["settings"]["model"]["pooling"] = {"kind": "mean"}
    write_json(Path("runs/tiny/two/run.json"), run)
    with pytest.raises(ConfigError, match="vse_pp_bigru has no released checkpoints"):
        export_run(Path("runs/tiny/two"), Path("x.pth"))
    assert not Path("x.pth").exists()
