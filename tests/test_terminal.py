"""What a user reads when something is wrong: one line, that no terminal obeys and that gives no password away."""

from __future__ import annotations

import ast
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from itrcore.errors import DataError, ITRError, shown
from itrcore.interrupt import STOPPED
from itrcore.terminal import user_errors
from tests.support.project import ROOT


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


def test_files_are_named_in_utf8_whatever_the_system_says(tmp_path: Path) -> None:
    name = ascii("ß犬")
    code = f"""
from pathlib import Path
from itrcore.terminal import user_errors
with user_errors():
    Path({name}).touch()
    print({name}, Path({name}).exists())
"""
    env = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"\\xdf\\u72ac True\n"), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ß犬"]


def test_every_text_file_is_opened_with_its_encoding() -> None:
    """Else its bytes would depend on the machine that writes it."""
    missing = []
    for path in [*ROOT.glob("itrcore/**/*.py"), *ROOT.glob("stages/*.py"), *ROOT.glob("flows/*.py")]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and not _says_how(node):
                missing.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not missing


def _says_how(call: ast.Call) -> bool:
    """Whether a call that opens, reads or writes text names an encoding; others do not need one."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        return "encoding" in named or len(call.args) == (2 if name == "write_text" else 1)
    if name in ("run", "Popen", "check_output") and named & {"text", "universal_newlines"}:
        return bool(named & {"encoding", "errors"})
    if isinstance(call.func, ast.Name) and name == "open":
        mode = call.args[1] if len(call.args) > 1 else None
        constants = [node.value for node in ast.walk(mode) if isinstance(node, ast.Constant)] if mode else []
        return "encoding" in named or any("b" in value for value in constants if isinstance(value, str))
    return True
