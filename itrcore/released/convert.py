"""Between a released checkpoint's entries and a method's weights, in both directions, without leaving any entry out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import Tensor

from itrcore.errors import DataError
from itrcore.models.base import Method
from itrcore.models.settings import BertSettings, BiGRUSettings, ESASettings, HingeSettings, MethodSettings
from itrcore.released import bert as released_bert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.layouts import LAYOUTS, Layout, Part, layout_of

if TYPE_CHECKING:
    from transformers import BertConfig


@dataclass(frozen=True)
class Sizes:
    """What to build a method of before a checkpoint's weights can go into it.

    settings: the given ones, with every size as the weights have it; width: of the region features
    n_tokens: token ids from 0, the mask token's included; bert: with a BERT text encoder
    """

    settings: MethodSettings
    width: int
    n_tokens: int
    bert: BertConfig | None


def sizes(checkpoint: Checkpoint, settings: MethodSettings, bert: BertConfig | None = None) -> Sizes:
    """The sizes that a checkpoint's weights have.

    bert: of the checkpoint's BERT, where it is not bert-base's kin: the weights do not tell the number of attention
    heads, which is then taken to be one per 64 dimensions, as in all of Google's BERTs.
    An entry that is missing leaves its size as the settings have it: `weights` then names it, with all that is wrong.
    `DataError` where the parts are not as many as the layout's, or the sizes fit no method.
    """
    layout = layout_of(settings)
    found = {ours: tensor for ours, tensor, _ in _named(checkpoint, layout) if ours is not None}

    def size(place: tuple[str, int]) -> int | None:
        name, axis = place
        return found[name].shape[axis] if name in found and found[name].dim() > axis else None

    model = settings.model.model_dump(mode="json")
    for key, place in layout.sizes.items():
        *groups, last = key.split(".")
        group = model
        for part in groups:
            group = group[part]
        group[last] = size(place) or group[last]
    if isinstance(settings.model.text, BertSettings):
        bert = bert or released_bert.config(checkpoint, found, settings.model.text)
        if model["text"]["shape"] is not None:
            model["text"]["shape"] = released_bert.shape(bert).model_dump()
    try:
        changed = MethodSettings.model_validate(settings.model_dump(mode="json") | {"model": model})
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise DataError.at(
            checkpoint.path, f"its weights' sizes fit no {settings.family} ({what})", _as(layout)
        ) from None
    return Sizes(changed, size(layout.width) or 1, size(layout.tokens) or 1, bert)


def weights(checkpoint: Checkpoint, layout: Layout, method: Method) -> dict[str, Tensor]:
    """The checkpoint's weights under the method's names, for `method.load_state_dict`.

    `DataError` where an entry is missing, neither used nor known to be unused, or of another shape or type: it lists
    them all.
    """
    wanted = method.state_dict()
    result: dict[str, Tensor] = {}
    unexpected, wrong, seen = [], [], set()
    for ours, tensor, label in _named(checkpoint, layout):
        seen.add(ours)
        if ours is None or ours not in wanted:
            unexpected.append(label)
        elif (tensor.shape, tensor.dtype) != (wanted[ours].shape, wanted[ours].dtype):
            wrong.append(f"{label} {_kind(tensor)}, not {_kind(wanted[ours])}")
        else:
            result[ours] = tensor
    places = [_place(layout, name) for name in wanted if name not in seen]
    missing = [_label(layout.parts[number], name) for number, name in places]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape or type": wrong}
    if unexpected and (others := _fitting(checkpoint, layout)):
        raise DataError.at(
            checkpoint.path,
            f"a checkpoint of {' or '.join(others)}, by the names of its entries",
            f"one as {layout.source} writes it",
            do="Give its method and text encoder.",
        )
    if any(problems.values()):
        found = "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in problems.items() if names)
        raise DataError.at(checkpoint.path, f"entries {found}", _as(layout), do=_suggestion(checkpoint))
    return result


def released(method: Method, layout: Layout) -> list[dict[str, Tensor]]:
    """The method's weights as the released code's state dicts, on the CPU; unused entries as a training starts them."""
    parts: list[dict[str, Tensor]] = [{} for _ in layout.parts]
    for ours, tensor in method.state_dict().items():
        number, name = _place(layout, ours)
        parts[number][name] = tensor.detach().cpu()
    for part, entries in zip(layout.parts, parts, strict=True):
        for name, unused in part.unused.items():
            if unused.like is not None:
                entries[name] = torch.full_like(entries[unused.like], unused.value)
    return parts


def options(sizes: Sizes, data_name: str) -> dict[str, Any]:
    """The fields of `opt` that the released evaluations read, and their losses and optimisers, which they build too.

    data_name: `f30k` or `coco`, by which the released code finds its vocabulary
    """
    settings, text = sizes.settings, sizes.settings.model.text
    assert isinstance(settings.loss, HingeSettings)  # the loss of every method that has a layout
    values: dict[str, Any] = {
        "data_name": data_name,
        "data_path": "data",
        "vocab_path": "vocab",
        "vocab_size": sizes.n_tokens,
        "batch_size": settings.recipe.batch_size,
        "workers": 0,
        "img_dim": sizes.width,
        "embed_size": settings.model.dim,
        "num_layers": 1,
        "no_imgnorm": False,
        "no_txtnorm": False,
        "precomp_enc_type": "basic",
        "backbone_source": "detector",
        "backbone_path": "",
        "margin": settings.loss.margin,
        "max_violation": True,
        "optim": "adam",
        "learning_rate": settings.recipe.learning_rate,
        "grad_clip": settings.recipe.clip_norm,
    }
    if isinstance(text, BiGRUSettings):
        values["word_dim"] = text.word_dim
    if sizes.bert is not None:
        values[released_bert.HEADS] = sizes.bert.num_attention_heads
    if isinstance(settings.model, ESASettings):
        values["hardnum"] = settings.model.views
    return values


def cautions(method: Method, layout: Layout) -> list[str]:
    """Where the method is not as the released code builds it, so that this cannot evaluate it as it stands."""
    shapes = {name: tuple(tensor.shape) for name, tensor in method.state_dict().items()}
    return [
        f"{_label(layout.parts[number], name)} is {shapes.get(ours, 'not there')}; the released code builds {shape}"
        for ours, shape in layout.built.items()
        if shapes.get(ours) != shape
        for number, name in [_place(layout, ours)]
    ]


def _named(checkpoint: Checkpoint, layout: Layout) -> Iterator[tuple[str | None, Tensor, str]]:
    """Every entry but the known unused ones: our name (None: it has none), value, and what to call it in messages."""
    if len(checkpoint.parts) != len(layout.parts):
        names = ", ".join(part.name for part in layout.parts)
        raise DataError.at(
            checkpoint.path, f"`model` has {len(checkpoint.parts)} parts", f"{len(layout.parts)} ({names})"
        )
    for part, entries in zip(layout.parts, checkpoint.parts, strict=True):
        for name, tensor in entries.items():
            if name not in part.unused:
                yield _ours(part, name), tensor, _label(part, name)


def _ours(part: Part, name: str) -> str | None:
    prefix = max((prefix for prefix in part.names if name.startswith(prefix)), key=len, default=None)
    return None if prefix is None else part.names[prefix] + name.removeprefix(prefix)


def _place(layout: Layout, ours: str) -> tuple[int, str]:
    """The number of the part that holds our entry, and its name there."""
    places = [
        (len(beginning), number, prefix + ours.removeprefix(beginning))
        for number, part in enumerate(layout.parts)
        for prefix, beginning in part.names.items()
        if ours.startswith(beginning)
    ]
    if not places:
        raise ValueError(f"{ours} has no place in the layout of {layout.source}")
    return max(places)[1:]


def _label(part: Part, name: str) -> str:
    return f"{part.name}: {name}"


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _as(layout: Layout) -> str:
    return f"those that {layout.source} writes"


def _suggestion(checkpoint: Checkpoint) -> str:
    if checkpoint.options.get("precomp_enc_type", "basic") != "basic":
        return "It was trained on grid features, with its backbone; only region features are read here."
    return ""


def _fitting(checkpoint: Checkpoint, layout: Layout) -> list[str]:
    """Other families that have a place for every entry of the checkpoint."""
    return [
        family
        for family, other in LAYOUTS.items()
        if other is not layout
        and len(other.parts) == len(checkpoint.parts)
        and all(ours is not None for ours, _, _ in _named(checkpoint, other))
    ]
