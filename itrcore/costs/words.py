"""Times and sizes in words, to two digits at most: they are estimates."""

from __future__ import annotations

_TIMES = ((365.25 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def time(seconds: float) -> str:
    """`3 minutes`, `1.5 hours`, `12 days`."""
    for size, unit in _TIMES:
        if seconds >= 1.5 * size or unit == "second":
            number = _two_digits(seconds / size)
            return f"{number} {unit}{'' if number == '1' else 's'}"
    raise AssertionError(seconds)


def size(n_bytes: float) -> str:
    """`820 kB`, `1.5 GB`: decimal, as disks are sold."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= 0.9995 * factor:
            return f"{_two_digits(n_bytes / factor)} {unit}"
    return f"{n_bytes:.0f} bytes"


def _two_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
