"""The toy of docs/add-a-method.md: its very blocks, put into a copy of the project, give a method that learns."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.project import ROOT, Project, tiny_params

BLOCKS = re.findall(r"```(diff|python|yaml)\n(.*?)```", (ROOT / "docs" / "add-a-method.md").read_text("utf-8"), re.S)
FILES = [(kind, block) for kind, block in BLOCKS if block.startswith("# ")]  # the first line names the file
(RUNS,) = (YAML(typ="safe", pure=True).load(block)["runs"] for kind, block in BLOCKS if (kind, block) not in FILES)
((NAME, RUN),) = RUNS.items()


def put_into(folder: Path) -> list[Path]:
    """Apply the page's blocks that name a file, new ones and changes; the files."""
    changed = []
    for kind, block in FILES:
        first, _, content = block.partition("\n")
        path = folder / first.removeprefix("# ")
        if kind != "diff":
            assert not path.exists()
            path.parent.mkdir(exist_ok=True)
            path.write_text(content.lstrip("\n"), "utf-8")
        else:
            path.write_text(patched(path.read_text("utf-8"), content), "utf-8")
        changed.append(path)
    return changed


def patched(text: str, diff: str) -> str:
    """The text with a diff's changes; each line that stays or goes stands in it exactly once."""
    lines, waiting, at = text.splitlines(), list[str](), None
    for line in diff.splitlines():
        sign, line = line[:1], line[1:]
        if sign == "+" and at is None:
            waiting.append(line)
        elif sign == "+":
            lines.insert(at, line)
            at += 1
        else:
            assert lines.count(line) == 1, f"{lines.count(line)} lines {line!r}"
            at = lines.index(line)
            lines[at : at + 1] = waiting + ([line] if sign == " " else [])
            at, waiting = at + len(waiting) + (sign == " "), []
    assert not waiting
    return "\n".join(lines) + "\n"


def test_the_toy_touches_its_folder_a_recipe_and_one_line_of_the_registry() -> None:
    named = {Path(block.partition("\n")[0].removeprefix("# ")): (kind, block) for kind, block in FILES}
    kind, change = named.pop(Path("itrcore/registry.py"))
    assert kind == "diff" and [line[:1] for line in change.splitlines()[1:]] == [" ", "+"]
    assert {path.parent for path in named} == {Path("itrcore/methods/bilinear"), Path("recipes")}
    assert all(kind != "diff" and not (ROOT / path).exists() for path, (kind, _) in named.items())


def test_the_toy_takes_less_than_60_lines_in_all() -> None:
    added = [
        line
        for kind, block in BLOCKS
        for line in block.splitlines()
        if (line.startswith("+") and line != "+" if kind == "diff" else line.strip() and not line.startswith("# "))
    ]
    assert 20 < len(added) < 60


@pytest.mark.slow
def test_the_toy_learns_and_stands_on_the_leaderboard(tmp_path: Path) -> None:
    project = Project(tmp_path, warm=True)
    files = [path for path in put_into(tmp_path) if path.suffix == ".py"]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), *map(str, files)]
        done = subprocess.run(ruff, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    params = tiny_params(project.params)
    params["datasets"]["scenes"]["source"] |= {"images": {"train": 300, "dev": 50, "test": 50}, "width": 64}
    params |= {"runs": RUNS, "ensembles": {}}
    project.write_params(params)

    project.repro()

    result = json.loads((tmp_path / "results" / "scenes" / NAME / "metrics.json").read_text("utf-8"))
    assert (result["n_images"], result["family"]) == (50, RUN["method"])
    assert result["metrics"]["i2t_r1"] >= 20  # chance: 2
    assert result["metrics"]["t2i_mean"] <= 13  # chance: 25.5
    board = json.loads((tmp_path / "report" / "leaderboard.json").read_text("utf-8"))
    assert list(board["scenes"]) == [f"{RUN['method']}/published"]
