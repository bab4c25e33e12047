"""Times and sizes in words."""

from __future__ import annotations

import pytest

from itrcore.costs import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0 seconds"), (1, "1 second"), (42.4, "42 seconds"), (89, "89 seconds"), (120, "2 minutes"), (5400, "1.5 hours"),
        (3600 * 30, "30 hours"), (86400 * 4.2, "4.2 days"), (86400 * 201, "201 days"), (86400 * 365.25 * 2, "2 years"),
    ],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert words.time(seconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (818_590, "819 kB"),
        (999_990, "1 MB"),
        (4.34e9, "4.3 GB"),
        (1.25e13, "12 TB"),
    ],
)
def test_sizes(n_bytes: float, text: str) -> None:
    assert words.size(n_bytes) == text
