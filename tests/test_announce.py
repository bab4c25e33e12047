"""What takes long is said once, what is done at once is not."""

from __future__ import annotations

import threading
import time

import pytest

from itrcore import announce
from itrcore.announce import announced


def test_what_is_done_at_once_prints_nothing_and_leaves_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    for number in range(20):
        with announced("Reading") as count:
            count(number, 20)
    assert capsys.readouterr().out == "" and set(threading.enumerate()) <= before


@pytest.mark.parametrize("counted", [False, True])
def test_what_takes_long_is_said_once_while_it_is_done(
    counted: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "PATIENCE", 0.02)
    with announced("Verifying 3 shards of train, 17.0 GB") as count:
        for done in range(4):
            time.sleep(0.1)
            if counted:
                count(done, 3)
        assert capsys.readouterr().out == "Verifying 3 shards of train, 17.0 GB\n"  # before it is done
    assert capsys.readouterr().out == ""


def test_an_error_ends_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "PATIENCE", 0.05)
    with pytest.raises(KeyboardInterrupt), announced("Reading"):
        raise KeyboardInterrupt
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_for_what_is_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "120"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(announce, "PATIENCE", 0.0)
    with announced("Verifying") as count:
        time.sleep(0.2)
        count(7, 20)
    assert "7/20" in capsys.readouterr().out
