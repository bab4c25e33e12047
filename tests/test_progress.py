"""Progress: bars on a terminal, and in logs nothing but lines."""

from __future__ import annotations

import pytest

from itrcore.progress import byte_bars, count_bars, counting


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "120"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)


def test_a_log_gets_one_closing_line_of_what_was_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with counting("tiny: features", "images") as count:
        for done in range(1001):
            count(done, 1000)
    assert capsys.readouterr().out == "tiny: features: 1,000 images\n"


def test_a_terminal_gets_a_bar_that_stays(capsys: pytest.CaptureFixture[str], terminal: None) -> None:
    with counting("tiny: features", "images") as count:
        count(7, 7)
    shown = capsys.readouterr().out
    assert "tiny: features" in shown and "7/7" in shown and "images" not in shown


def test_an_error_in_the_middle_leaves_no_closing_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), counting("tiny", "images") as count:
        count(3, 7)
        raise ValueError
    assert capsys.readouterr().out == ""


def test_a_bar_for_each_thing_and_full_ones_go(terminal: None) -> None:
    with count_bars() as bars:
        bars.show("captions", 1, 2)
        bars.show("features", 3, None)
        bars.show("captions", 2, 2)
        assert [(task.description, task.completed) for task in bars.drawn.tasks] == [("features", 3)]


def test_lines_are_printed_whole_everywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    line = "a.zip: 2,000 bytes from [https://example.org/a.zip]"
    with byte_bars() as bars:
        bars.show("a.zip", 1000, 2000)
        bars.say(line)
    assert capsys.readouterr().out == f"{line}\n"
