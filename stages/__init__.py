"""One thin module per DVC stage: read params.yaml, call itrcore, write outputs. Run as `python -m stages.<name> [item]`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console

from itrcore.config import Params, load
from itrcore.errors import ITRError


def run_stage(stage: Callable[[Params, str], None]) -> None:
    """Run a stage for the item named on the command line (none: the empty name); a user's error is one line, not a trace."""
    try:
        stage(load(), sys.argv[1] if len(sys.argv) > 1 else "")
    except ITRError as error:
        Console(stderr=True).print(f"[red bold]error:[/] {_escape(str(error))}", soft_wrap=True, highlight=False)
        raise SystemExit(1) from None


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
