"""Data sets that `itr data new` made go through the real stages; the commands of docs/your-own-data.md work as written."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from itrcore import layout
from itrcore.data import captions
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.source import Source
from itrcore.own_data.make import make
from itrcore.settings.load import load
from stages import raw, shards, splits, vocab
from tests.support.project import ROOT, Project
from tests.support.tiny_project import train_in, write_params

PAGE = (ROOT / "docs" / "your-own-data.md").read_text("utf-8")


def block(start: str) -> str:
    """The one fenced block that begins with these characters."""
    (text_of_block,) = [text for text in re.findall(r"```\w*\n(.*?)```", PAGE, re.S) if text.startswith(start)]
    return str(text_of_block)


@pytest.mark.parametrize("pictures", [False, True])
def test_features_of_different_numbers_of_regions_reach_a_training(
    pictures: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    arrays = {f"{i}.png": np.random.default_rng(i).normal(size=(1 + i % 4, 8)).astype(np.float16) for i in range(30)}
    _write(arrays)
    images = Path("pictures") if pictures else None
    make("mine", Path("c.csv"), features=Path("features"), kind="synthetic", images=images, dev=5, test=5)
    _run_stages()
    for split in ("train", "dev", "test"):
        store = FeatureStore(layout.region_shards("mine"), split)
        for row, image in enumerate(captions.read(layout.captions("mine"), split)):
            assert image.file_name is not None
            (regions,) = store.gather([row])[0]
            np.testing.assert_array_equal(regions, arrays[image.file_name].astype(np.float32))
            assert image.captions == [f"picture {image.file_name}", "a picture"]
    assert layout.image_shards("mine").exists() == pictures
    assert Source.read(layout.raw("mine")).pictures == ("pictures" if pictures else None)
    params = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text("utf-8"))
    params["runs"]["one"]["data"] = "mine"
    params["ensembles"] = {}
    with open("params.yaml", "w", encoding="utf-8") as handle:
        YAML(typ="safe", pure=True).dump(params, handle)
    assert (train_in(tmp_path) / "model.safetensors").is_file()


def test_pictures_alone_reach_their_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    _write({f"{i}.png": np.zeros((1, 1)) for i in range(10)})
    make("mine", Path("c.csv"), images=Path("pictures"))
    _run_stages()
    held = []
    for path in layout.image_shards("mine").glob("*.tar"):
        with tarfile.open(path) as tar:
            held += [tar.extractfile(item).read() for item in tar if item.name.endswith(".png")]  # type: ignore[union-attr]
    assert sorted(held) == sorted(path.read_bytes() for path in Path("pictures").iterdir())
    assert not layout.region_shards("mine").exists()


def test_a_killed_process_leaves_nothing_that_disturbs_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    _write({f"{i}.png": np.full((1, 2), i, np.float32) for i in range(10)})
    before = Path("params.yaml").read_bytes()
    code = (
        "import os, signal; from pathlib import Path; from itrcore.own_data.make import make\n"
        "def progress(done, total):\n"
        "    if done == total - 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "make('mine', Path('c.csv'), features=Path('features'), kind='synthetic', progress=progress)"
    )
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    assert Path("params.yaml").read_bytes() == before and not Path("datasets/mine").exists()
    assert list(Path("datasets").iterdir())  # it was in the midst of writing
    dataset = make("mine", Path("c.csv"), features=Path("features"), kind="synthetic")
    assert [path.name for path in Path("datasets").iterdir()] == ["mine"]
    assert sum(n for n, _ in dataset.counts.values()) == 10


def _write(arrays: dict[str, np.ndarray]) -> None:
    """c.csv with two captions for each image, features/ and pictures/, no two the same."""
    Path("features").mkdir()
    Path("pictures").mkdir()
    rows = ["image,caption"]
    for number, (name, array) in enumerate(arrays.items()):
        rows += [f"{name},picture {name}", f"{name},a picture"]
        np.save(f"features/{name}.npy", array)
        Image.new("RGB", (6, 6), (number, 0, 0)).save(f"pictures/{name}")
    Path("c.csv").write_text("\n".join(rows), "utf-8")


def _run_stages() -> None:
    params = load()
    for stage in (raw, splits, vocab, shards):
        stage.main(params, "mine")


@pytest.mark.slow
def test_the_worked_example_leads_from_a_table_to_the_leaderboard(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", warm=True)
    # itr, dvc and python as they are called there, of this environment and with this code.
    tools = {"itr": [project.python, "-m", "itrcore.cli"], "dvc": [project.python, "-m", "dvc"]}

    def run(line: str) -> str:
        program, *arguments = shlex.split(line)
        return project.run(*tools[program], *arguments).stdout

    project.run(sys.executable, "-c", block("import csv"))
    output = run(block("itr data new drawn"))
    assert output.startswith(block("train: 192 images"))
    assert "dvc repro judge@drawn-" in output

    shown = YAML(typ="safe", pure=True).load(block("datasets:\n  drawn"))
    params = project.params
    assert params["datasets"]["drawn"] == shown["datasets"]["drawn"]
    params |= {"runs": shown["runs"], "ensembles": {}}
    project.write_params(params)
    assert "1 runs" in run("itr check")
    run(block("dvc repro judge@drawn"))
    report, leaderboard = block("dvc repro report").splitlines()
    run(report)
    assert "drawn: test, 24 images, 48 captions, synthetic features" in run(leaderboard)

    (name,) = shown["runs"]
    result = json.loads((project.folder / "results/drawn" / name / "metrics.json").read_text("utf-8"))
    assert result["metrics"]["rsum"] > 3 * 100 * (1 + 5 + 10) / 24  # three times what a random order gives one way
    assert list((project.folder / "data/drawn/shards/images").glob("test-*.tar"))
    assert list((project.folder / "report/pictures/drawn").glob("*.jpg"))
