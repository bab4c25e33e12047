"""What `downloads:` in params.yaml may say, and nltk.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from itrcore.files import inside
from itrcore.settings.strict import Digest, Settings


def _inside(text: str) -> str:
    if text and not inside(text):
        raise ValueError(f"{text!r} leaves the download's folder; give a path inside it")
    return text


def _known(source: str) -> str:
    kind = source.partition("://")[0] if "://" in source else None
    if kind not in (None, "http", "https"):
        raise ValueError(
            f"{source!r} is no kind of source; give a path, http(s)://…, kaggle:owner/dataset or gdrive:file-id"
        )
    return source


class DownloadSettings(Settings):
    """One part of a download: files that come from one place.

    sources: tried in order: a file, archive or folder on this disk; http:// or https:// addresses;
        kaggle:owner/dataset; gdrive:file-id or a Google Drive address
    only: applies to what archives, data sets and folders hold; bytes and sha256 to a source that is one file or archive
    """

    sources: Annotated[list[Annotated[str, AfterValidator(_known)]], Field(min_length=1)]
    into: Annotated[str, AfterValidator(_inside)] = ""  # where in the download's folder its files go
    only: list[str] = Field(default_factory=list)  # patterns of the entries wanted (* matches / too); none: all
    bytes: Annotated[int, Field(ge=1)] | None = None  # where it is known
    sha256: Digest | None = None  # likewise; else recorded on first use
    link: bool = False  # a source on this disk is linked to: nothing is copied
    timeout: Annotated[float, Field(gt=0.0)] = 30.0  # seconds without a byte before a source is given up


class NltkArchive(Settings):
    """Where one of nltk's archives comes from, tried in order: a folder of nltk data that holds it, a zip file, or a URL of it."""

    sources: list[str]
    sha256: Digest  # of the zip


class PunktSettings(NltkArchive):
    """Where nltk's data comes from: its English sentence data and, for concepts, its tagger and WordNet.

    tagger, wordnet: without them parts of speech are told by rules of this project
    A folder of nltk data may hold the sentence data unpacked, the other two as zip files.
    """

    files: dict[str, Digest]  # of each file inside english/
    timeout: Annotated[float, Field(gt=0.0)]  # seconds without a byte before a source is given up
    tagger: NltkArchive | None = None
    wordnet: NltkArchive | None = None
