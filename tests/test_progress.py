"""Progress: bars on a terminal, and in logs nothing but lines, one a minute of work that goes on."""

from __future__ import annotations

import re
import time

import pytest

from itrcore import progress
from itrcore.progress import ONGOING, Pace, byte_bars, clock, count_bars, counting, working


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


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines every twentieth of a second."""
    monkeypatch.setattr(progress, "EVERY", 0.05)


def test_a_log_gets_a_line_every_minute_of_the_innermost_work_that_goes_on(
    capsys: pytest.CaptureFixture[str], often: None
) -> None:
    lines: list[str] = []

    def wait_for(*wanted: str) -> None:
        """Until the next lines are these."""
        capsys.readouterr()
        before = len(lines)
        deadline = time.monotonic() + 20
        while len(lines) < before + 2 * len(wanted):
            assert time.monotonic() < deadline, lines
            time.sleep(0.02)
            lines.extend(re.sub(r"\d+:\d\d so far", "0:00 so far", capsys.readouterr().out).splitlines())
        assert lines[before + len(wanted) : before + 2 * len(wanted)] == list(wanted)

    with working("train one"):
        wait_for("train one, 0:00 so far")
        with byte_bars() as bars:
            wait_for("train one, 0:00 so far")  # nothing is known inside yet
            bars.show("a.zip", 1_000, 2_000_000)
            bars.show("b\x1b.zip", 5_000, None)
            bars.show("done.zip", 7, 7)
            wait_for("a.zip: 1.0 kB of 2.0 MB, 0:00 so far", "b\\x1b.zip: 5.0 kB, 0:00 so far")
        with working("inside"):
            wait_for("inside, 0:00 so far")
        wait_for("train one, 0:00 so far")
    assert all(ONGOING.search(line) for line in lines)


def test_no_line_comes_before_its_time_or_after_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with working("a stage"):
        time.sleep(0.1)
        assert capsys.readouterr().out == ""  # a minute is not over
    monkeypatch.setattr(progress, "EVERY", 0.02)
    with working("a stage"):
        time.sleep(0.1)
    time.sleep(0.1)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_no_lines(capsys: pytest.CaptureFixture[str], often: None, terminal: None) -> None:
    with working("a stage"), count_bars():
        time.sleep(0.12)
    assert "a stage" not in capsys.readouterr().out


def test_the_time_left_is_of_this_process_alone_and_without_the_slow_first_step() -> None:
    pace = Pace()
    pace.mark()  # a line before anything is known
    assert pace.speed is None and pace.time() == "0:00 so far"
    pace.tell(901, 1000, now=30.0)  # 900 by an earlier attempt; the first step took half a minute
    pace.mark()
    assert pace.speed is None
    pace.tell(911, 1000, now=40.0)
    for _ in range(20):  # while something else is done, lines come as before
        assert pace.speed == 1.0 and pace.time() == "1:29 left"
        pace.mark()


def test_an_hour_that_was_slower_is_forgotten_after_ten_lines() -> None:
    pace = Pace()
    for done, now in [(0, 0.0), *((done, 3600.0 + done) for done in range(60, 660, 60))]:
        pace.tell(done, 1200, now)
        pace.mark()
    assert pace.speed == 1.0
    assert (clock(0.4), clock(89.7), clock(3599.7), clock(90_061)) == ("0:00", "1:30", "1:00:00", "25:01:01")
