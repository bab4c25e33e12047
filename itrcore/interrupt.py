"""Ctrl-C while a command is still being imported: one line and no trace. Imported first, for what it does then.

Modules written in C turn an interrupt into errors of their own, and nothing has begun that could be lost: so it ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

STOPPED = 130  # exit status after Ctrl-C, as shells have it


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, b"stopped; run it again to go on\n")
    os._exit(STOPPED)


def ready() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt as usual, for those who put things in order first."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Only where a command of ours starts: `python -m`, which has this name while it looks for the module, or the script itr.
if (sys.argv[0] == "-m" or Path(sys.argv[0]).name == "itr") and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _stop)
