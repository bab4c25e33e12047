"""The error for a published model that cannot be loaded; and tokenisers are read without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from itrcore.fetch import hub
from tests.support.project import ROOT


@pytest.mark.parametrize(
    ("error", "revision", "message"),
    [
        (OSError("  no route\nto the host"), None, "no BERT can be had from here (no route); "),
        (OSError("no route"), "v1", "no BERT can be had from here at revision v1 (no route); "),
        (TimeoutError(), None, "no BERT can be had from here (TimeoutError()); "),
    ],
)
def test_a_refusal_is_one_line_with_the_name_the_revision_and_the_reason(
    error: Exception, revision: str | None, message: str
) -> None:
    whole = str(hub.refused("BERT", "lab/none", revision, error, "folder with config.json"))
    assert whole.startswith(
        f"lab/none: {message}expected a name on the Hugging Face hub, or a folder with config.json."
    )
    assert "HF_HUB_OFFLINE" in whole and "\n" not in whole


def test_published_tokenisers_are_known_without_torch() -> None:
    code = "import sys, itrcore.data.text.clip_tokens, itrcore.data.text.wordpieces; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
