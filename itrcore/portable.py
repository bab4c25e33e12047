"""Texts that leave this machine in artifacts: without its folders, and without what is secret in its variables."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from itrcore.errors import shown

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH_STRING|(API|ACCESS|PRIVATE|ACCOUNT)_?KEY")
_SHORT = 6  # characters: a shorter value is in too many words
_CODE = Path(__file__).parents[1]


def portable(text: str) -> str:
    """As `shown`, with paths relative to the current folder, ~ for the home folder and `python` for Python's.

    Values of variables that are called a token, a key or a password are left out.
    """
    for name, value in os.environ.items():
        if len(value) >= _SHORT and _SECRET.search(name):
            text = text.replace(value, "…")
    for folder, name in sorted(_folders().items(), key=lambda known: -len(known[0])):
        text = re.sub(rf"(?<![\w.-]){re.escape(folder)}(?![\w.-])", name, text)
    return shown(text)


def _folders() -> dict[str, str]:
    """Folder of this machine → what stands in its place."""
    here = os.getcwd()
    found = {os.path.expanduser("~"): "~", sys.base_prefix: "python", sys.prefix: "python"}
    found |= {str(_CODE): os.path.relpath(_CODE, here), here: ".", os.environ.get("PWD", here): "."}
    return {folder: name for folder, name in found.items() if len(Path(folder).parts) > 1}
