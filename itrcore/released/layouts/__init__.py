"""The layouts of released checkpoints: a file for each `model.kind` that has some, with its LAYOUTS by family.

Every file in this folder counts; there is no list of them. A run reads only the file of its own method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules

from itrcore.errors import ConfigError
from itrcore.released.contract import Layout
from itrcore.settings.methods import MethodSettings, SetSettings


class _Layouts(Mapping[str, Layout]):
    """The layouts of all files, by family (`MethodSettings.family`). The files are read at the first use."""

    @cached_property
    def _read(self) -> dict[str, Layout]:
        return {family: layout for kind in _kinds() for family, layout in _of_kind(kind).items()}

    def __getitem__(self, family: str) -> Layout:
        return self._read[family]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


LAYOUTS = _Layouts()


def layout_of(settings: MethodSettings) -> Layout:
    """The released layout of a method. `ConfigError` where there is none."""
    kind = settings.model.kind
    layout = _of_kind(kind).get(settings.family) if kind in _kinds() else None
    if layout is None:
        raise ConfigError(
            f"{settings.family} has no released checkpoints; methods that have: {', '.join(sorted(LAYOUTS))}"
        )
    grid = settings.model.grid if isinstance(settings.model, SetSettings) else None
    if grid is not None and grid.backbone != "detector":
        # timm has other names for a ResNeXt's entries. The released codes change the form of ImageNet's ResNets, so that the
        # same weights would give other cells here.
        raise ConfigError(
            f"{settings.family}: released checkpoints with model.grid.backbone {grid.backbone} are not read or written; "
            "those with detector are"
        )
    return layout


def _kinds() -> list[str]:
    return [module.name for module in iter_modules(__path__)]


def _of_kind(kind: str) -> dict[str, Layout]:
    layouts: dict[str, Layout] = import_module(f"{__name__}.{kind}").LAYOUTS
    return layouts
