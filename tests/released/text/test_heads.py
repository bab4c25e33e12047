"""Attention heads of a released checkpoint: where they are said, where the settings know them, where neither does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import DataError
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.text.heads import attention_heads


@pytest.mark.parametrize(
    ("option", "hidden", "configured", "expected"),
    [
        (4, 128, (128, 8), 4),
        (None, 128, (128, 8), 8),
        (None, 128, (64, 8), 2),  # the settings are of another size
        (None, 768, None, 12),
        (5, 128, (128, 8), 8),  # an option that does not divide is of something else
        (0, 128, None, 2),
        ("4", 128, None, 2),
    ],
)
def test_the_option_comes_before_the_settings_and_they_before_the_rule(
    option: Any, hidden: int, configured: tuple[int, int] | None, expected: int
) -> None:
    options = {} if option is None else {"heads": option}
    checkpoint = Checkpoint(Path("small.pth"), [], None, None, None, options)
    assert attention_heads(checkpoint, "heads", hidden, configured, "BERT") == expected


def test_a_size_that_tells_nothing_is_refused_with_what_to_do() -> None:
    checkpoint = Checkpoint(Path("small.pth"), [], None, None, None, {})
    with pytest.raises(DataError, match=r"^small\.pth: its BERT has 48 dimensions.* 64\. .*text\.shape.*--profile"):
        attention_heads(checkpoint, "heads", 48, (64, 1), "BERT")
