"""A file of settings: what is no YAML, no mapping or not there is one clear line with the file; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import ConfigError
from itrcore.settings.load import load
from tests.support.small_experiment import RECIPE, SMALL, VSE, plain, write


def test_a_key_given_twice_is_refused_with_its_line(complaints: Any) -> None:
    text = SMALL.replace("report: {title: test}", "report:\n  title: a\n  title: b\n")
    (line,) = complaints(text)
    number = text.splitlines().index("  title: b") + 1
    assert (
        line
        == f', line {number}: found duplicate key "title" with value "b" (original value: "a"); remove one of the two'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("report: {title: [}", "line 1: not valid YAML"),
        ("", "expected a mapping of sections (root, downloads, datasets"),
        ("- 1", "expected a mapping of sections"),
        ("runs: {2026-01-01: 1}", "the key 2026-01-01 is not text but date; put it in quotes"),
        ("runs: {1: 1}", "runs.1: the key 1 is not text but int; put it in quotes"),
        ("? [a, b]\n: 1", "is not text but"),
        ("report: {title: 2026-01-01}", "report.title: 2026-01-01 is not text but date; put it in quotes"),
        ("report: &a {title: *a}", "report.title: this anchor holds itself"),
        ("report: !!python/object:os.system {}", "not valid YAML"),
        ("report: !!set {a, b}", "report"),
        ("report: {title: \0}", "not valid YAML"),
        (b"report: \xff", "cannot be read as UTF-8 text"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_what_is_no_such_file_at_all_is_a_clear_error(text: str | bytes, message: str, complaints: Any) -> None:
    assert any(message in line for line in complaints(text))


def test_a_file_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml: not found; run from a folder that holds params\.yaml"):
        load(tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_yaml_1_2_numbers_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL.replace("{epochs: 4", "{learning_rate: 5e-4, epochs: 4"))
    assert load(path).method_of("one").recipe.learning_rate == 5e-4
    (tmp_path / VSE).write_text(RECIPE.replace("5.0e-4", "6e-4"))
    assert load(path).recipes["vse"].settings.recipe.learning_rate == 6e-4


def test_a_list_is_replaced_whole_and_a_mapping_key_by_key(tmp_path: Path) -> None:
    data = plain()
    data["methods"]["vse"]["recipe"]["schedule"]["epochs"] = [10, 20]
    data["methods"]["vse"]["variants"]["slow"]["recipe"] = {"schedule": {"epochs": [5]}}
    schedule: Any = load(write(tmp_path, data)).method_with("vse", "slow").recipe.schedule
    assert (schedule.epochs, schedule.factor) == ([5], 0.1)
