"""How every command is made: it returns an `Answer`, and takes --quiet and --json without knowing of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from itrcore import repro
from itrcore.answer import as_asked, failure, tell
from itrcore.errors import shown
from itrcore.progress import is_hushed
from itrcore.terminal import remark

QUIET, JSON = (
    typer.Option(False, "--quiet", help="Only results, warnings and errors: no progress, nothing of what to do next."),
    typer.Option(False, "--json", help="One JSON document on standard output; all else goes to standard error."),
)


class Commands(TyperGroup):
    """Arguments that a command does not take are a document too."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is named."""
        asked = "--json" in (*ctx._protected_args, *ctx.args)
        try:
            return super().invoke(ctx)
        except TyperException as error:
            if asked:
                print(failure("UsageError", error.format_message()))
            raise


def command(app: typer.Typer, name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Any]:
    """Add a function that returns an `Answer` as a command, with --quiet and --json. settings: as `typer.Typer.command` takes them.

    One that goes on after its answer calls `tell` itself, and returns None.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*, quiet: bool, json: bool, **arguments: Any) -> None:
            with as_asked(quiet, json):
                answer = function(**arguments)
                if answer is not None:
                    tell(answer)
            if answer is not None and answer.status:
                raise typer.Exit(answer.status)

        signature = inspect.signature(function)
        more = {"quiet": QUIET, "json": JSON}
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=bool)
            for name, option in more.items()
        ]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*signature.parameters.values(), *options]
        )
        run.__annotations__ = {**function.__annotations__, **dict.fromkeys(more, bool)}
        app.command(name, **settings)(run)
        return function

    return add


def reproduce(*arguments: str) -> int:
    """Run `dvc repro ARGUMENT …` when no other process of DVC runs; its exit status.

    With --quiet what it prints is shown only where it fails.
    """
    repro.wait_until_free(remark)
    quiet: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if is_hushed() else {}
    done = subprocess.run(
        repro.command(*arguments), env=repro.environment(), text=True, encoding="utf-8", errors="replace", **quiet
    )
    if done.returncode and done.stdout:
        print(shown(done.stdout), end="", file=sys.stderr, flush=True)
    return done.returncode
