"""From a data set's settings to SCAN's files: made (scenes, simulated) or where they already lie (scan)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from itrcore.data import scan
from itrcore.data.scenes import write_scenes
from itrcore.data.settings import SPLITS, ScanSource, ScenesSource, SimulatedSource
from itrcore.data.simulated import write_simulated
from itrcore.errors import DataError
from itrcore.files import read_json, replacing, write_json

ProgressHook = Callable[[int, int], None]  # images done, images in all


@dataclass(frozen=True)
class Source:
    """Where a data set's SCAN files lie and what they are.

    folder: of the SCAN files; splits: our split → prefix of its files; pictures: folder of the images, where there is one
    features: `bottom-up attention` for SCAN's own, else `synthetic` or `simulated`; shown with every result
    """

    folder: str
    splits: dict[str, str]
    features: str
    pictures: str | None

    @classmethod
    def read(cls, raw: Path) -> Source:
        """Read `source.json`; `DataError` where the stage `raw` has not run."""
        path = raw / "source.json"
        if not path.exists():
            raise DataError.at(path, "no such file", "the output of stage raw", do="Run: dvc repro")
        return cls(**read_json(path))


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
            folder = Path(settings.folder)
            splits = settings.splits.model_dump()
            scan.check_splits({split: scan.open_split(folder, prefix) for split, prefix in splits.items()})
            pictures = folder / "images"
            source = Source(str(folder), splits, "bottom-up attention", str(pictures) if pictures.is_dir() else None)
        write_json(temporary / "source.json", asdict(source))
    return source
