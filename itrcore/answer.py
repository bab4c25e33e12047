"""What a command answers: lines for people, or with --json one JSON document on one line of standard output.

With --json all else that is printed meanwhile, by processes that are started too, goes to standard error; an error is a document as
well. With --quiet nothing is said of progress, or of what may be done next. docs/commands.md has the documents' fields.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import PurePath
from typing import Any, TextIO

from pydantic import BaseModel

from itrcore.errors import ITRError
from itrcore.progress import hushed
from itrcore.terminal import in_words, remark, say, user_errors

_document: TextIO | None = None  # where it goes; None: people read


@dataclass(frozen=True)
class Answer:
    """What a command has found or done.

    value: for programs, see `plain`; show: for people, lines or what prints them; then: what they may do next
    status: the exit status
    """

    value: object
    show: str | Callable[[], None] = ""
    then: str = ""
    status: int = 0


@contextmanager
def as_asked(quiet: bool, json: bool) -> Iterator[None]:
    """Around a command: its errors are shown as `user_errors` does, and what it tells in the form that was asked for."""
    with ExitStack() as stack:
        stack.enter_context(user_errors())
        if quiet:
            stack.enter_context(hushed())
        if json:
            stack.enter_context(_answering())
        yield


def tell(answer: Answer) -> None:
    """Print it, in the form that was asked for."""
    if _document is not None:
        print(document(answer.value), file=_document, flush=True)
        return
    if callable(answer.show):
        answer.show()
    elif answer.show:
        say(answer.show)
    if answer.then:
        remark(answer.then)


@contextmanager
def _answering() -> Iterator[None]:
    """Errors are documents too; all else goes to standard error."""
    global _document
    with _aside() as _document:
        try:
            yield
        except SystemExit:
            raise
        except BaseException as error:
            parts = error.parts if isinstance(error, ITRError) else None
            print(failure(type(error).__name__, in_words(error), parts), file=_document, flush=True)
            raise  # for people, on standard error
        finally:
            _document = None


@contextmanager
def _aside() -> Iterator[TextIO]:
    """Yield standard output; until the end sys.stdout and, if that is a file, its number lead to standard error."""
    out = sys.stdout
    with ExitStack() as stack:
        with suppress(OSError):  # of what is no file there is no number
            if out.fileno() == 1:
                out.flush()
                out = stack.enter_context(os.fdopen(os.dup(1), "w", encoding="ascii"))
                stack.callback(os.dup2, out.fileno(), 1)
                os.dup2(2, 1)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield out


def document(value: object) -> str:
    """JSON, in characters that every terminal and encoding has."""
    return json.dumps(plain(value))


def failure(kind: str, message: str, parts: Mapping[str, str | int | None] | None = None) -> str:
    """The document of an error. parts: where, row, found, expected, do, as far as it says them apart"""
    known = {key: (parts or {}).get(key) for key in ("where", "row", "found", "expected", "do")}
    return document({"error": {"kind": kind, "message": message, **known}})


def plain(value: Any) -> Any:
    """Records, dataclasses, paths and numbers of arrays as JSON has them; what is no finite number is null."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"))
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, PurePath):
        return value.as_posix()
    if hasattr(value, "tolist"):  # of an array
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
