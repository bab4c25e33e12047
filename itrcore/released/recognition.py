"""Whether a checkpoint belongs to the method that is given for it, and if not, to which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from itrcore.errors import DataError
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Layout
from itrcore.released.layouts import LAYOUTS


def check_parts(checkpoint: Checkpoint, layout: Layout) -> None:
    """`DataError` where the checkpoint does not have as many parts as the layout."""
    if not _has_parts(checkpoint, layout):
        refuse_of_another(checkpoint, layout)
        names = ", ".join(part.name for part in layout.parts)
        holds = "one `state_dict`" if checkpoint.flat else f"a `model` of {len(checkpoint.parts)} parts"
        needs = "one `state_dict`" if layout.flat else f"a `model` of {len(layout.parts)}"
        raise DataError.at(checkpoint.path, holds, f"{needs} ({names})")


def check_options(checkpoint: Checkpoint, layout: Layout) -> None:
    """`DataError` where the options say that the weights are of another method, or of a form that is not built here."""
    if names := layout.contradicted(checkpoint.options):
        refuse_of_another(checkpoint, layout)
        given = ", ".join(
            f"{name} {shown(checkpoint.options.get(name, layout.needs[name].otherwise))}" for name in names
        )
        needed = ", ".join(f"{name} {layout.needs[name].value}" for name in names)
        raise DataError.at(checkpoint.path, f"its options say {given}", f"{needed}; no other form is built here")


def refuse_of_another(checkpoint: Checkpoint, layout: Layout) -> None:
    """`DataError` where, by its options and its entries, the checkpoint is closer to other families than to this layout."""
    unused = {family: _unused_rules(checkpoint, other) for family, other in LAYOUTS.items()}
    least = min((number for number in unused.values() if number is not None), default=None)
    closest = [
        family
        for family, number in unused.items()
        if number is not None and number == least and not LAYOUTS[family].contradicted(checkpoint.options)
    ]
    if closest and all(LAYOUTS[family] is not layout for family in closest):
        names = layout.contradicted(checkpoint.options) if _unused_rules(checkpoint, layout) is not None else []
        reason = f"its {_and(names)}" if names else "the names of its entries"
        needed = f" with {_and(f'{name} {layout.needs[name].value}' for name in names)}" if names else ""
        raise DataError.at(
            checkpoint.path,
            f"a checkpoint of {' or '.join(closest)}, by {reason}",
            f"one as {layout.source} writes it{needed}",
            do="Give its method and text encoder.",
        )


def shown(value: Any) -> str:
    """An option's value for a message, whatever it is."""
    return str(value) if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"


def _has_parts(checkpoint: Checkpoint, layout: Layout) -> bool:
    return checkpoint.flat == layout.flat and len(checkpoint.parts) == len(layout.parts)


def _unused_rules(checkpoint: Checkpoint, layout: Layout) -> int | None:
    """How many rules of the layout apply to no entry; None where there are entries to which no rule applies."""
    if not _has_parts(checkpoint, layout):
        return None
    number = 0
    for part, entries in zip(layout.parts, checkpoint.parts, strict=True):
        used = set()
        for name in entries:
            if part.unused_as(name) is not None:
                continue
            if (named := part.ours(name)) is None:
                return None
            used.add(named[0])
        number += len(set(part.rules) - used)
    return number


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)
