"""A text that a command writes into a file or onto the terminal."""

from __future__ import annotations

from pathlib import Path

from itrcore.files import replacing
from itrcore.terminal import say


def write_text(path: Path, text: str) -> None:
    """Write a text and the end of its last line into a file, atomically, and say so; `-` is standard output."""
    if path == Path("-"):
        say(text)
        return
    with replacing(path) as temporary:
        temporary.write_text(f"{text}\n", "utf-8")
    say(str(path))
