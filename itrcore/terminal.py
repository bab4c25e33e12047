"""What a user reads on the terminal: lines and tables, and when something is wrong one coloured line, never a traceback."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from itrcore import interrupt
from itrcore.errors import ITRError, shown
from itrcore.progress import is_hushed
from itrcore.spoken import on_terminal

# Full disks, missing permissions, failing disks, a file in the place of a folder: nothing that the code could have got right.
_OUTSIDE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE,
    errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE,
}  # fmt: skip


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn an error that a user can mend into its message and exit status 1, and Ctrl-C into one line."""
    _name_files_in_utf8()
    interrupt.ready()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: not every encoding has every character
    try:
        with _other_words():
            yield
    except KeyboardInterrupt as error:
        _print("yellow bold", "stopped;", in_words(error).removeprefix("stopped; "))
        raise SystemExit(interrupt.STOPPED) from None
    except (ITRError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _OUTSIDE:
            raise
        _print("red bold", "error:", in_words(error))
        raise SystemExit(1) from None


def in_words(error: BaseException) -> str:
    """What a user is told of an error: its message, what the system refused and of which file, or what the code got wrong."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped; run it again to go on"
    if isinstance(error, OSError) and error.errno in _OUTSIDE:
        return shown(f"{_name(error)}: {error.strerror}. Mend that and run it again.")
    return str(error) if isinstance(error, ITRError) else shown(str(error) or repr(error))


def _name_files_in_utf8() -> None:
    """Start again where Python writes names of files in another encoding: a picture that it cannot write would not be there.

    What is printed stays in the terminal's encoding.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        environment = {"PYTHONIOENCODING": sys.stdout.encoding, **os.environ, "PYTHONUTF8": "1"}
        os.execve(sys.executable, sys.orig_argv, environment)


def _name(error: OSError) -> str:
    named = error.filename2 or error.filename  # of a copy, the file that is written
    return os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else "a file"


@contextmanager
def _other_words() -> Iterator[None]:
    """Logs and warnings of other libraries as they may be shown: some quote addresses with their passwords."""
    made, formatted = logging.getLogRecordFactory(), warnings.formatwarning

    def record(*args: Any, **more: Any) -> logging.LogRecord:
        line = made(*args, **more)
        with suppress(Exception):  # arguments that do not fit: logging itself reports them
            text = line.getMessage()
            if (clean := shown(text)) != text:  # else its parts stay what formatters of their own expect
                line.msg, line.args = clean, ()
            if line.levelno >= logging.WARNING:
                on_terminal(f"{line.levelname} {line.name}: {clean}", sys.stderr)
        return line

    def warning(*args: Any, **more: Any) -> str:
        text = shown(formatted(*args, **more))
        on_terminal(text.rstrip(), sys.stderr)
        return text

    logging.setLogRecordFactory(record)
    warnings.formatwarning = warning
    try:
        yield
    finally:
        logging.setLogRecordFactory(made)
        warnings.formatwarning = formatted


def say(text: str) -> None:
    """Print lines on standard output at once. What they quote of files and servers no terminal obeys."""
    text = shown(text)
    print(f"{text}\n", end="", flush=True)  # in one piece: other threads print too
    on_terminal(text, sys.stdout)


def remark(text: str) -> None:
    """As `say`, of progress or what may be done next: no result, and not said with --quiet."""
    if not is_hushed():
        say(text)


class Screen(Console):
    """Standard output for tables and colours. What is quoted in them no terminal obeys."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As `Console.render`, each piece of text as it may be shown."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else shown(text), style, control)


def warn(text: str) -> None:
    """Something went wrong that does not stop the work."""
    _print("yellow bold", "warning:", shown(text))


def _print(style: str, mark: str, text: str) -> None:
    Console(stderr=True).print(f"[{style}]{mark}[/] {escape(text)}", soft_wrap=True, highlight=False)
    on_terminal(f"{mark} {text}", sys.stderr)
