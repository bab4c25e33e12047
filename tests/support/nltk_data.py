"""A tagger and a WordNet as small as can be, laid out as nltk has them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from itrcore import intact
from itrcore.data.text import punkt

_TAGS = {
    "a": "DT", "tall": "JJ", "waltzes": "VBZ", "past": "IN", "men": "NNS", "'s": "POS", "glasses": "NNS", "and": "CC", "is": "VBZ",
    "sits": "NNS",
}  # fmt: skip
# What the table lacks is guessed from its last letters: "dancer".
_WEIGHTS = {"i suffix cer": {"NN": 1.0, "VB": -1.0}}
_LICENCE = "  1 This line is of the licence.  \n"


def files() -> dict[Path, dict[str, bytes]]:
    """Folder of nltk's data → name of a file → its bytes."""
    name = punkt.TAGGER.name
    tagger = {"weights": _WEIGHTS, "tagdict": _TAGS, "classes": sorted({*_TAGS.values(), "NN", "VB"})}
    words = {"noun": "glass glasses man men", "verb": "be sit waltz", "adj": "tall"}
    wordnet = {
        f"index.{kind}": _LICENCE + "".join(_line(word, kind) for word in of.split()) for kind, of in words.items()
    }
    wordnet |= {"noun.exc": "men man\n", "verb.exc": "is be\n", "adj.exc": ""}
    return {
        punkt.TAGGER: {f"{name}.{part}.json": json.dumps(value).encode() for part, value in tagger.items()},
        punkt.WORDNET: {name: text.encode() for name, text in wordnet.items()},
    }


def _line(word: str, kind: str) -> str:
    return f"{word} {kind[0]} 1 0 1 1 00000001  \n"


def zipped(part: Path) -> bytes:
    """One of the two as nltk's archive of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files()[part].items():
            archive.writestr(zipfile.ZipInfo(f"{part.name}/{name}"), content)
        archive.writestr(zipfile.ZipInfo(f"{part.name}/README"), "more than is needed")
    return buffer.getvalue()


def write_nltk_folder(folder: Path, without: Path | None = None) -> Path:
    """A folder as stage `nltk` makes it, with both and no sentence data. without: the one that is left out"""
    for part, content in files().items():
        if part != without:
            (folder / part).mkdir(parents=True)
            for name, data in content.items():
                (folder / part / name).write_bytes(data)
    intact.seal(folder)
    return folder
