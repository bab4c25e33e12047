"""What is still to be downloaded, and how much of it is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from itrcore import layout
from itrcore.costs.plan import Group
from itrcore.errors import DataError
from itrcore.fetch import hub, record
from itrcore.settings.downloads import DownloadSettings
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.methods import MethodSettings, SetSettings
from itrcore.settings.params import Params


@dataclass(frozen=True)
class Missing:
    """A part of a download, called `download.part`, or a model of the hub that is not there yet; its size if params.yaml has it."""

    name: str
    bytes: int | None


def missing(params: Params, groups: Iterable[Group]) -> list[Missing]:
    """What will be downloaded: parts that are neither in the record of their download nor on this disk, and a hub's weights."""
    weights = dict.fromkeys(found for group in groups if _starts_from_them(group) for found in _weights(group.settings))
    return [*_parts(params), *(Missing(name, None) for name, revision in weights if not hub.is_here(name, revision))]


def _starts_from_them(group: Group) -> bool:
    """Whether something is still to be made from pretrained weights; an import brings its own."""
    return bool(group.to_train or (group.settings.zero_shot and group.to_make))


def _weights(settings: MethodSettings) -> Iterator[tuple[str, str | None]]:
    """Name and revision of each model of the hub that a training starts from."""
    text = settings.model.text
    if not isinstance(text, BiGRUSettings) and text.shape is None:
        yield text.weights, text.revision
    grid = settings.model.grid if isinstance(settings.model, SetSettings) else None
    if grid is not None and grid.shape is None and grid.backbone != "detector":  # whose weights are a file
        yield grid.weights, None


def _parts(params: Params) -> Iterator[Missing]:
    for name, parts in params.downloads.items():
        try:
            there = record.read(layout.download_record(name))
        except DataError:  # which the stage reports
            there = {}
        for part, settings in parts.items():
            if part not in there and not _on_this_disk(settings):
                yield Missing(f"{name}.{part}", settings.bytes)


def _on_this_disk(settings: DownloadSettings) -> bool:
    """Whether the source that is tried first is a file or folder that is there."""
    first = settings.sources[0]
    return not first.startswith(("http:", "https:", "kaggle:", "gdrive:")) and Path(first).expanduser().exists()
