"""A run's log stays small, and costs no training whatever its disk does. What it holds: tests/tracking/test_tracker.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from itrcore.spoken import stamped
from itrcore.terminal import say
from itrcore.training import transcript
from itrcore.training.transcript import Transcript, transcribed


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "MOST", 4000)
    monkeypatch.setattr(transcript, "_FIRST", 400)
    log = Transcript(tmp_path / "log.txt")
    for number in range(1000):
        log.hear(stamped("train@one", f"line {number}"))
    lines = log.path.read_text("utf-8").splitlines()
    assert log.path.stat().st_size <= 4000 and lines[0].endswith("line 0") and lines[-1].endswith("line 999")
    assert any(re.fullmatch(r"… \d+ lines are left out here", line) for line in lines)


def test_a_full_disk_costs_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with transcribed(tmp_path / "log.txt", "train@one"):
        say("first")
        say("second")
    told = capsys.readouterr()
    assert told.out == "first\nsecond\n" and told.err.count("warning:") == 1
    assert "log.txt is not complete: No space left on device" in " ".join(told.err.split("\n"))
