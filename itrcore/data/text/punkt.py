"""nltk's English sentence data (`punkt_tab`): fetched once with a checksum, or a record that there is none.

The folder made here is laid out as nltk expects (`tokenizers/punkt_tab/english/…`) and sealed. Its bytes
depend on the data alone, not on where it came from or why none came: trainings depend on this folder.
"""

from __future__ import annotations

import io
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from itrcore import intact, limits
from itrcore.errors import DataError
from itrcore.fetch.download import download
from itrcore.fetch.problems import SourceError, WrongContent
from itrcore.files import digest, read_within, remove, replacing
from itrcore.settings.downloads import PunktSettings
from itrcore.unpacking import damage_as, opened_zip

_INSIDE = Path("tokenizers", "punkt_tab", "english")


def fetch(settings: PunktSettings, folder: Path) -> str:
    """Fill `folder` from the first source that has the data; returns one line that says where it is from, or why there is none.

    A source that cannot be reached is passed over; the next run continues its unfinished download. A file with a wrong
    checksum is a `DataError`, and no other source is tried: words could get other ids without anyone noticing.
    """
    problems: list[str] = []
    for source in settings.sources:
        try:
            files = _read_source(source, settings, _unfinished(folder, source))
        except (OSError, SourceError, ValueError) as error:
            problems.append(f"{source}: {error}")
            continue
        for name, expected in settings.files.items():
            actual = sha256(files[name]).hexdigest()
            if actual != expected:
                raise DataError.at(
                    source,
                    f"{name} has sha256 {actual}",
                    expected,
                    do="Remove this source from nltk.yaml, or correct its files there.",
                )
        with replacing(folder) as temporary:
            (temporary / _INSIDE).mkdir(parents=True)
            for name in settings.files:
                (temporary / _INSIDE / name).write_bytes(files[name])
            intact.seal(temporary)
        return f"nltk's sentence data: taken from {source}"
    reason = "; ".join(problems) or "no source is listed"
    with replacing(folder) as temporary:
        temporary.mkdir()
        intact.seal(temporary)
    return (
        f"nltk's sentence data cannot be had ({reason}). Vocabularies are built without sentence splitting and say so. "
        "To try again later: dvc repro --force --single-item nltk"
    )


def data_digest(folder: Path) -> str | None:
    """Digest of the sentence data in `folder`, or None where there is none. `DataError` where a file of it is damaged."""
    if not folder.exists():
        return None
    files = intact.check_sealed(folder)
    return digest({Path(name).name: file for name, file in files.items()}) if files else None


def _unfinished(folder: Path, source: str) -> Path:
    """Where a download of `source` lies until it is whole: outside `folder`, which DVC removes before it runs the stage."""
    return folder.with_name(f".{folder.name}-{digest(source)[:8]}") / "punkt_tab.zip"


def _read_source(source: str, settings: PunktSettings, unfinished: Path) -> dict[str, bytes]:
    if source.startswith(("http://", "https://")):
        data = _download(source, settings, unfinished)
    else:
        path = Path(url2pathname(urlsplit(source).path)) if source.startswith("file://") else Path(source)
        if path.is_dir():
            return {name: read_within(path / _INSIDE / name, limits.TEXT) for name in settings.files}
        data = read_within(path, limits.TEXT)
        if (actual := sha256(data).hexdigest()) != settings.sha256:
            raise _wrong(source, f"sha256 {actual} ({len(data):,} bytes)", settings)

    def wrong(found: str) -> DataError:
        expected = "a zip with punkt_tab/english/ and each file that nltk.yaml lists"
        return DataError.at(source, found, expected, do="Correct nltk.yaml.")

    try:
        with damage_as(wrong), opened_zip(io.BytesIO(data)) as archive:
            # These entries only: nothing else of the archive is unpacked.
            return {name: archive.read(f"punkt_tab/english/{name}") for name in settings.files}
    except KeyError as error:
        raise wrong(str(error)) from error


def _download(url: str, settings: PunktSettings, target: Path) -> bytes:
    try:
        download(url, target, sha256=settings.sha256, source="nltk.yaml", timeout=settings.timeout, most=limits.TEXT)
    except WrongContent as error:
        raise _wrong(url, str(error), settings) from error
    finally:
        with suppress(OSError):
            target.parent.rmdir()  # unless something to go on with is in it
    data = target.read_bytes()
    remove(target.parent)
    return data


def _wrong(source: str, found: str, settings: PunktSettings) -> DataError:
    return DataError.at(source, found, f"sha256 {settings.sha256}", do="Is it another release, or an error page?")
