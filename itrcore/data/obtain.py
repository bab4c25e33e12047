"""From a data set's settings to SCAN's files: made (scenes, simulated) or where they already lie (scan)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from itrcore.data import scan
from itrcore.data.scenes import write_scenes
from itrcore.data.settings import SPLITS, ScanSource, ScenesSource, SimulatedSource
from itrcore.data.simulated import write_simulated
from itrcore.data.source import Source
from itrcore.errors import DataError
from itrcore.files import replacing, write_json

ProgressHook = Callable[[int, int], None]  # images done, images in all


def make(settings: ScenesSource | SimulatedSource | ScanSource, raw: Path, progress: ProgressHook) -> Source:
    """Fill `raw` with SCAN's files, or with a pointer to them, and `source.json`. Atomic: all of it or nothing."""
    own_splits = {split: split for split in SPLITS}
    with replacing(raw) as temporary:
        temporary.mkdir(parents=True)
        if isinstance(settings, ScenesSource):
            write_scenes(settings, temporary, progress)
            source = Source(str(raw), own_splits, "synthetic", str(raw / "images"))
        elif isinstance(settings, SimulatedSource):
            write_simulated(settings, temporary, progress)
            source = Source(str(raw), own_splits, "simulated", None)
        else:
            source = _point_to(settings)
        write_json(temporary / "source.json", asdict(source))
    return source


def _point_to(settings: ScanSource) -> Source:
    folder, splits = Path(settings.folder), settings.splits.model_dump()
    scan.check_splits({split: scan.open_split(folder, prefix) for split, prefix in splits.items()})
    if (folder / "source.json").exists() and (made := Source.read(folder).features) != settings.features:
        raise DataError.at(
            folder / "source.json",
            f"these features are {made}, params.yaml calls them {settings.features}",
            "what they are, as every table will say so",
            do=f"Set the source's features to {made}.",
        )
    pictures = folder / "images"
    return Source(
        str(folder),
        splits,
        settings.features,
        str(pictures) if pictures.is_dir() else None,
        scan.content_digest(folder, list(splits.values())),
    )
