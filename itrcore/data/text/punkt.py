"""nltk's English data: fetched once with checksums, or a record of what there is none of.

The sentence data (`punkt_tab`) is for vocabularies, the tagger and WordNet for concepts. The folder made here is laid out as
nltk expects (`tokenizers/punkt_tab/english/…`) and sealed. Its bytes depend on the data alone, not on where it came from or why
none came: trainings depend on this folder.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from itrcore import intact, limits
from itrcore.errors import DataError
from itrcore.fetch.download import download
from itrcore.fetch.problems import SourceError, WrongContent
from itrcore.files import digest, read_within, remove, replacing
from itrcore.settings.downloads import NltkArchive, PunktSettings
from itrcore.unpacking import damage_as, opened_zip

TAGGER, WORDNET = Path("taggers", "averaged_perceptron_tagger_eng"), Path("corpora", "wordnet")
_PUNKT = Path("tokenizers", "punkt_tab")


@dataclass(frozen=True)
class _Part:
    """One of nltk's archives: what is taken of it, and where that lies in a folder of nltk data.

    files: path below `folder` → SHA-256, or None where the archive's own is what is known
    what, without: for messages: its name, and what is done where it cannot be had
    """

    archive: NltkArchive
    folder: Path
    files: Mapping[str, str | None]
    what: str
    without: str


def _parts(settings: PunktSettings) -> Iterator[_Part]:
    sentences = "Vocabularies are built without sentence splitting and say so."
    files = {f"english/{name}": digest for name, digest in settings.files.items()}
    yield _Part(settings, _PUNKT, files, "nltk's sentence data", sentences)
    rules = "Parts of speech are told by rules of this project, and concepts say so."
    if settings.tagger:
        names = (f"averaged_perceptron_tagger_eng.{part}.json" for part in ("weights", "tagdict", "classes"))
        yield _Part(settings.tagger, TAGGER, dict.fromkeys(names), "nltk's tagger", rules)
    if settings.wordnet:
        names = (name for kind in ("noun", "verb", "adj") for name in (f"index.{kind}", f"{kind}.exc"))
        yield _Part(settings.wordnet, WORDNET, dict.fromkeys(names), "WordNet", rules)


def fetch(settings: PunktSettings, folder: Path) -> str:
    """Fill `folder`, each part from the first source that has it; returns a line for each: where it is from, or why there is none.

    A source that cannot be reached is passed over; the next run continues its unfinished download. A file with a wrong
    checksum is a `DataError`, and no other source is tried: words could get other ids without anyone noticing.
    """
    found: dict[Path, bytes] = {}
    lines = []
    for part in _parts(settings):
        files, line = _from_first(part, settings.timeout, folder)
        found |= files
        lines.append(line)
    with replacing(folder) as temporary:
        temporary.mkdir()
        for path, data in found.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_bytes(data)
        intact.seal(temporary)
    return "\n".join(lines)


def data_digest(folder: Path) -> str | None:
    """Digest of the sentence data in `folder`, or None where there is none. `DataError` where a file of `folder` is damaged."""
    files = _files_of(folder, _PUNKT)
    return digest({Path(name).name: file for name, file in files.items()}) if files else None


def copy(source: Path, folder: Path) -> None:
    """Copy the sentence data alone, of the same digest, into a new folder."""
    shutil.copytree(source / _PUNKT, folder / _PUNKT, copy_function=shutil.copyfile)
    intact.seal(folder)


def has_tagger(folder: Path) -> bool:
    """Whether the tagger and WordNet are both in `folder`. `DataError` where a file of it is damaged."""
    return all(_files_of(folder, part) for part in (TAGGER, WORDNET))


def _files_of(folder: Path, part: Path) -> dict[str, str]:
    """A part's files, path → SHA-256."""
    files = intact.check_sealed(folder) if folder.exists() else {}
    return {name: file for name, file in files.items() if Path(name).is_relative_to(part)}


def _from_first(part: _Part, timeout: float, folder: Path) -> tuple[dict[Path, bytes], str]:
    """A part's files by their path in a folder of nltk data, and what to say of it."""
    problems: list[str] = []
    for source in part.archive.sources:
        try:
            files = _read_source(source, part, timeout, _unfinished(folder, source))
        except (OSError, SourceError, ValueError) as error:
            problems.append(f"{source}: {error}")
            continue
        for name, expected in part.files.items():
            actual = sha256(files[name]).hexdigest()
            if expected is not None and actual != expected:
                raise DataError.at(
                    source,
                    f"{Path(name).name} has sha256 {actual}",
                    expected,
                    do="Remove this source from nltk.yaml, or correct its files there.",
                )
        return {part.folder / name: data for name, data in files.items()}, f"{part.what}: taken from {source}"
    reason = "; ".join(problems) or "no source is listed"
    again = "To try again later: dvc repro --force --single-item nltk"
    return {}, f"{part.what} cannot be had ({reason}). {part.without} {again}"


def _unfinished(folder: Path, source: str) -> Path:
    """Where a download of `source` lies until it is whole: outside `folder`, which DVC removes before it runs the stage."""
    return folder.with_name(f".{folder.name}-{digest(source)[:8]}") / "part.zip"


def _read_source(source: str, part: _Part, timeout: float, unfinished: Path) -> dict[str, bytes]:
    if source.startswith(("http://", "https://")):
        data = _download(source, part.archive, timeout, unfinished)
    else:
        path = Path(url2pathname(urlsplit(source).path)) if source.startswith("file://") else Path(source)
        if path.is_dir() and all(part.files.values()):
            return {name: read_within(path / part.folder / name, limits.TEXT) for name in part.files}
        path = path / f"{part.folder}.zip" if path.is_dir() else path
        data = read_within(path, limits.TEXT)
        if (actual := sha256(data).hexdigest()) != part.archive.sha256:
            raise _wrong(source, f"sha256 {actual} ({len(data):,} bytes)", part.archive)

    def wrong(found: str) -> DataError:
        held = Path(part.folder.name, next(iter(part.files), "")).parent
        expected = f"a zip with {held}/ and each file of it that is needed"
        return DataError.at(source, found, expected, do="Correct nltk.yaml.")

    try:
        with damage_as(wrong), opened_zip(io.BytesIO(data)) as archive:
            # These entries only: nothing else of the archive is unpacked.
            return {name: archive.read(f"{part.folder.name}/{name}") for name in part.files}
    except KeyError as error:
        raise wrong(str(error)) from error


def _download(url: str, archive: NltkArchive, timeout: float, target: Path) -> bytes:
    try:
        download(url, target, sha256=archive.sha256, source="nltk.yaml", timeout=timeout, most=limits.TEXT)
    except WrongContent as error:
        raise _wrong(url, str(error), archive) from error
    finally:
        with suppress(OSError):
            target.parent.rmdir()  # unless something to go on with is in it
    data = target.read_bytes()
    remove(target.parent)
    return data


def _wrong(source: str, found: str, archive: NltkArchive) -> DataError:
    return DataError.at(source, found, f"sha256 {archive.sha256}", do="Is it another release, or an error page?")
