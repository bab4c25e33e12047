"""Finding a data set's files below a folder in one of the layouts that are in use, so that no file has to be moved.

SCAN     data/f30k_precomp/train_caps.txt …                    vocab/f30k_precomp_vocab.json
VSE∞     data/f30k/precomp/train_caps.txt …  data/f30k/id_mapping.json  data/f30k/flickr30k-images/  data/vocab/…
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from itrcore.errors import DataError

# Below the folder that is given: the files themselves, or one or two levels down in either layout.
_PLACES = ("", "precomp", "*_precomp", "*/precomp", "data/*_precomp", "data/*/precomp")
_PICTURES = ("images", "flickr30k-images", "flickr30k_images")
_KARPATHY = {
    **dict.fromkeys(("f30k", "flickr30k"), "dataset_flickr30k.json"),
    **dict.fromkeys(("f8k", "flickr8k"), "dataset_flickr8k.json"),
    **dict.fromkeys(("coco", "mscoco"), "dataset_coco.json"),
}


@dataclass(frozen=True)
class Located:
    """The folder of the SCAN files, and what lies with them; None for what is not there."""

    folder: Path
    id_mapping: Path | None
    karpathy: Path | None
    pictures: Path | None
    vocabulary: Path | None


def locate(folder: Path, train: str, karpathy: Path | None = None) -> Located:
    """Find the data set whose training captions are `{train}_caps.txt` (or `.txt.gz`) in `folder` or below it.

    karpathy: the JSON, where it is known already
    `DataError` where there is no data set, or more than one, or several of Karpathy's files of which none is known to fit.
    """
    if not folder.is_dir():
        raise DataError.at(folder, "no such folder", "one that holds SCAN's files", do="Correct source.folder.")
    folders = sorted({place for place in _places(folder) if _holds(place, train)})
    if not folders:
        looked = ", ".join(place or "." for place in _PLACES)
        raise DataError.at(
            folder, f"no {train}_caps.txt in {looked}", "SCAN's or VSE∞'s layout", do="Correct source.folder."
        )
    if len(folders) > 1:
        names = ", ".join(str(place.relative_to(folder)) for place in folders)
        raise DataError.at(folder, f"found several data sets: {names}", "one", do="Set source.folder to one of them.")
    return _around(folders[0], karpathy)


def _places(folder: Path) -> Iterator[Path]:
    for pattern in _PLACES:
        yield from folder.glob(pattern) if pattern else [folder]


def _holds(folder: Path, train: str) -> bool:
    return any((folder / f"{train}_caps.txt{ending}").exists() for ending in ("", ".gz"))


def _around(folder: Path, karpathy: Path | None) -> Located:
    """What lies with the SCAN files; in VSE∞'s layout, with the folder `precomp`."""
    inside_precomp = folder.name == "precomp"
    # Absolute, as "." has a name too; links are not followed, as it is the name of the link that was chosen.
    name = (folder.absolute().parent.name if inside_precomp else folder.absolute().name).removesuffix("_precomp")
    homes = [folder, *([folder.parent] if inside_precomp else [])]
    return Located(
        folder,
        _first(home / "id_mapping.json" for home in homes),
        karpathy or _karpathy(homes, name),
        _first(home / pictures for home in homes for pictures in _PICTURES),
        # Beside the folder or the folders above it, as far as either layout goes; the name says whose it is.
        _first(place / "vocab" / f"{name}_precomp_vocab.json" for place in (folder, *folder.absolute().parents[:3])),
    )


def _karpathy(homes: list[Path], name: str) -> Path | None:
    """The file of this data set; another name is taken where it is the only one. `DataError` where none of several fits."""
    for home in homes:
        files = sorted(home.glob("dataset_*.json"))
        wanted = [path for path in files if path.name == _KARPATHY.get(name)]
        if wanted or len(files) == 1:
            return (wanted or files)[0]
        if files:
            raise DataError.at(
                home,
                f"found {', '.join(path.name for path in files)}, and the folder's name ({name}) does not say which",
                "one Karpathy file",
                do="Set source.karpathy, or leave only the right one there.",
            )
    return None


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.exists()), None)
