"""A training of another checkout, from its MLflow store or a copied folder: the figures that it has there, or why not."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.files import read_json
from itrcore.runs import pulled
from itrcore.settings.load import load
from itrcore.tracking.live import LiveTraining
from itrcore.tracking.tracker import Tracker
from tests.support.mlflow_store import RESULTS, RUN, Store
from tests.support.tiny_project import rewrite, write_params

NEW = Path("runs/tiny/new")
ALONE = {"runs": {"mine": {"data": "tiny", "method": "esa", "seed": 7}}, "ensembles": {}}  # what the other checkout has


@pytest.fixture(scope="module")
def lab(templates: Path, tmp_path_factory: Any) -> Path:
    """The checkout that trained `one`, with its results in its MLflow store."""
    folder: Path = tmp_path_factory.mktemp("lab") / "lab"
    shutil.copytree(templates / "project", folder)
    shutil.copy(templates / "mlflow.db", folder)
    with contextlib.chdir(folder):
        assert Tracker().record(RUN, RESULTS)
    return folder


@pytest.fixture
def here(lab: Path, tmp_path: Path, monkeypatch: Any) -> Path:
    """Another checkout with the same data and other runs, none of them trained, as the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(lab / "data", tmp_path / "data")
    shutil.copytree(lab / RUN, tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, ALONE)
    return tmp_path


def pull(*arguments: str, name: str = "new") -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["pull", name, *arguments, "--no-evaluate"])


def test_a_run_of_another_checkouts_mlflow_has_the_same_figures_here(here: Path, lab: Path) -> None:
    source = "mlflow:tiny/one"
    done = pull("--from", source, "--store", f"sqlite:///{lab / 'mlflow.db'}")
    assert done.exit_code == 0, done.output
    trained = read_json(lab / RUN / "run.json")
    assert done.stdout.splitlines() == [  # MLflow's progress bar goes to standard error
        f"one, esa_bigru (published), seed 1, dev rsum {trained['dev_rsum']:.1f}, intact",
        "runs.new stands in params.yaml.",
        "Next: dvc repro judge@new",
    ]
    params = load()
    run = pulled.write_run(params, "new", LiveTraining(Tracker()))
    evaluate(params, "new")
    judge(params, "new")
    assert Tracker().record(run, Path("results/tiny/new"))
    ours, theirs = (read_json(path / "metrics.json") for path in (Path("results/tiny/new"), lab / RESULTS))
    same = ("metrics", "family", "profile", "dev_rsum", "selected_on", "data_digest", "parameters", "features")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert (ours["origin"], ours["seed"], ours["checkpoint"]["path"]) == ("imported", None, source)
    logged = Store().current("new")
    assert (logged.data.tags["origin"], logged.data.tags["checkpoint"].split()[0]) == ("imported", source)
    assert logged.data.metrics["test/rsum"] == theirs["metrics"]["rsum"]


def damaged() -> None:
    path = Path("copied/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def of_another() -> None:
    Path("copied/text/more.json").write_text("{}")


def lost() -> None:
    Path("copied/text/vocab.json").unlink()


def changed_record() -> None:
    path = Path("copied/run.json")
    path.write_text(path.read_text().replace('"dev_rsum"', '"dev_rsun"'))


def imported() -> None:
    rewrite(Path("copied/run.json"), origin="imported")


def other_features() -> None:
    inputs = read_json(Path("copied/run.json"))["inputs"]
    inputs["data"]["dev"]["regions"] = "0" * 64
    rewrite(Path("copied/run.json"), inputs=inputs)


def other_recipe() -> None:
    write_params(Path("."), {**ALONE, "methods.esa.recipe.clip_norm": 3.0})


def unprepared() -> None:
    shutil.rmtree("data/tiny/shards")


REFUSED: list[tuple[Callable[[], object], str]] = [
    (damaged, "error: copied: model.safetensors: is damaged; expected the files that run.json lists"),
    (of_another, "error: copied: text/more.json: is not of this run; expected"),
    (lost, "error: copied: text/vocab.json: is missing; expected"),
    (changed_record, "error: copied: run.json: damaged, or of another form; expected the record of a training."),
    (imported, "error: copied: the run is imported; expected a trained one"),
    (other_features, "error: copied: trained on other data (regions of dev: others); expected those of tiny"),
    (other_recipe, "error: copied: no variant or profile here gives the settings of its esa (published); recipe.clip_norm was"),
    (unprepared, "error: data/tiny: not prepared; expected its shards. Run: dvc repro inputs@tiny"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "says"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_damaged_or_does_not_fit_is_one_line_and_changes_nothing(
    here: Path, change: Callable[[], object], says: str
) -> None:
    change()
    before = Path("params.yaml").read_bytes()
    done = pull("--from", "copied")
    assert done.exit_code == 1 and done.output.startswith(says) and done.output.count("\n") == 1, done.output
    assert Path("params.yaml").read_bytes() == before and not list(Path().glob("pulled/*"))


def test_a_name_that_is_taken_is_refused_before_anything_is_read(here: Path) -> None:
    done = pull("--from", "mlflow:nowhere/none", "--store", "sqlite:///none.db", name="mine")
    assert done.exit_code == 1 and done.output.startswith("error: params.yaml: mine is there already; choose another")


def test_the_same_settings_under_another_name_and_other_code_are_taken_and_said(here: Path) -> None:
    changes = {**ALONE, "methods.esa.recipe.epochs": 9, "profiles": {"as_there": {"recipe": {"epochs": 3}}}}
    write_params(here, changes)
    inputs = read_json(Path("copied/run.json"))["inputs"]
    inputs["code"]["itrcore.methods.vse.esa"] = "0" * 64
    rewrite(Path("copied/run.json"), inputs=inputs)
    done = pull("--from", "copied")
    assert (
        done.exit_code == 0
        and "warning: trained with other code: itrcore/methods/vse/esa.py has changed." in done.output
    )
    assert load().runs["new"].profile == "as_there"


def test_what_was_pulled_and_changed_since_is_not_evaluated(here: Path) -> None:
    assert pull("--from", "copied").exit_code == 0
    rewrite(Path("pulled/new/run.json"), dev_rsum=600.0)
    with pytest.raises(
        Exception, match=r"^pulled/new/run\.json: another run's; expected that of when runs\.new was pulled"
    ):
        pulled.write_run(load(), "new", LiveTraining(Tracker()))
    assert not NEW.exists()
