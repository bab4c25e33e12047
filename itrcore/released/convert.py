"""Between a released checkpoint's entries and a method's weights, in both directions, without leaving any entry out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from itrcore.assets.clip import CLIPSource
from itrcore.assets.grid import Grid
from itrcore.assets.image import ImageSide
from itrcore.assets.pictures import Pictures
from itrcore.assets.pieces import BertSource
from itrcore.assets.regions import Regions
from itrcore.assets.words import BiGRUSource
from itrcore.errors import ConfigError, DataError
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.released import bert as released_bert
from itrcore.released import clip as released_clip
from itrcore.released import grid as released_grid
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.forms import Layout, Part
from itrcore.released.layouts import LAYOUTS, layout_of
from itrcore.released.rules import Rule
from itrcore.settings.encoders import BertSettings, CLIPSettings
from itrcore.settings.methods import MethodSettings, SetSettings


@dataclass(frozen=True)
class Sizes:
    """What to build a method of before a checkpoint's weights can go into it.

    settings: the given ones, with every size as the checkpoint has it; image: its image side, without weights
    source: what its text encoder is built from, without weights
    n_tokens: token ids from 0, the mask token's included
    """

    settings: MethodSettings
    image: ImageSide
    source: BiGRUSource | BertSource | CLIPSource
    n_tokens: int


def sizes(checkpoint: Checkpoint, settings: MethodSettings, config: Any = None) -> Sizes:
    """The sizes that a checkpoint's weights have, and the numbers that its options say in place of the settings'.

    config: a BertConfig or CLIPConfig, where the checkpoint's is not of its authors' kin: the weights do not tell the
    number of attention heads, which is then taken to be one per 64 dimensions.
    An entry that is missing leaves its size as the settings have it: `weights` then names it, with all that is wrong.
    `DataError` where the parts are not as many as the layout's, the options say that the weights are of another method,
    or the sizes fit no method.
    """
    layout = layout_of(settings)
    _check_parts(checkpoint, layout)
    _check_options(checkpoint, layout)
    entries = list(_entries(checkpoint, layout))
    if any(entry.ours is None for entry in entries):
        _refuse_of_another(checkpoint, layout)
    found = {entry.ours: entry.value for entry in entries if entry.ours is not None}
    n_tokens = layout.tokens(found) or 1
    model = settings.model.model_dump(mode="json")
    told = {key: size(found) for key, size in layout.sizes.items()} | numbers(checkpoint, layout)
    for key, value in told.items():
        *groups, last = key.split(".")
        group = model
        for part in groups:
            group = group[part]
        group[last] = value or group[last]
    if model.get("ranked_regions") == 1:
        model["ranked_regions"] = None  # one place for any number of regions
    text = settings.model.text
    grid = settings.model.grid if isinstance(settings.model, SetSettings) else None
    source: BiGRUSource | BertSource | CLIPSource
    image: ImageSide
    try:
        if isinstance(text, BertSettings):
            source = BertSource(text, config or released_bert.config(checkpoint, found, text))
            if text.shape is not None:
                model["text"]["shape"] = released_bert.shape(source.config).model_dump()
        elif isinstance(text, CLIPSettings):
            source = CLIPSource(text, config or released_clip.config(checkpoint, found, text, n_tokens, model["dim"]))
            if text.shape is not None:
                model["text"]["shape"] = released_clip.shape(source.config).model_dump()
        else:
            source = BiGRUSource(text.model_copy(update={"word_dim": model["text"]["word_dim"]}), n_tokens)
        if grid is not None:
            image = Grid(grid, released_grid.architecture(checkpoint, found, grid))
            if grid.shape is not None:
                model["grid"]["shape"] = released_grid.shape(found).model_dump()
        elif layout.width is not None:
            image = Regions(layout.width(found) or 1)
        else:
            image = Pictures()
        changed = MethodSettings.model_validate(settings.model_dump(mode="json") | {"model": model})
    except ValidationError as error:
        _refuse_of_another(checkpoint, layout)
        what = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise DataError.at(
            checkpoint.path, f"its weights' sizes fit no {settings.family} ({what})", _as(layout)
        ) from None
    return Sizes(changed, image, source, n_tokens)


def numbers(checkpoint: Checkpoint, layout: Layout) -> dict[str, float]:
    """`model` in the method's settings → the number that the checkpoint's options say; none where it has no options.

    `DataError` where an option is no number above 0.
    """
    if not checkpoint.options:
        return {}
    found = {}
    for key, number in layout.numbers.items():
        value = checkpoint.options.get(number.option, number.otherwise)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise DataError.at(
                checkpoint.path, f"its option {number.option} is {_shown(value)}", "a finite number above 0"
            )
        found[key] = float(value)
    return found


def empty(sizes: Sizes) -> Method[Any, Any]:
    """A method of the given sizes, weights at random."""
    return build(sizes.settings, sizes.image, sizes.source, 0)


def weights(checkpoint: Checkpoint, layout: Layout, method: Method[Any, Any]) -> dict[str, Tensor]:
    """The checkpoint's weights under the method's names, for `method.load_state_dict`.

    `DataError` where an entry is missing, neither used nor known to be unused, or of another shape or type: it lists
    them all.
    """
    _check_parts(checkpoint, layout)
    wanted = method.state_dict()
    result: dict[str, Tensor] = {}
    unexpected, wrong, seen = [], [], set()
    for entry in _entries(checkpoint, layout):
        if entry.ours is None or entry.ours not in wanted or entry.ours in seen:
            unexpected.append(entry.label)
        elif (entry.value.shape, entry.value.dtype) != (wanted[entry.ours].shape, wanted[entry.ours].dtype):
            wrong.append(f"{entry.label}{entry.piece} {_kind(entry.value)}, not {_kind(wanted[entry.ours])}")
        else:
            result[entry.ours] = entry.value
        seen.add(entry.ours)
    missing = [label(layout, name) for name in wanted if name not in seen]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape or type": wrong}
    if unexpected or missing:
        _refuse_of_another(checkpoint, layout)
    if any(problems.values()):
        listed = ((what, list(dict.fromkeys(names))) for what, names in problems.items() if names)
        found = "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in listed)
        raise DataError.at(checkpoint.path, f"entries {found}", _as(layout), do=_suggestion(checkpoint, layout))
    return result


def to_released(method: Method[Any, Any], layout: Layout) -> list[dict[str, Tensor]]:
    """The method's weights as the released code's state dicts, on the CPU; unused entries as a training starts them."""
    values = {name: value.detach().cpu() for name, value in method.state_dict().items()}
    parts: list[dict[str, Tensor]] = [{} for _ in layout.parts]
    for ours in values:
        number, rule, name = _place(layout, ours)
        if name not in parts[number]:
            parts[number][name] = rule.join(values, name)
    for part, entries in zip(layout.parts, parts, strict=True):
        for name, unused in part.unused.items():
            if unused.like is not None:
                entries[name] = torch.full_like(entries[unused.like], unused.value)
    return [
        part.places.spread(entries) if part.places else entries
        for part, entries in zip(layout.parts, parts, strict=True)
    ]


@dataclass(frozen=True)
class _Entry:
    """A released entry, or the piece of one that is an entry of ours.

    ours: its name here; None: it has none; label: what to call it in messages; piece: which, of several
    """

    ours: str | None
    value: Tensor
    label: str
    piece: str = ""


def _entries(checkpoint: Checkpoint, layout: Layout) -> Iterator[_Entry]:
    """Every entry but the known unused ones. The parts are as many as the layout's."""
    for part, entries in zip(layout.parts, checkpoint.parts, strict=True):
        for name, value in (part.places.gathered(entries) if part.places else entries).items():
            if part.unused_as(name) is not None:
                continue
            label = _label(part, name)
            if (found := part.ours(name)) is None:
                yield _Entry(None, value, label)
                continue
            rule, ours = found
            pieces = rule.split(value)
            for number, one in enumerate(ours):
                piece = f", piece {number + 1} of {len(ours)}" if len(ours) > 1 else ""
                piece += rule.change
                yield _Entry(one, pieces[number] if number < len(pieces) else value[:0], label, piece)


