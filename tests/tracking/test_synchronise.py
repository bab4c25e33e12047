"""Everything that has results is recorded, and what MLflow does not take is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from itrcore.settings.load import load
from itrcore.tracking.synchronise import synchronise
from tests.support.mlflow_store import Store


def test_everything_with_results_is_recorded_with_its_page_and_what_has_none_is_named(folder: Path) -> None:
    for page in ("runs/one.html", "ensembles/both.html"):
        (folder / "report" / page).parent.mkdir(parents=True)
        (folder / "report" / page).write_text("<p>page</p>")
    shutil.rmtree("results/tiny/two")
    outcome = synchronise(load())
    assert (outcome.held, outcome.refused, outcome.missing) == (["one", "both"], [], ["two"])
    assert [len(Store().runs(name)) for name in ("one", "two", "both")] == [1, 0, 1]
    assert "report/runs/one.html" in Store().files(Store().one())
    assert "report/ensembles/both.html" in Store().files(Store().one("both"))
    before = Store().content(), Store().content("both")
    synchronise(load())
    assert (Store().content(), Store().content("both")) == before


def test_what_mlflow_does_not_take_is_named_and_told_once(folder: Path, capsys: Any) -> None:
    Path("mlflow.db").write_text("this is no database" * 100)
    outcome = synchronise(load())
    assert (outcome.held, outcome.refused, outcome.missing) == ([], ["one", "two", "both"], [])
    assert capsys.readouterr().err.count("warning:") == 1
