"""From a released checkpoint's entries to a method's weights and back; no entry is left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from itrcore.data.image_inputs import RegionInput
from itrcore.errors import ConfigError, DataError
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import ANY, Layout, Part, Sizes
from itrcore.released.layouts import layout_of
from itrcore.released.recognition import check_options, check_parts, refuse_of_another, shown
from itrcore.released.rules import Rule
from itrcore.settings.methods import MethodSettings, SetSettings


def sizes(checkpoint: Checkpoint, settings: MethodSettings, config: Any = None) -> Sizes[Any, Any]:
    """The settings with the sizes of a checkpoint's weights and the numbers of its options, and what to build of them.

    config: a BertConfig or CLIPConfig to use; None: one is made from the weights, which do not tell the number of attention
        heads (`attention_heads`)
    Where an entry is missing, the size is the settings'; `weights` then names that entry, with all else that is wrong.
    `ConfigError` where the method has no released checkpoints. `DataError` where the number of parts is not the layout's,
    the options say that the weights are of another method, or the sizes fit no method.
    """
    layout = layout_of(settings)
    check_parts(checkpoint, layout)
    check_options(checkpoint, layout)
    entries = list(_entries(checkpoint, layout))
    if any(entry.ours is None for entry in entries):
        refuse_of_another(checkpoint, layout)
    tensors = {entry.ours: entry.value for entry in entries if entry.ours is not None}
    n_tokens = layout.text.N_TOKENS(tensors) or 1
    model = settings.model.model_dump(mode="json")
    known = {key: size(tensors) for key, size in layout.sizes.items()} | numbers(checkpoint, layout)
    for key, value in known.items():
        *above, last = key.split(".")
        group = model
        for name in above:
            group = group[name]
        if value is not None:
            group[last] = None if value == ANY else value
    grid = settings.model.grid if isinstance(settings.model, SetSettings) else None
    try:
        source = layout.text.source(checkpoint, tensors, settings.model.text, config, n_tokens, model["dim"])
        model["text"] = source.settings.model_dump(mode="json")
        image: Any = layout.image(checkpoint, tensors, grid)
        if grid is not None:
            model["grid"] = image.settings.model_dump(mode="json")
        sized = MethodSettings.model_validate(settings.model_dump(mode="json") | {"model": model})
    except ValidationError as error:
        refuse_of_another(checkpoint, layout)
        what = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise DataError.at(
            checkpoint.path, f"its weights' sizes fit no {settings.family} ({what})", _as(layout)
        ) from None
    return Sizes(sized, image, source, n_tokens)


def numbers(checkpoint: Checkpoint, layout: Layout) -> dict[str, float]:
    """The numbers of `model` in the method's settings that the checkpoint's options say, by key; empty without options.

    `DataError` where such an option is not a number above 0.
    """
    values: dict[str, float] = {}
    for key, number in layout.numbers.items() if checkpoint.options else ():
        value = checkpoint.options.get(number.option, number.otherwise)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise DataError.at(
                checkpoint.path, f"its option {number.option} is {shown(value)}", "a finite number above 0"
            )
        values[key] = float(value)
    return values


def empty(sizes: Sizes[Any, Any]) -> Method[Any, Any]:
    """A method of the given sizes, its weights drawn at random."""
    return build(sizes.settings, sizes.image, sizes.source, 0)


def weights(checkpoint: Checkpoint, layout: Layout, method: Method[Any, Any]) -> dict[str, Tensor]:
    """The checkpoint's weights under the method's names, for `method.load_state_dict`.

    `DataError` lists every entry that is missing, of another shape or type, or neither used nor known to be unused.
    """
    check_parts(checkpoint, layout)
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
        refuse_of_another(checkpoint, layout)
    if any(problems.values()):
        listed = ((what, list(dict.fromkeys(names))) for what, names in problems.items() if names)
        listing = "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in listed)
        raise DataError.at(checkpoint.path, f"entries {listing}", _as(layout), do=_suggestion(checkpoint, method))
    return result


def to_released(method: Method[Any, Any], layout: Layout) -> list[dict[str, Tensor]]:
    """The method's weights as the released code's state dicts, on the CPU; unused entries have their initial values.

    `ConfigError` where the released code has no place for one of its weights.
    """
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


def label(layout: Layout, ours: str) -> str:
    """The released name of an entry of ours, for messages. `ConfigError` where it has none."""
    number, _, name = _place(layout, ours)
    return _label(layout.parts[number], name)


@dataclass(frozen=True)
class _Entry:
    """A released entry, or the piece of it that is one entry of ours.

    ours: its name here; None: it has none; label: its name in messages; piece: which of several, for messages
    """

    ours: str | None
    value: Tensor
    label: str
    piece: str = ""


def _entries(checkpoint: Checkpoint, layout: Layout) -> Iterator[_Entry]:
    """Every entry except the known unused ones. The checkpoint has as many parts as the layout."""
    for part, entries in zip(layout.parts, checkpoint.parts, strict=True):
        for name, value in (part.places.gathered(entries) if part.places else entries).items():
            if part.unused_as(name) is not None:
                continue
            label = _label(part, name)
            if (named := part.ours(name)) is None:
                yield _Entry(None, value, label)
                continue
            rule, ours = named
            pieces = rule.split(value)
            for number, our_name in enumerate(ours):
                piece = f", piece {number + 1} of {len(ours)}" if len(ours) > 1 else ""
                piece += rule.change
                yield _Entry(our_name, pieces[number] if number < len(pieces) else value[:0], label, piece)


def _place(layout: Layout, ours: str) -> tuple[int, Rule, str]:
    """The number of the part that holds our entry, the rule, and its name there."""
    for number, part in enumerate(layout.parts):
        if (place := part.name_there(ours)) is not None:
            return number, *place
    raise ConfigError(
        f"{ours} has no place in the checkpoints of {layout.source}: a model of this form is not exported"
    )


def _label(part: Part, name: str) -> str:
    return f"{part.name}: {name}"


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _as(layout: Layout) -> str:
    return f"those that {layout.source} writes"


def _suggestion(checkpoint: Checkpoint, method: Method[Any, Any]) -> str:
    on_grid = checkpoint.options.get("precomp_enc_type", "basic") != "basic"
    if on_grid and isinstance(method.input, RegionInput):
        return "It was trained on grid features: give a method that has model.grid."
    return ""
