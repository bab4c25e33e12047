"""One picture file: found in its folder, examined by decoding it whole, and decoded to RGB as the field's codes do.

What is turned into RGB, and how (`Image.open(...).convert("RGB")` of the published codes, but for the 16-bit case):

    greyscale        the one channel three times
    palette          its colours
    transparent      the alpha channel is dropped: the colours beneath it show
    CMYK, YCCK       JPEGs as Adobe writes them, inverted; no colour profile is applied
    16 bits          the upper 8 (Pillow's own conversion would make nearly everything white)

The orientation in EXIF is not applied: region boxes and every published picture feature refer to the pixels as stored.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from itrcore import limits
from itrcore.errors import DataError, first_line
from itrcore.files import inside, kind_of, read_within

# Pillow's names, and the ending of each in a shard. What browsers show, so that reports can show it too.
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
# Where COCO's downloads unpack to; the names of the files say which of the two it is.
_COCO_FOLDERS = ("train2014", "val2014")
_AGAIN = "Get this file again."


@dataclass(frozen=True)
class PictureFacts:
    """A whole still picture: format (a key of `FORMATS`), size in pixels as stored, mode as Pillow names it (RGB, L, …)."""

    format: str
    width: int
    height: int
    mode: str


def find(folder: Path, file_name: str) -> Path:
    """The file of that name in `folder`. COCO's pictures are found in `train2014/`, in `val2014/` and without these folders.

    `DataError` where there is none, or the name leads out of the folder.
    """
    if not inside(file_name):
        raise DataError.at(
            folder,
            f"the file name {kind_of(file_name)} leads out of this folder, or no file can have it",
            "a name inside it",
            do="Mend the name where the data set gives it (id_mapping.json, Karpathy's JSON or the captions' file).",
        )
    places = [folder / file_name]
    name = PurePosixPath(file_name)
    if str(name.parent) in (".", *_COCO_FOLDERS):
        places += [folder / below / name.name for below in ("", *_COCO_FOLDERS)]
    for path in places:
        if path.is_file():
            return path
    raise DataError.at(places[0], "no such file", "every picture that captions speak of", do="Put it there.")


def read(folder: Path, file_name: str, max_megapixels: float) -> tuple[bytes, PictureFacts]:
    """The bytes of the picture of that name and what `examine` finds in them. `DataError` as in `find` and `examine`."""
    path = find(folder, file_name)
    data = read_bytes(path)
    return data, examine(data, path, max_megapixels)


def read_bytes(path: Path) -> bytes:
    """The bytes of a picture's file, not yet looked at. `DataError` where they cannot be read or are too many."""
    try:
        return read_within(path, limits.PICTURE)
    except (OSError, ValueError) as error:
        raise DataError.at(path, f"cannot be read ({first_line(error)})", "a readable file") from error


def examine(data: bytes, path: Path, max_megapixels: float) -> PictureFacts:
    """Decode the content of the file `path` to its last row and say what it is.

    The size is judged from the header, before anything is decoded. `DataError` names the file where it is empty, no
    picture, of another format, damaged or cut short, animated, or larger than `max_megapixels` or Pillow's own limit.
    """
    with _opened(data, path) as picture:
        width, height = picture.size
        if width * height > max_megapixels * 1e6:
            limit, do = f"at most {max_megapixels:g} megapixels", "Scale it down, or raise images.max_megapixels."
            raise DataError.at(path, f"too large: {width:,} × {height:,} pixels", limit, do=do)
        # An MPO is a JPEG with further ones behind it, such as a preview: every reader takes the first.
        if picture.format != "MPO" and getattr(picture, "is_animated", False):
            raise DataError.at(path, "an animation", "a still picture", do="Put one frame of it in its place.")
        picture.load()
        if picture.format in ("JPEG", "MPO") and _ends_in_zeros(data):
            raise DataError.at(path, "its end is missing, filled with zeros", "the whole file", do=_AGAIN)
        return PictureFacts("JPEG" if picture.format == "MPO" else str(picture.format), width, height, picture.mode)


def decode(data: bytes, path: Path) -> Image.Image:
    """The picture in `data` as 8-bit RGB; `path` is for messages. `DataError` where it cannot be decoded."""
    with _opened(data, path) as picture:
        return rgb(picture)


def rgb(picture: Image.Image) -> Image.Image:
    """A picture as 8-bit RGB. An error of Pillow's, of any type, where it is only decoded now and is damaged."""
    still = picture
    if picture.mode.startswith("I;16"):
        still = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode == "P" and "transparency" in picture.info:
        still = picture.convert("RGBA")  # the same colours as at once, without Pillow's warning
    return still.convert("RGB")


@contextmanager
def _opened(data: bytes, path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data), formats=list(FORMATS)) as picture:
            yield picture
    except DataError:
        raise
    except UnidentifiedImageError:
        found = f"no picture of a known format (it begins with {data[:12]!r})" if data else "an empty file"
        raise DataError.at(path, found, "JPEG, PNG, WEBP or GIF", do="Get this file again, or convert it.") from None
    except Image.DecompressionBombError as error:
        raise DataError.at(
            path, f"too large: {error}", "a picture within Pillow's limit", do="Scale it down."
        ) from None
    except Exception as error:  # damaged files make Pillow's readers raise errors of many types
        raise DataError.at(path, f"damaged or cut short ({error})", "the whole file", do=_AGAIN) from error


def _ends_in_zeros(data: bytes) -> bool:
    # What an interrupted copy into a file of full length leaves; libjpeg takes zeros for grey blocks and says nothing.
    # Zeros behind a JPEG's end marker are padding, which does no harm.
    content = data.rstrip(b"\0")
    return len(data) - len(content) > 16 and not content.endswith(b"\xff\xd9")
