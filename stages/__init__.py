"""One thin module per DVC stage: read params.yaml, call itrcore, write outputs. Run as `python -m stages.<name> [item]`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from itrcore.config import Params, load
from itrcore.terminal import user_errors


def run_stage(stage: Callable[[Params, str], None]) -> None:
    """Run a stage for the item named on the command line (none: the empty name); a user's error is one line, not a trace."""
    with user_errors():
        stage(load(), sys.argv[1] if len(sys.argv) > 1 else "")
