"""How values are written: recalls, ranks, counts, times and lists, the same in every table of the report."""

from __future__ import annotations

from collections.abc import Iterable

NONE = "\N{EN DASH}"  # in place of a value that is not there
DIGEST_SHOWN = 12  # characters of a digest; enough to tell two apart by eye


def recall(mean: float, std: float | None = None) -> str:
    """`40.3`, or `40.3 ± 1.2` where there are several seeds."""
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"


def difference(value: float) -> str:
    """`+0.4`, `−1.2`, `0.0`: a true minus, and no sign where nothing is left to one decimal."""
    rounded = round(value, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def difference_interval(low: float, high: float) -> str:
    """`−1.2 to +0.4`."""
    return f"{difference(low)} to {difference(high)}"


def interval(low: float, high: float) -> str:
    """`430–458`, or with a decimal where it is narrower than 5: `57.2–59.8`."""
    digits = 0 if high - low >= 5 else 1
    return f"{low:.{digits}f}{NONE}{high:.{digits}f}"


def hundredths(value: float) -> str:
    """`0.41`, `−0.03`, `0.00`: a true minus, and none where nothing is left to two decimals."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def p_value(value: float) -> str:
    """`0.031`, or `< 0.001`."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def rank(value: float) -> str:
    """One decimal, or none where it says nothing: `3`, `3.5`."""
    return f"{value:.1f}".removesuffix(".0")


def count(value: float) -> str:
    """`812`, `45.1 k`, `2.1 M`, `1.3 B`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.99995:  # what would round to 1000.0 of the unit below belongs here
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """`12.3 s`, `5 min 02 s`, `3 h 10 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def milliseconds(value: float) -> str:
    """Two significant digits and a unit that suits: `9.8 µs`, `0.41 ms`, `12 ms`, `1.3 s`."""
    for limit, factor, unit in ((0.0995, 1e3, "µs"), (995.0, 1.0, "ms")):
        if value < limit:
            return f"{_two_digits(value * factor)} {unit}"
    return f"{_two_digits(value / 1e3)} s"


def size(n_bytes: float) -> str:
    """Two significant digits and a unit that suits, decimal: `512 B`, `8.3 kB`, `0.97 GB`."""
    for limit, factor, unit in ((995.0, 1.0, "B"), (0.995e6, 1e3, "kB"), (0.995e9, 1e6, "MB")):
        if n_bytes < limit:
            return f"{_two_digits(n_bytes / factor)} {unit}"
    return f"{_two_digits(n_bytes / 1e9)} GB"


def distinct(values: Iterable[object]) -> str:
    """Each value once, in order: `dev, unknown (imported)`; an ensemble's value lists those of its members that way."""
    parts = (part for value in values if value is not None for part in str(value).split(", "))
    return ", ".join(dict.fromkeys(parts)) or NONE


def _two_digits(value: float) -> str:
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