def _check_parts(checkpoint: Checkpoint, layout: Layout) -> None:
    if not _has_parts(checkpoint, layout):
        _refuse_of_another(checkpoint, layout)
        names = ", ".join(part.name for part in layout.parts)
        holds = "one `state_dict`" if checkpoint.flat else f"a `model` of {len(checkpoint.parts)} parts"
        needs = "one `state_dict`" if layout.flat else f"a `model` of {len(layout.parts)}"
        raise DataError.at(checkpoint.path, holds, f"{needs} ({names})")


def _has_parts(checkpoint: Checkpoint, layout: Layout) -> bool:
    return checkpoint.flat == layout.flat and len(checkpoint.parts) == len(layout.parts)


def _check_options(checkpoint: Checkpoint, layout: Layout) -> None:
    """`DataError` where the options say that the weights are of another method, or of a form that is not built here."""
    if names := layout.contradicted(checkpoint.options):
        _refuse_of_another(checkpoint, layout)
        found = ", ".join(
            f"{name} {_shown(checkpoint.options.get(name, layout.needs[name].otherwise))}" for name in names
        )
        needed = ", ".join(f"{name} {layout.needs[name].value}" for name in names)
        raise DataError.at(checkpoint.path, f"its options say {found}", f"{needed}; no other form is built here")


def _refuse_of_another(checkpoint: Checkpoint, layout: Layout) -> None:
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


def _unused_rules(checkpoint: Checkpoint, layout: Layout) -> int | None:
    """How many rules of the layout are about no entry; None where there are entries that no rule is about."""
    if not _has_parts(checkpoint, layout):
        return None
    number = 0
    for part, entries in zip(layout.parts, checkpoint.parts, strict=True):
        found = [part.ours(name) for name in entries if part.unused_as(name) is None]
        if None in found:
            return None
        number += len(set(part.rules) - {one[0] for one in found if one})
    return number


def _with(layout: Layout, names: list[str]) -> str:
    return f" with {_and(f'{name} {layout.needs[name].value}' for name in names)}" if names else ""


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)


def _shown(value: Any) -> str:
    """An option's value for a message, whatever it is."""
    return str(value) if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"


def label(layout: Layout, ours: str) -> str:
    """What to call an entry of ours where the released one is spoken of."""
    number, _, name = _place(layout, ours)
    return _label(layout.parts[number], name)


def _place(layout: Layout, ours: str) -> tuple[int, Rule, str]:
    """The number of the part that holds our entry, the rule, and its name there."""
    for number, part in enumerate(layout.parts):
        if (found := part.name_there(ours)) is not None:
            return number, *found
    raise ConfigError(
        f"{ours} has no place in the checkpoints of {layout.source}: a model of this form is not exported"
    )


def _label(part: Part, name: str) -> str:
    return f"{part.name}: {name}"


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _as(layout: Layout) -> str:
    return f"those that {layout.source} writes"


def _suggestion(checkpoint: Checkpoint, layout: Layout) -> str:
    on_grid = checkpoint.options.get("precomp_enc_type", "basic") != "basic"
    if on_grid and layout.width is not None:
        return "It was trained on grid features: give a method that has model.grid."
    return ""
