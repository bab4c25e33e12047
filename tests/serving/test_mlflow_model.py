"""The MLflow model of a data set: the best run on dev is its champion, and `mlflow models serve` answers with what that finds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

import itrcore
from itrcore.cli.app import app
from itrcore.data import captions
from itrcore.data.feeding.prepared import open_split
from itrcore.evaluation import efficiency
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.files import sha256
from itrcore.serving.registering import best_on_dev, keep_champions
from itrcore.settings.load import load
from itrcore.tracking.synchronise import synchronise
from tests.serving.conftest import SETS, VECTORS
from tests.support.mlflow_store import Store
from tests.support.tiny_project import ROOT, rewrite
from tests.support.traces import traces

MODEL = "itr-tiny"


@pytest.fixture(scope="module")
def evaluated(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose runs are judged; on dev the run `words` is better."""
    folder = tmp_path_factory.mktemp("evaluated") / "project"
    shutil.copytree(project, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(efficiency, "SECONDS", 0.0)
        for name, rsum in ((SETS, 300.0), (VECTORS, 200.0)):
            rewrite(folder / "runs/tiny" / name / "run.json", dev_rsum=rsum)
            evaluate(load(), name)
            judge(load(), name)
    return folder


def champion(store: Store) -> Any:
    return store.client.get_model_version_by_alias(MODEL, "champion")


def digest(name: str) -> str:
    return sha256(Path("runs/tiny", name, "run.json"))


@pytest.mark.slow
def test_the_champion_follows_the_best_run_on_dev_and_answers_over_http(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(evaluated)
    params = load()
    synchronise(params)
    assert keep_champions(params) == {}  # nobody asked for models
    done = CliRunner().invoke(app, ["register", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"registered": {MODEL: {"run": SETS, "dev_rsum": 300.0}}}
    store = Store()
    assert (
        traces(evaluated / "mlartifacts", [str(evaluated), str(ROOT), f"{Path.home()}/", f"{tempfile.gettempdir()}/"])
        == []
    )
    assert (str(champion(store).version), champion(store).tags["itr.result"]) == ("1", digest(SETS))
    assert keep_champions(params, begin=True) == {}
    # The other run is better now: its record says so, and its results are of it.
    rewrite(Path("runs/tiny", VECTORS, "run.json"), dev_rsum=400.0)
    assert best_on_dev(params, "tiny").name == SETS  # its results are of an earlier training
    evaluate(params, VECTORS)
    judge(params, VECTORS)
    synchronise(params)
    assert [run.name for run in keep_champions(params).values()] == [VECTORS]
    assert (str(champion(store).version), champion(store).tags["itr.result"]) == ("2", digest(VECTORS))
    # A store that was moved is served too.
    shutil.copytree(evaluated, tmp_path / "moved")
    shutil.rmtree(evaluated / "mlartifacts")
    monkeypatch.chdir(tmp_path / "moved")
    synchronise(load())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    )  # MLflow looks for uvicorn there
    environment = {
        **os.environ,
        "PATH": path,
        "MLFLOW_TRACKING_URI": f"sqlite:///{Path.cwd()}/mlflow.db",
        "OMP_NUM_THREADS": "1",
    }
    command = ["models", "serve", "-m", f"models:/{MODEL}@champion", "--env-manager", "local", "-p", str(port)]
    with open(tmp_path / "log", "w") as log:
        served = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command], cwd=tmp_path, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                assert requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).status_code == 200
                break
            except requests.ConnectionError:
                assert served.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
        table = captions.read(Path("data/tiny/captions.parquet"), "test")
        texts = [image.captions[0] for image in table[:3]]
        asked = {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}, "params": {"k": 2}}
        answer = requests.post(f"http://127.0.0.1:{port}/invocations", json=asked, timeout=60)
        assert answer.status_code == 200, answer.text
        run = itrcore.load(f"runs/tiny/{VECTORS}", "cpu")
        images = run.encode_stored(open_split("tiny", "test", run.tokeniser, run.method.input).images)
        expected = [
            (query, rank, table[match.item].image_id, table[match.item].file_name, pytest.approx(match.score, abs=1e-6))
            for query, matches in enumerate(run.search(texts, images, 2))
            for rank, match in enumerate(matches, 1)
        ]
        found = [tuple(row.values()) for row in answer.json()["predictions"]]
        assert found == expected
        wrong = requests.post(
            f"http://127.0.0.1:{port}/invocations", json={"dataframe_records": [{"no": 1}]}, timeout=60
        )
        assert wrong.status_code == 400
    finally:
        os.killpg(served.pid, signal.SIGKILL)
        served.wait()
    model = Path("mlartifacts/tiny", champion(Store()).run_id, "artifacts/model")
    assert not list(model.rglob("*.pkl")) and (model / "mlflow_model.py").exists()
    assert json.loads((model / "input_example.json").read_text())
