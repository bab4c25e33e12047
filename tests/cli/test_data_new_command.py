"""`itr data new` on the command line: its errors, and the run that it proposes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.settings.load import load
from tests.support.own_table import two_each, write_array, write_csv
from tests.support.tiny_project import write_params


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    return tmp_path


def test_the_command_shows_an_error_as_its_message(project: Path) -> None:
    result = CliRunner().invoke(app, ["data", "new", "mine", "--captions", "absent.csv", "--images", "."])
    assert result.exit_code == 1
    assert (
        result.output
        == "error: absent.csv: cannot be read (No such file or directory); expected a CSV file of captions.\n"
    )


ONE = {"data": "tiny", "method": "esa", "seed": 1, "variant": "wide", "profile": "small"}


PUBLISHED = {"data": "tiny", "method": "esa", "seed": 1}
SMALL = {"recipe": {"batch_size": 4}}
# What does not suit a small data set, or does not fit it or any method that reads regions.
PROFILES = {
    "large": {"recipe": {"batch_size": 64}},
    "longer": {"recipe": {"epochs": 9}},
    "of_clip": {"model": {"text": {"strip": ""}}, **SMALL},
}


@pytest.mark.parametrize(
    ("runs", "profiles", "proposed"),
    [
        ({"one": ONE}, {"small": SMALL}, {**ONE, "data": "mine"}),
        ({"one": PUBLISHED, "two": ONE}, {"small": SMALL}, {**ONE, "data": "mine"}),
        ({"one": PUBLISHED}, {**PROFILES, "small": SMALL}, {**PUBLISHED, "data": "mine", "profile": "small"}),
        ({}, {**PROFILES, "small": SMALL}, {**PUBLISHED, "data": "mine", "profile": "small"}),
        ({"one": PUBLISHED}, PROFILES, {**PUBLISHED, "data": "mine"}),
        ({}, {}, {**PUBLISHED, "data": "mine"}),
    ],
    ids=["as there are", "a small one", "a profile", "no runs", "no small profile", "neither"],
)
def test_the_run_that_the_command_proposes_is_valid_like_those_that_are_there_and_small(
    project: Path, runs: dict[str, Any], profiles: dict[str, Any], proposed: dict[str, Any]
) -> None:
    changes = {
        "methods.esa.variants": {"wide": {"model": {"dim": 32}}},
        "profiles": profiles,
        "runs": runs,
        "ensembles": {},
    }
    write_params(project, changes)
    write_array()
    write_csv(two_each())
    arguments = ["new", "mine", "--captions", "c.csv", "--features", "f.npy", "--kind", "synthetic"]
    result = CliRunner().invoke(app, ["data", *arguments])
    assert result.exit_code == 0, result.output
    assert ("for many more images" in result.output) == ("profile" not in proposed)
    *_, line, _, command = (line.strip() for line in result.output.splitlines())
    yaml = YAML()
    assert yaml.load(line) == {"mine-esa-1": proposed} and command == "dvc repro judge@mine-esa-1"
    params = yaml.load(Path("params.yaml"))
    params["runs"] |= yaml.load(line)
    yaml.dump(params, Path("params.yaml"))
    assert load().method_of("mine-esa-1").family == "esa_bigru"
