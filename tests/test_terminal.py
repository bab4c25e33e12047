"""What a user reads when something is wrong: one line, that no terminal obeys and that gives no password away."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from itrcore.errors import DataError, ITRError, shown
from itrcore.interrupt import STOPPED
from itrcore.terminal import user_errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;T\x07 dog", r"\x1b]0;T\x07 dog"),
        ("a\x9b31m\u202eb", r"a\x9b31m\u202eb"),
        ("name \udcff", r"name \udcff"),
        ("two\nlines, Straße, 犬", "two\nlines, Straße, 犬"),
        ("http://user:SECRET@host:1/x?a=1", "http://host:1/x?a=1"),
        ("http://user:SEC@RET@host/x", "http://host/x"),
        ("https://host/x?X-Amz-Signature=abc&b=2", "https://host/x?X-Amz-Signature=…&b=2"),
        ("mail a@b.org", "mail a@b.org"),
    ],
)
def test_what_is_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_every_error_is_shown_so() -> None:
    assert str(DataError.at("\x1b[31m", "http://a:b@c", "x")) == r"\x1b[31m: http://c; expected x."
    assert str(ITRError("\x07")) == r"\x07"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ITRError("wrong"), 1, "error: wrong"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "error: /x/y: No space left on device."),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "error: /x: Permission denied."),
        (KeyboardInterrupt(), STOPPED, "stopped; run it again to go on"),
    ],
)
def test_one_line(error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, user_errors():
        raise error
    assert ended.value.code == status and capsys.readouterr().err.startswith(line)


def test_a_fault_of_the_code_keeps_its_trace() -> None:
    with pytest.raises(FileNotFoundError), user_errors():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "x")


def test_other_encodings_show_what_they_can() -> None:
    code = "from itrcore.terminal import user_errors\nwith user_errors(): print('Straße 犬')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, b"Stra\\xdfe \\u72ac\n")
