"""What a user reads on the terminal when something is wrong: one coloured line on standard error, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from itrcore.errors import ITRError


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn an error that a user can mend into its message and exit status 1."""
    try:
        yield
    except ITRError as error:
        _print("[red bold]error:[/]", str(error))
        raise SystemExit(1) from None


def warn(text: str) -> None:
    """Something went wrong that does not stop the work."""
    _print("[yellow bold]warning:[/]", text)


def _print(mark: str, text: str) -> None:
    Console(stderr=True).print(f"{mark} {escape(text)}", soft_wrap=True, highlight=False)
