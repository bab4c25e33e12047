"""nltk's English sentence data (`punkt_tab`): fetched once with a checksum, or honestly reported as not to be had.

The folder made here is laid out as nltk expects (`tokenizers/punkt_tab/english/…`) and holds `status.json`. Its bytes
depend on the data alone, not on where it came from or why it did not: trainings depend on this folder.
"""

from __future__ import annotations

import http.client
import io
import urllib.request
import zipfile
from hashlib import sha256
from pathlib import Path

from itrcore.config import PunktSettings
from itrcore.errors import DataError
from itrcore.files import digest, read_json, replacing, write_json

_INSIDE = Path("tokenizers", "punkt_tab", "english")


def fetch(settings: PunktSettings, folder: Path) -> str:
    """Fill `folder` from the first source that has the data; returns one line saying what came of it.

    A source that cannot be reached is passed over. A file whose checksum is wrong is an error (`DataError`), not a
    reason to go on: words would get other ids without anyone noticing.
    """
    problems: list[str] = []
    for source in settings.sources:
        try:
            files = _read_source(source, settings)
        except (OSError, http.client.HTTPException) as error:
            problems.append(f"{source}: {getattr(error, 'reason', None) or error or type(error).__name__}")
            continue
        for name, expected in settings.files.items():
            found = sha256(files[name]).hexdigest()
            if found != expected:
                raise DataError.at(
                    source, f"{name} has sha256 {found}", expected, do="Remove this source or correct nltk.files."
                )
        with replacing(folder) as temporary:
            (temporary / _INSIDE).mkdir(parents=True)
            for name in settings.files:
                (temporary / _INSIDE / name).write_bytes(files[name])
            write_json(temporary / "status.json", {"available": True, "digest": digest(settings.files)})
        return f"nltk's sentence data: taken from {source}"
    reason = "; ".join(problems) or "no source is listed"
    with replacing(folder) as temporary:
        temporary.mkdir()
        write_json(temporary / "status.json", {"available": False})
    return (
        f"nltk's sentence data cannot be had ({reason}). Vocabularies are built without sentence splitting and say so. "
        "To try again later: dvc repro --force --single-item nltk"
    )


def data_digest(folder: Path) -> str | None:
    """Digest of the sentence data in `folder`, or None where there is none."""
    status = folder / "status.json"
    return read_json(status).get("digest") if status.exists() else None


def _read_source(source: str, settings: PunktSettings) -> dict[str, bytes]:
    if not source.startswith(("http://", "https://", "file://")) and Path(source).is_dir():
        return {name: (Path(source) / _INSIDE / name).read_bytes() for name in settings.files}
    data = _download(source, settings.timeout) if "://" in source else Path(source).read_bytes()
    found = sha256(data).hexdigest()
    if found != settings.sha256:
        raise DataError.at(
            source,
            f"sha256 {found} ({len(data):,} bytes)",
            settings.sha256,
            do="Is it another release, or an error page?",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Named entries only: nothing else of the archive is unpacked.
            return {name: archive.read(f"punkt_tab/english/{name}") for name in settings.files}
    except (KeyError, zipfile.BadZipFile) as error:
        expected = "a zip with punkt_tab/english/ and each file of nltk.files"
        raise DataError.at(source, str(error), expected, do="Correct nltk in params.yaml.") from error


def _download(url: str, timeout: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as response:
        return bytes(response.read())
