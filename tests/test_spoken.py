"""Lines in files say when, how serious and who; on a terminal they stay as they are; a log hears both."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from itrcore.spoken import STAMP, heard, speaking
from itrcore.terminal import say, user_errors, warn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def talk() -> None:
    """What a stage and its libraries print."""
    say("one\ntwo")
    warn("slow")
    print("a bar: 10 %\ra bar: 100 %", end="\n", file=sys.stderr)
    with user_errors():
        logging.getLogger("library").warning("of a library")
    print("not ended", end="")


SAID = [
    ("INFO", "one"),
    ("INFO", "two"),
    ("WARNING", "warning: slow"),
    ("INFO", "a bar: 100 %"),
    ("INFO", "not ended"),
]


def parts(text: str) -> list[tuple[str, str, str]]:
    """Level, name and rest of each line."""
    found = [re.fullmatch(rf"{STAMP.pattern}(.*)", line) for line in text.splitlines()]
    assert all(found), text
    return [(each[1], each[2], each[3]) for each in found if each is not None]


def test_into_files_every_line_has_time_level_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    out, log = io.StringIO(), list[str]()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", out)
    with speaking("train@one"), speaking("another"), heard(log.append):
        talk()
        print(*("Traceback (most recent call last):", "  File x", "KeyError: 'bug'"), sep="\n", file=sys.stderr)
    assert sys.stdout is out
    lines = parts(out.getvalue())
    assert {who for _, who, _ in lines} == {"train@one"}
    told = [(serious, line) for serious, _, line in lines]
    assert told[:4] == SAID[:4]
    assert told[4:-1] == [
        ("ERROR", line) for line in ("Traceback (most recent call last):", "  File x", "KeyError: 'bug'")
    ]
    assert told[-1] == SAID[-1]  # the end of a line that has none
    assert parts("\n".join(log)) == lines[:-1]


def test_a_terminal_shows_them_as_they_are_and_a_log_has_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    out, errors, log = Terminal(), Terminal(), list[str]()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)
    with speaking("train@one"), heard(log.append):
        talk()
    assert out.getvalue().startswith("one\ntwo\n") and "train@one" not in out.getvalue() + errors.getvalue()
    lines = parts("\n".join(log))
    assert [each[::2] for each in lines] == [*SAID[:3], ("WARNING", "WARNING library: of a library")]


def test_threads_do_not_tear_each_others_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with speaking("x"):
        threads = [threading.Thread(target=lambda n=n: [say(f"{n} " * 50) for _ in range(50)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = parts(out.getvalue())
    assert len(lines) == 200 and {line for _, _, line in lines} == {f"{n} " * 50 for n in range(4)}


PROGRAM = """
import logging, warnings
from itrcore.errors import DataError
from itrcore.spoken import speaking
from itrcore.terminal import user_errors

with speaking("train@one"), user_errors():
    warnings.warn("deprecated")
    logging.warning("of a library")
    print("half", end="")
    raise DataError("first\\nsecond")
"""


def test_a_process_ends_with_all_that_it_and_its_libraries_said_in_its_pipes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and parts(done.stdout) == [("INFO", "train@one", "half")]
    told = [(serious, line) for serious, _, line in parts(done.stderr)]
    assert ("ERROR", "error: first") in told and ("WARNING", "WARNING:root:of a library") in told
    assert any(serious == "WARNING" and line.endswith("UserWarning: deprecated") for serious, line in told)
