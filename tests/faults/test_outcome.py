"""What the campaign must see: work done again, another result, a figure that MLflow holds twice, a traceback, a file left over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from itrcore.files import write_json
from tests.faults.campaign import Trial, kind_of, table
from tests.faults.damage import advice
from tests.faults.faults import KINDS
from tests.faults.outcome import Finding, Outcome, compared_in_mlflow, difference, left_over, repeated, seen
from tests.faults.pipeline import Attempt

COMMAND = ("dvc", "repro")


def attempt(*lines: str, code: int | None = 0) -> Attempt:
    return Attempt(COMMAND, code, "\n".join(lines) + "\n")


def trained(*epochs: int, code: int = 0) -> Attempt:
    lines = [f"epoch    {epoch}  loss 0.4  dev rsum  362.5" for epoch in epochs]
    return attempt("Running stage 'train@one':", "> python -m stages.train one", *lines, code=code)


@pytest.mark.parametrize(
    ("attempts", "lost"),
    [
        ([trained(1, 2, code=-9), trained(3)], False),
        ([trained(1, 2, code=-9), trained(2, 3)], False),  # killed after the line, before the state was saved
        ([trained(1, 2, 3, code=-9), trained(2, 3)], True),
        ([trained(1, code=-9), trained(code=-9), trained(1, 2, 3)], False),
        ([trained(1, 2, code=-9), trained(code=-9), trained(1, 2, 3)], True),
    ],
)
def test_a_training_that_begins_again_is_lost(attempts: list[Attempt], lost: bool) -> None:
    assert [finding.outcome for finding in repeated(attempts)] == [Outcome.LOST] * lost
    assert [*repeated(attempts, trainings=False)] == []


def test_a_stage_that_dvc_had_recorded_and_runs_again_is_lost() -> None:
    done = ["Running stage 'judge@one':", "> python -m stages.judge one", "Updating lock file 'dvc.lock'"]
    cut = attempt(*done, "Running stage 'report':", code=-9)
    assert [finding.what for finding in repeated([cut, attempt(*done)])] == ["judge@one ran again"]
    assert [*repeated([attempt(*done, code=-9), attempt(*done)])] == []  # killed while it wrote dvc.lock
    full = attempt(*done[:2], "ERROR: failed to transfer 'd39f' - [Errno 28] No space left on device", done[2])
    assert [*repeated([full, attempt(*done)])] == []  # DVC could not store it


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (attempt("error: params.yaml: wrong", code=1), None),
        (attempt("stopped; run it again to go on", code=130), None),
        (attempt("", code=None), Outcome.STUCK),
        (attempt("", code=1), Outcome.UGLY),
        (attempt("Traceback (most recent call last):", "ValueError: x", code=1), Outcome.UGLY),
        (
            attempt("ERROR: failed to reproduce 'a': failed to run: python -m stages.a, exited with -7", code=1),
            Outcome.UGLY,
        ),
    ],
)
def test_what_the_user_sees_is_judged(found: Attempt, outcome: Outcome | None) -> None:
    assert [finding.outcome for finding in seen(found)] == [outcome] * (outcome is not None)


def test_results_are_compared_without_times(tmp_path: Path) -> None:
    for name in ("undisturbed", "same", "other"):
        seconds = 2.0 if name == "same" else 1.0
        figures = {"rsum": 82.5 if name == "other" else 75.0, "train_seconds": seconds, "digest": str(seconds)}
        write_json(tmp_path / name / "results" / "metrics.json", figures)
    assert difference(tmp_path / "same", tmp_path / "undisturbed") == set()
    assert difference(tmp_path / "other", tmp_path / "undisturbed") == {"results/metrics.json"}
    (tmp_path / "same" / "runs").mkdir()
    (tmp_path / "same" / "runs" / ".one.5.tmp").touch()
    assert [finding.outcome for finding in left_over(tmp_path / "same")] == [Outcome.UGLY]


def store(folder: Path, *metrics: tuple[str, float, int], runs: int = 1, earlier: tuple[str, ...] = ()) -> Path:
    """An MLflow store with what the campaign reads. metrics: key, value, step; earlier: further runs, by their results"""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("create table runs (run_uuid, name, status, lifecycle_stage, artifact_uri)")
        for name in ("params", "tags"):
            database.execute(f"create table {name} (run_uuid, key, value)")
        for name in ("metrics", "latest_metrics"):
            database.execute(f"create table {name} (run_uuid, key, value, step, timestamp)")
        results = {str(runs + number): result for number, result in enumerate(earlier)}
        for number, result in results.items():
            tags = [(number, "current", "false"), (number, "itr.result", result)]
            database.executemany("insert into tags values (?, ?, ?)", tags)
        for number in range(runs + len(earlier)):
            database.execute(
                f"insert into runs values ('{number}', 'one', 'FINISHED', 'active', 'file:///x/mlartifacts/{number}')"
            )
        database.executemany("insert into metrics values ('0', ?, ?, ?, 0)", metrics)
        database.commit()
    return folder


def test_what_mlflow_holds_twice_or_otherwise_is_found(tmp_path: Path) -> None:
    undisturbed = store(tmp_path / "undisturbed", ("test/rsum", 75.0, 0))

    def outcomes(folder: Path) -> list[Outcome]:
        return [finding.outcome for finding in compared_in_mlflow(folder, undisturbed)]

    assert outcomes(store(tmp_path / "same", ("test/rsum", 75.0, 0))) == []
    assert outcomes(store(tmp_path / "again", ("test/rsum", 82.5, 0), ("test/rsum", 75.0, 1))) == []  # evaluated again
    assert outcomes(store(tmp_path / "metric", ("test/rsum", 75.0, 0), ("test/rsum", 75.0, 0))) == [Outcome.TWICE]
    assert outcomes(store(tmp_path / "run", ("test/rsum", 75.0, 0), runs=2)) == [Outcome.TWICE]
    assert outcomes(store(tmp_path / "earlier", ("test/rsum", 75.0, 0), earlier=("a", "b"))) == []
    assert outcomes(store(tmp_path / "result", ("test/rsum", 75.0, 0), earlier=("a", "a"))) == [Outcome.TWICE]
    assert outcomes(store(tmp_path / "value", ("test/rsum", 82.5, 0))) == [Outcome.TWICE, Outcome.WRONG]
    (tmp_path / "none").mkdir()
    assert outcomes(tmp_path / "none") == [Outcome.WRONG]


def test_the_advice_of_an_error_is_what_it_says_to_run() -> None:
    line = "error: runs/a/model.safetensors: its bytes have changed; expected it as it was written. Run: itr heal, then: dvc repro"
    assert [text.split(" -m ")[1] for text in advice(attempt(line, code=1))] == ["itrcore.cli heal", "dvc repro"]


def test_a_trial_follows_from_the_seed_and_its_number_alone() -> None:
    kinds = [kind_of(1, number) for number in range(1, 200)]
    assert kinds == [kind_of(1, number) for number in range(1, 200)] != [kind_of(2, number) for number in range(1, 200)]
    assert set(kinds) == set(KINDS)


def test_a_trial_counts_as_the_worst_of_its_findings() -> None:
    findings = (Finding(Outcome.WRONG, "a"), Finding(Outcome.REFUSED, "b"), Finding(Outcome.UGLY, "c"))
    trials = [Trial(1, 1, "flip", "a file", findings, 1.0), Trial(1, 2, "flip", "a file", (), 1.0)]
    assert [trial.outcome for trial in trials] == [Outcome.WRONG, Outcome.EQUAL]
    head, row = table(trials)
    assert head.split() == " ".join(Outcome).split()
    assert row.split() == ["flip", "1", *"–" * 6, "1"]
