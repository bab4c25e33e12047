"""--quiet and --json of every command of `itr`: a command that does not take them, or prints beside its document, fails here."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.protocols.uncertainty import FIGURES
from tests.support.tiny_project import ROOT, project, train_in


def commands(group: Any, *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, *above, name)
        else:
            yield (*above, name), command


EVERY = dict(commands(typer.main.get_command(app)))
ERROR = {"kind", "message", "where", "row", "found", "expected", "do"}


def itr(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, list(arguments))


def told(result: Any) -> Any:
    """The one document that standard output holds."""
    (line,) = result.stdout.splitlines()
    return json.loads(line)


@pytest.mark.parametrize("words", EVERY)
def test_every_command_takes_both_and_refuses_other_options_in_a_document(words: tuple[str, ...]) -> None:
    assert {"quiet", "json"} <= {parameter.name for parameter in EVERY[words].params}
    if words == ("up",):
        return  # in a process of its own: tests/flows/test_up.py
    refused = itr(*words, "--json", "--no-such-option")
    error = told(refused)["error"]
    assert refused.exit_code == 2 and error.keys() == ERROR and error["kind"] == "UsageError"
    assert error["message"].startswith("No such option: --no-such-option")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs with results, and captions and features of one's own, as the current folder."""
    folder = tmp_path_factory.mktemp("answers")
    params = project(folder)
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "own.csv").write_text(
        "image,caption,split\n"
        + "".join(f"{n}.jpg,a dog number {n},{split}\n" for n, split in enumerate(["train"] * 4 + ["dev", "test"]))
    )
    np.save(folder / "own.npy", np.random.default_rng(0).normal(size=(6, 3, 8)).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("one", "two"):
            train_in(folder, name)
            evaluate(params, name)
            judge(params, name)
        yield folder


# In this order: the later ones use what the earlier ones made, and the last ones change params.yaml.
ANSWERED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("check", {"runs": ["one", "two"], "not_there": {}}),
    ("leaderboard", {"missing": ["both"]}),
    ("leaderboard --protocol cxc", {"error": {"kind": "ConfigError"}}),
    ("compare one two", {"a": "one", "n_images": 8}),
    ("why one", {"run": "one"}),
    ("why nothing", {"error": {"kind": "ConfigError"}}),
    ("ensemble --search pairs", {"data": "tiny", "added": []}),
    ("index one --data tiny", {"index": "indexes/one-test", "pictures": 8, "left_out": {}}),
    ("search circle", {"query": "circle", "run": "one", "page": "searches/one-test/circle/index.html"}),
    ("search circle --index none", {"error": {"kind": "DataError", "where": "none/index.json", "found": "no such file"}}),
    ("export --run one --out out/one.pth", {"run": "one", "checkpoint": "out/one.pth"}),
    ("data check tiny", {"data": "tiny", "missing": {}}),
    ("data check tiny --verify", {"verified": ["data/tiny/shards/regions"]}),
    ("explain one", {"error": {"kind": "DataError"}}),
    ("serve one --data none", {"error": {"kind": "DataError"}}),
    ("pull one", {"error": {"kind": "ConfigError"}}),  # no repository of DVC
    ("data new own --captions own.csv --features own.npy --kind other", {"folder": "datasets/own"}),
    ("import --method esa --text bigru --dataset tiny --checkpoint out/one.pth --name again --no-evaluate", {"run": "again"}),
    ("experiment mine", {"folder": "experiments/mine"}),
)  # fmt: skip


def documented(call: str) -> set[str]:
    """The words in code of a command's line in the documentation."""
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    rows = [row.split("|")[1:3] for row in page.splitlines() if row.startswith("| `")]
    (fields,) = (fields for names, fields in rows for name in re.findall("`(.+?)`", names) if call.startswith(name))
    return set(re.findall("`(.+?)`", fields))


def test_what_can_be_answered_here_is_one_document_and_warnings_stand_elsewhere(
    trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for call, expected in ANSWERED:
        result = itr(*call.split(), "--json")
        answer = told(result)
        if (wanted := expected.get("error")) is None:
            assert result.exit_code == 0, (call, answer, result.stderr)
            assert {key: answer[key] for key in expected} == expected, call
            assert answer.keys() <= documented(call), call
        else:
            assert result.exit_code == 1 and answer["error"].keys() == ERROR, (call, answer)
            assert answer["error"].items() >= wanted.items(), (call, answer)
            assert answer["error"]["message"] in " ".join(result.stderr.split("\n"))
    assert capfd.readouterr().out == ""  # of a process that a command starts


def test_figures_are_those_that_people_read(trained: Path) -> None:
    board = told(itr("leaderboard", "--json"))["leaderboard"]["tiny"]
    shown = itr("leaderboard").stdout
    assert all(f"{row['rsum']:.1f}" in shown for row in board.values())
    assert set(told(itr("compare", "one", "two", "--json"))["figures"]) == set(FIGURES)


def test_quiet_leaves_out_what_to_do_next(trained: Path) -> None:
    itr("export", "--run", "two", "--out", "out/two.pth")
    wanted = "--method vse_infty --text bigru --dataset tiny --checkpoint out/two.pth --no-evaluate"
    quiet = itr("import", *wanted.split(), "--name", "quiet", "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (0, "")  # without it: tests/cli/test_import_command.py
    assert quiet.stderr.startswith("warning: the vocabulary of tiny is used")
    assert itr("leaderboard", "--quiet").stdout == itr("leaderboard").stdout
