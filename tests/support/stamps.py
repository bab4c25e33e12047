"""What a stage printed into a pipe, as it stands on a terminal."""

from __future__ import annotations

import re

from itrcore.spoken import STAMP


def unstamped(output: str) -> str:
    """Each line without time, level and name; those of others stay as they are."""
    return re.sub(rf"^{STAMP.pattern}", "", output, flags=re.MULTILINE)
