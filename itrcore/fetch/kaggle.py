"""A data set on Kaggle through kagglehub: the wanted files one by one, not the bundle of all.

kagglehub downloads, resumes and checks MD5 sums; it reads proxies, its cache's place (KAGGLEHUB_CACHE) and credentials
from its own environment variables. Public data sets need no token as long as Kaggle does not ask for one.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from itrcore.fetch import download
from itrcore.fetch.contents import ARCHIVES, Entry, matching
from itrcore.fetch.problems import SourceError, require_room, room_on_disk
from itrcore.files import inside
from itrcore.progress import Watcher

_TOKEN = (
    "Kaggle wants to know who downloads: make a token at https://www.kaggle.com/settings (API, Create New Token) and put it "
    "into ~/.kaggle/access_token or KAGGLE_API_TOKEN (an older kaggle.json goes to ~/.kaggle/kaggle.json); a data set with "
    "terms must be opened and accepted in the browser once"
)
T = TypeVar("T")


def download_files(handle: str, only: list[str], cache: Path, progress: Watcher) -> Path:
    """Download the files of `owner/dataset` that match `only`; where none does, its archives, to be looked into.

    Returns the folder of the files. Raises `SourceError`; what was downloaded stays in kagglehub's cache, which is `cache`
    unless KAGGLEHUB_CACHE names another.
    """
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    ours = "KAGGLEHUB_CACHE" not in os.environ
    if ours:
        os.environ["KAGGLEHUB_CACHE"] = str(cache.absolute())
    try:
        files = _listing(handle)
        archives = [entry for entry in files if entry.name.lower().endswith(ARCHIVES)]
        wanted = matching(files, only) or archives
        if not wanted:
            raise SourceError(f"no file matches {only}; it holds {', '.join(entry.name for entry in files[:5])}, …")
        folder = cache
        for entry in wanted:
            path = _get(handle, entry, progress)
            folder = path.parents[len(Path(entry.name).parents) - 1]
        return folder
    finally:
        if ours:
            del os.environ["KAGGLEHUB_CACHE"]


def _listing(handle: str) -> list[Entry]:
    def ask() -> list[Entry]:
        from kagglehub.clients import build_kaggle_client
        from kagglehub.handle import parse_dataset_handle
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesRequest

        parsed = parse_dataset_handle(handle)
        request = ApiListDatasetFilesRequest()
        request.owner_slug, request.dataset_slug, request.page_size = parsed.owner, parsed.dataset, 200
        if parsed.version:
            request.dataset_version_number = parsed.version
        files: list[Entry] = []
        with build_kaggle_client() as client:
            while True:
                answer = client.datasets.dataset_api_client.list_dataset_files(request)
                files += [
                    Entry(file.name, file.total_bytes) for file in answer.dataset_files or [] if inside(file.name)
                ]
                if not answer.next_page_token:
                    return files
                request.page_token = answer.next_page_token

    return _patiently(ask)


def _get(handle: str, entry: Entry, progress: Watcher) -> Path:
    def get() -> Path:
        import kagglehub

        return Path(kagglehub.dataset_download(handle, path=entry.name))

    place = Path(os.environ["KAGGLEHUB_CACHE"])
    place.mkdir(parents=True, exist_ok=True)
    begun = sum(path.stat().st_size for path in place.rglob(glob.escape(Path(entry.name).name)) if path.is_file())
    require_room(place, entry.bytes - begun)
    with room_on_disk(place):
        path = _patiently(get)
    progress.say(f"{entry.name}: {path.stat().st_size:,} bytes from Kaggle")
    return path


def _patiently(work: Callable[[], T]) -> T:
    """The result of `work`, tried again after a broken connection: kagglehub resumes what it has begun.

    `SourceError` where it fails each time, or for another reason.
    """
    import requests
    from kagglehub.exceptions import DataCorruptionError

    for attempt in range(1, download.TRIES + 1):
        try:
            with _quiet():
                return work()
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else None
            if status in (401, 403):
                raise SourceError(f"{status}: {_TOKEN}") from error
            raise SourceError(" ".join(str(error).split())) from error
        except (requests.RequestException, DataCorruptionError) as error:
            if attempt == download.TRIES:
                raise SourceError(f"Kaggle cannot be had: {download.reason(error)}") from error
            time.sleep(download.WAIT * 2 ** (attempt - 1))
        except ValueError as error:  # a handle or a credentials file that kagglehub cannot read
            raise SourceError(str(error)) from error
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """kagglehub always draws a bar, which fills a log file with lines; on a terminal it is welcome."""
    if sys.stderr.isatty():
        yield
    else:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
