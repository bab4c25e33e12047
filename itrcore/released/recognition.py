"""Whether a checkpoint is of the method that it is said to be of; where it is of another, which that is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from itrcore.errors import DataError
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Layout
from itrcore.released.layouts import LAYOUTS


def check_parts(checkpoint: Checkpoint, layout: Layout) -> None:
    """`DataError` where the checkpoint has not the layout's number of parts."""
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
        told = ", ".join(
            f"{name} {shown(checkpoint.options.get(name, layout.needs[name].otherwise))}" for name in names
        )
        needed = ", ".join(f"{name} {layout.needs[name].value}" for name in names)
        raise DataError.at(checkpoint.path, f"its options say {told}", f"{needed}; no other form is built here")


def refuse_of_another(checkpoint: Checkpoint, layout: Layout) -> None:
    """`DataError` where the checkpoint is rather of other families, by its options and by which entries it has."""
    unused = {family: _unused_rules(checkpoint, other) for family, other in LAYOUTS.items()}
    least = min((number for number in unused.values() if number is not None), default=None)
    closest = [
        family
        for family, number in unused.items()
        if number is not None and number == least and not LAYOUTS[family].contradicted(checkpoint.options)
    ]
    if closest and all(LAYOUTS[family] is not layout for family in closest):
        told = layout.contradicted(checkpoint.options) if _unused_rules(checkpoint, layout) is not None else []
        raise DataError.at(
            checkpoint.path,
            f"a checkpoint of {' or '.join(closest)}, by {f'its {_and(told)}' if told else 'the names of its entries'}",
            f"one as {layout.source} writes it{_with(layout, told)}",
            do="Give its method and text encoder.",
        )


def shown(value: Any) -> str:
    """An option's value for a message, whatever it is."""
    return str(value) if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"


def _has_parts(checkpoint: Checkpoint, layout: Layout) -> bool:
    return checkpoint.flat == layout.flat and len(checkpoint.parts) == len(layout.parts)


def _unused_rules(checkpoint: Checkpoint, layout: Layout) -> int | None:
    """How many rules of the layout are about no entry; None where there are entries that no rule is about."""
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


def _with(layout: Layout, names: list[str]) -> str:
    return f" with {_and(f'{name} {layout.needs[name].value}' for name in names)}" if names else ""


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)
