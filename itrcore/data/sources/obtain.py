"""From a data set's settings to its files: made here (scenes, simulated), or found where they already lie (the others)."""

from __future__ import annotations

import os
from pathlib import Path

from itrcore import intact, layout
from itrcore.data import karpathy, scan
from itrcore.data.scenes.build import write_scenes
from itrcore.data.source import Source
from itrcore.data.sources import published_shards
from itrcore.data.sources.locate import locate
from itrcore.errors import DataError
from itrcore.fetch import record
from itrcore.files import digest, replacing, sha256
from itrcore.progress import Count
from itrcore.settings.datasets import (
    KarpathySource,
    ScanSource,
    ScenesSource,
    ShardsSource,
    SimulatedSource,
    SourceSettings,
)


def make(settings: SourceSettings, raw: Path, progress: Count) -> Source:
    """Fill the folder `raw` with the data set's files, or with `source.json` alone, which says where they lie.

    After an error the folder is as it was.

    progress: called with images done, images in all, where files are made
    `DataError` names what is missing or wrong.
    """
    with replacing(raw) as temporary:
        temporary.mkdir(parents=True)
        match settings:  # the one place that tells the kinds of sources apart
            case ScenesSource():
                write_scenes(settings, temporary, progress)
                source = Source(
                    "synthetic",
                    folder=str(raw),
                    id_mapping=str(raw / "id_mapping.json"),
                    karpathy=str(raw / "dataset_scenes.json"),
                    pictures=str(raw / "images"),
                )
            case SimulatedSource():
                from itrcore.data.sources.simulated import write_simulated  # here: its nltk takes long to import

                write_simulated(settings, temporary, progress)
                named = (temporary / "id_mapping.json").exists()
                source = Source(
                    "simulated", folder=str(raw), id_mapping=str(raw / "id_mapping.json") if named else None
                )
            case ScanSource():
                source = _scan(settings)
            case KarpathySource():
                source = _karpathy(settings)
            case ShardsSource():
                source = published_shards.obtain(settings, temporary)
        source.write(temporary)
        intact.seal(temporary)
    return source


def _scan(settings: ScanSource) -> Source:
    """SCAN's files where they lie, opened and checked."""
    splits = settings.splits.model_dump()
    _check_downloads(settings.folder, settings.karpathy, settings.pictures)
    located = locate(Path(settings.folder), splits["train"], _given(settings.karpathy, "karpathy"))
    folder = located.folder
    if settings.has_regions:
        opened = {split: scan.open_split(folder, prefix) for split, prefix in splits.items()}
        scan.check_splits(opened)
        ids = {split: files.image_ids for split, files in opened.items()}
    else:
        ids = {split: scan.read_captions(folder, prefix)[0] for split, prefix in splits.items()}
    scan.check_ids(folder, splits, ids)
    if (folder / "source.json").exists() and (recorded := Source.read(folder).features) != settings.features:
        raise DataError.at(
            folder / "source.json",
            f"these features are {recorded}, params.yaml calls them {settings.features}",
            "what they are, as every table will say so",
            do=f"Set the source's features to {recorded}.",
        )
    pictures = _given(settings.pictures, "pictures") or located.pictures
    others = (located.id_mapping, located.karpathy, located.vocabulary)
    files = [*scan.files_of(folder, list(splits.values())), *(path for path in others if path)]
    return Source(
        settings.features,
        splits,
        str(folder),
        id_mapping=_text(located.id_mapping),
        karpathy=_text(located.karpathy),
        pictures=_text(pictures),
        vocabulary=_text(located.vocabulary),
        reads={str(path): record.sha256(path) for path in files},
        content=_listing(pictures) if pictures else None,
    )


def _karpathy(settings: KarpathySource) -> Source:
    """Karpathy's JSON and the pictures where they lie."""
    file, pictures = Path(settings.file), Path(settings.pictures)
    _check_downloads(settings.file, settings.pictures)
    karpathy.read(file)
    if not pictures.is_dir():
        raise DataError.at(pictures, "no such folder", "the data set's pictures", do="Correct source.pictures.")
    return Source(
        "none",
        karpathy=str(file),
        pictures=str(pictures),
        reads={str(file): record.sha256(file)},
        content=_listing(pictures),
    )


def check_unchanged(source: Source, raw: Path, *endings: str) -> None:
    """`DataError` names the first file that has changed since the stage `raw` made or found it.

    endings: of the files that are read and checked, such as `.txt`; without any, all are
    """
    intact.check_sealed(raw, *endings)
    for name, wanted in source.reads.items():
        if name.endswith(endings or ""):
            path, download = Path(name), record.owner(Path(name))
            again = f"fetch@{download}" if download else f"raw@{raw.parent.name}"
            found = "no such file" if not path.is_file() else "its bytes have changed" if sha256(path) != wanted else ""
            if found:
                do = f"Put it back, or run: dvc repro --force --single-item {again}"
                raise DataError.at(path, found, "the file that stage raw found", do=do)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _check_downloads(*paths: str | None) -> None:
    """`DataError` where a download that these paths lie in has lost files: optional files would silently be left out."""
    for name in {record.owner(Path(path)) for path in paths if path}:
        if name is not None:
            record.check_present(layout.download_record(name), layout.download(name))


def _listing(pictures: Path) -> str:
    """A digest of the names and sizes of all files: listing 100,000 pictures takes a second, reading them far longer."""
    sizes: dict[str, int | None] = {}
    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(pictures, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:  # a link that leads back up
            below.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        for name in names:
            path = Path(folder, name)
            # A link that leads nowhere is an error only where the captions name that picture: stage `shards` says so.
            sizes[str(path.relative_to(pictures))] = path.stat().st_size if path.exists() else None
    return digest(sizes)


def _given(path: str | None, key: str) -> Path | None:
    if path is not None and not Path(path).exists():
        raise DataError.at(path, "it does not exist", f"what source.{key} names", do="Correct it or leave it out.")
    return Path(path) if path else None
