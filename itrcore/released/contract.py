"""The contract of a layout: how a method's released checkpoints are laid out.

A method whose released checkpoints are read and written has a file in `itrcore/released/layouts`, named after its
`model.kind`; nothing else in `itrcore/released` knows the method. The file has a dictionary LAYOUTS, from each family
(`MethodSettings.family`) to its `Layout`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from itrcore.assets.image import ImageSide
from itrcore.assets.text import TextSide
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.rules import Places, Rule
from itrcore.settings.methods import MethodSettings

Weights = Mapping[str, Tensor]  # of a checkpoint, under our names
Shape = tuple[int, ...]
Size = Callable[[Weights], int | None]  # what weights say of a size; None where they do not tell; ANY
ANY = 0  # a size that is not fixed: the setting is then None

Image = TypeVar("Image", bound=ImageSide)
Source = TypeVar("Source")


@dataclass(frozen=True)
class Sizes(Generic[Image, Source]):
    """What a method is built from before a checkpoint's weights are loaded into it.

    settings: the given ones, with the checkpoint's sizes; image: its image side, without weights
    source: what its text encoder is built from, without weights (`TextSide.source`)
    n_tokens: number of token ids, the mask token's included
    """

    settings: MethodSettings
    image: Image
    source: Source
    n_tokens: int


@dataclass(frozen=True)
class Unused:
    """An entry that the released code writes and never computes with.

    like: the entry of the same part that has its shape and type; value: its initial value
    Both are there to write it back. An entry that only some versions of a library write has no `like`, and is not written.
    """

    why: str
    like: str | None = None
    value: float = 0.0


@dataclass(frozen=True)
class Part:
    """One state dict.

    rules: what its entries are here; the first that applies counts
    unused: by name; a key that ends in a dot is the beginning of several names
    places: a batch normalisation that has weights for each place, if any
    """

    name: str
    rules: tuple[Rule, ...]
    unused: Mapping[str, Unused] = field(default_factory=dict)
    places: Places | None = None

    def unused_as(self, name: str) -> str | None:
        """The key of `unused` that a released name falls under, if any."""
        return next((key for key in self.unused if name == key or (key[-1] == "." and name.startswith(key))), None)

    def ours(self, name: str) -> tuple[Rule, tuple[str, ...]] | None:
        """The rule for a released name, and our names; None where there is none."""
        return next(((rule, ours) for rule in self.rules if (ours := rule.to_ours(name))), None)

    def name_there(self, ours: str) -> tuple[Rule, str] | None:
        """The rule for a name of ours, and the released name; None where there is none."""
        return next(((rule, name) for rule in self.rules if (name := rule.to_released(ours))), None)


@dataclass(frozen=True)
class Needed:
    """The value that an option must have for the weights to be this method's, where no weight tells.

    otherwise: the released code's default, for files whose options do not have it
    """

    value: bool | int | str
    otherwise: bool | int | str


@dataclass(frozen=True)
class Number:
    """An option that holds a number of the method's settings. otherwise: the released code's default"""

    option: str
    otherwise: float


class TextForm(Protocol):
    """How released checkpoints hold a kind of text encoder: a module of `itrcore/released/text`.

    RULES: what its entries are here, by the names of most released codes; UNUSED: entries that its library writes
    BUILT: shapes that the released codes fix, whatever the options say; N_TOKENS: the number of token ids
    """

    RULES: tuple[Rule, ...]
    UNUSED: Mapping[str, Unused]
    BUILT: Mapping[str, Shape]
    N_TOKENS: Size

    def own_config(self, settings: Any) -> Any:
        """The configuration of a BERT or CLIP whose folder the settings (`model.text`) name, else None. Weights do not tell all."""

    def source(
        self, checkpoint: Checkpoint, weights: Weights, settings: Any, config: Any, n_tokens: int, dim: int
    ) -> Any:
        """What the encoder is built from (`TextSide.source`); its `settings` are the given ones with the weights' sizes.

        config: of a BERT or CLIP; None: as the weights tell; dim: of the model
        `DataError` where the weights and options do not tell enough.
        """

    def side(self, sizes: Sizes[Any, Any], vocabulary: Path | None, data: str) -> TextSide:
        """The text side of an import: with the given vocabulary, else the encoder's own, else the data set's.

        `DataError` where that cannot be read, or has another size than the checkpoint.
        """

    def own_vocabulary(self, settings: Any, data: str) -> str:
        """The vocabulary that `side` takes where none is given, for people. settings: `model.text`"""

    def options(self, source: Any) -> dict[str, Any]:
        """The options of an exported file that describe the encoder."""

    def other_values(self, text: Any, data: str) -> Iterator[str]:
        """What differs from values that the released codes fix, and shows in no weight's shape.

        text: the text side; data: the data set's name
        """


# (checkpoint, its weights, `model.grid` or None) → the image side, without weights. `DataError` where they do not fit.
ImageForm = Callable[[Checkpoint, Weights, Any], ImageSide]


def _nothing(model: Any) -> Iterable[str]:
    return ()


def is_coco(data: str) -> bool:
    """Whether a data set counts as MS-COCO by its name, as in the released codes; all others count as Flickr30K."""
    return "coco" in data.lower()


def vocabulary_file(data: str) -> str:
    """What SCAN calls the vocabulary of a data set, and most codes after it."""
    return f"{data}_precomp_vocab.json"


@dataclass(frozen=True)
class Layout:
    """A method's released checkpoint. Below, `model` is `model` of the method's settings, of its own class.

    source: repository and branch or folder
    parts: its state dicts, in the file's order
    text: how it holds the text encoder; image: makes its image side
    options: (model, sizes, the data set's name) → the options of an exported file, besides `needs` and the text encoder's
    sizes: key of `model` → its value by the weights; `model.text` and `model.grid` are read apart
    numbers: key of `model` → the option that holds it
    needs: options by name; a file without any options is taken for what it is said to be
    built: shapes that the released code fixes, whatever the options say
    other_values: (model) → what differs from values that the released code fixes, and shows in no weight's shape; a line each
    n_regions: how many regions an image must have there; None: any number
    vocabulary: (the data set's name) → the file of a BiGRU's vocabulary that its evaluation opens
    remarks: (model) → what people should know about an import; a line each
    data_parallel: whether its evaluation wraps the model in DataParallel and loads with `strict=False`, which silently skips
        entries without the prefix `module.`
    flat: one state dict, with `config`, in place of a list of parts, with `opt`
    switch: what must be changed in the released source so that it builds this model
    """

    source: str
    parts: tuple[Part, ...]
    text: TextForm
    image: ImageForm
    options: Callable[[Any, Any, str], dict[str, Any]]
    sizes: Mapping[str, Size]
    numbers: Mapping[str, Number] = field(default_factory=dict)
    needs: Mapping[str, Needed] = field(default_factory=dict)
    built: Mapping[str, Shape] = field(default_factory=dict)
    other_values: Callable[[Any], Iterable[str]] = _nothing
    n_regions: int | None = None
    vocabulary: Callable[[str], str] = vocabulary_file
    remarks: Callable[[Any], Iterable[str]] = _nothing
    data_parallel: bool = False
    flat: bool = False
    switch: str | None = None

    def contradicted(self, options: Mapping[str, Any]) -> list[str]:
        """The names of the options that have another value than this method needs."""
        return [name for name, need in self.needs.items() if options and not _says(options, name, need)]


def _says(options: Mapping[str, Any], name: str, need: Needed) -> bool:
    value = options.get(name, need.otherwise)
    return isinstance(value, bool | int | float | str) and value == need.value


def axis(name: str, number: int, less: int = 0) -> Size:
    """The length of one axis of a weight, minus `less`."""

    def size(weights: Weights) -> int | None:
        return weights[name].shape[number] - less or None if name in weights and weights[name].dim() > number else None

    return size


def ratio(name: str) -> Size:
    """How many times wider than high a weight is."""

    def size(weights: Weights) -> int | None:
        if name not in weights or weights[name].dim() != 2:
            return None
        high, wide = weights[name].shape
        return wide // high or None if high else None

    return size


def numbered(beginning: str) -> Size:
    """How many different numbers follow this beginning in the names of weights."""
    pattern = re.compile(re.escape(beginning) + r"(\d+)\.")

    def size(weights: Weights) -> int | None:
        return len({match[1] for match in map(pattern.match, weights) if match}) or None

    return size
