"""nltk's sentence data: from a folder, a zip or a server; wrong bytes refused, silence given up, absence recorded."""

from __future__ import annotations

import io
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from itrcore.data.text import punkt
from itrcore.data.text.vocabulary import splitter_for
from itrcore.errors import DataError
from itrcore.fetch import download
from itrcore.settings.downloads import NltkArchive, PunktSettings
from tests.support import nltk_data
from tests.support.scan_data import PUNKT_FILES, write_punkt_folder

DIGESTS = {name: sha256(content).hexdigest() for name, content in PUNKT_FILES.items()}


def zipped(files: Mapping[str, bytes] = PUNKT_FILES) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"punkt_tab/english/{name}"), content)
        archive.writestr(zipfile.ZipInfo("../outside.txt"), "an archive must not write where it wants")
    return buffer.getvalue()


def settings(*sources: object, data: bytes | None = None, timeout: float = 5.0) -> PunktSettings:
    digest = sha256(zipped() if data is None else data).hexdigest()
    return PunktSettings(sources=[str(s) for s in sources], sha256=digest, files=DIGESTS, timeout=timeout)


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A local HTTP server; yields the zip's URL on it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/punkt_tab.zip"
    finally:
        server.shutdown()
        server.server_close()


def send(data: bytes, status: int = 200, announced: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


@pytest.fixture(autouse=True)
def no_proxy_and_short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "WAIT", 0.01)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def splits_sentences(folder: Path) -> bool:
    return splitter_for(folder)("A man rides. A dog runs.") == ["a", "man", "rides", ".", "a", "dog", "runs", "."]


def test_every_kind_of_source_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "punkt_tab.zip").write_bytes(zipped())
    folder = write_punkt_folder(tmp_path / "nltk_data")
    with serving(send(zipped())) as url:
        sources = [folder, tmp_path / "punkt_tab.zip", (tmp_path / "punkt_tab.zip").as_uri(), url]
        results = []
        for number, source in enumerate(sources):
            message = punkt.fetch(settings(source), tmp_path / f"out{number}")
            assert str(source) in message
            results.append(contents(tmp_path / f"out{number}"))
    assert results[0] == results[1] == results[2] == results[3]
    inside = {f"tokenizers/punkt_tab/english/{name}": content for name, content in PUNKT_FILES.items()}
    assert inside.items() <= results[0].items() and set(results[0]) == {*inside, "files.json"}
    assert punkt.data_digest(tmp_path / "out0") is not None and splits_sentences(tmp_path / "out0")


def test_other_data_have_another_digest(tmp_path: Path) -> None:
    other = {**PUNKT_FILES, "abbrev_types.txt": b"dr\nrides\n"}
    digests = {name: sha256(content).hexdigest() for name, content in other.items()}
    punkt.fetch(settings(write_punkt_folder(tmp_path / "a")), tmp_path / "out_a")
    changed = settings(write_punkt_folder(tmp_path / "b", other)).model_copy(update={"files": digests})
    punkt.fetch(changed, tmp_path / "out_b")
    assert punkt.data_digest(tmp_path / "out_a") != punkt.data_digest(tmp_path / "out_b")


def test_sources_are_tried_in_order_past_those_out_of_reach(tmp_path: Path) -> None:
    with serving(send(b"gone", 404)) as url, serving(send(zipped())) as good:
        message = punkt.fetch(settings(tmp_path / "absent", url, good, "/also/absent"), tmp_path / "out")
    assert good in message and splits_sentences(tmp_path / "out")


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_where_no_source_can_be_reached_the_status_and_the_message_say_so(tmp_path: Path) -> None:
    missing, refused = tmp_path / "absent.zip", f"http://127.0.0.1:{unused_port()}/p.zip"
    message = punkt.fetch(settings(missing, refused), tmp_path / "out")
    assert punkt.data_digest(tmp_path / "out") is None
    assert "cannot be had" in message and "without sentence splitting" in message
    assert str(missing) in message and refused in message and "refused" in message
    assert punkt.data_digest(tmp_path / "out") is None and not splits_sentences(tmp_path / "out")


def test_why_the_data_are_missing_does_not_change_the_output(tmp_path: Path) -> None:
    """Trainings depend on this folder: another error text on another day must not repeat them."""
    punkt.fetch(settings(tmp_path / "absent.zip"), tmp_path / "a")
    punkt.fetch(settings(), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_download_cut_short_is_passed_over(tmp_path: Path) -> None:
    with serving(send(zipped()[:100], announced=len(zipped()))) as url:
        message = punkt.fetch(settings(url), tmp_path / "out")
    assert "cannot be had" in message and "IncompleteRead" in message
    assert punkt.data_digest(tmp_path / "out") is None


@pytest.mark.parametrize("sent", [0, 50])
def test_a_server_that_stalls_is_given_up_after_the_timeout(tmp_path: Path, sent: int) -> None:
    release = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        if sent:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(zipped())))
            handler.end_headers()
            handler.wfile.write(zipped()[:sent])
        release.wait(20)

    with serving(stall) as url:
        start = time.monotonic()
        message = punkt.fetch(settings(url, timeout=0.3), tmp_path / "out")
        waited = time.monotonic() - start
        release.set()
    assert 4 * 0.3 <= waited < 15 and "timed out" in message
    assert punkt.data_digest(tmp_path / "out") is None


def test_a_zip_of_another_checksum_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    other = zipped({"abbrev_types.txt": b""})
    with serving(send(other)) as url, pytest.raises(DataError, match=sha256(other).hexdigest()) as caught:
        punkt.fetch(settings(url, write_punkt_folder(tmp_path / "good")), tmp_path / "out")
    assert url in str(caught.value) and sha256(zipped()).hexdigest() in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_a_web_page_in_place_of_the_zip_is_an_error_not_an_absence(tmp_path: Path) -> None:
    """A network that wants a log-in would else change the words' ids without anyone noticing."""
    page = b"<html>Please log in to this network</html>"
    with serving(send(page)) as url, pytest.raises(DataError, match="is a web page"):
        punkt.fetch(settings(url, write_punkt_folder(tmp_path / "good")), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_a_download_cut_short_goes_on_at_the_next_fetch(tmp_path: Path) -> None:
    data = zipped()
    ranges: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        ranges.append(handler.headers["Range"])
        start = int(ranges[-1].removeprefix("bytes=").rstrip("-")) if ranges[-1] else 0
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", '"1"')
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:] if whole else data[start:100])

    whole = False
    with serving(answer) as url:
        punkt.fetch(settings(url), tmp_path / "out")
        assert punkt.data_digest(tmp_path / "out") is None
        whole = True
        ranges.clear()
        punkt.fetch(settings(url), tmp_path / "out")
    assert ranges == ["bytes=100-"] and punkt.data_digest(tmp_path / "out") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_of_another_checksum_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    folder = write_punkt_folder(tmp_path / "nltk_data", {**PUNKT_FILES, "abbrev_types.txt": b"dr\n"})
    with pytest.raises(DataError, match=r"abbrev_types\.txt has sha256"):
        punkt.fetch(settings(folder), tmp_path / "out")
    bad = zipped({**PUNKT_FILES, "sent_starters.txt": b"x"})
    (tmp_path / "bad.zip").write_bytes(bad)
    with pytest.raises(DataError, match=r"bad\.zip: sent_starters\.txt has sha256"):
        punkt.fetch(settings(tmp_path / "bad.zip", data=bad), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip", "nltk_data"]


@pytest.mark.parametrize("data", [b"no zip", zipped({"abbrev_types.txt": b""})])
def test_an_archive_without_the_files_is_an_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "other.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"other\.zip: .*expected a zip with punkt_tab/english/"):
        punkt.fetch(settings(tmp_path / "other.zip", data=data), tmp_path / "out")


def test_data_that_were_fetched_stay_where_a_later_fetch_fails(tmp_path: Path) -> None:
    folder = write_punkt_folder(tmp_path / "nltk_data")
    punkt.fetch(settings(folder), tmp_path / "out")
    before = contents(tmp_path / "out")
    (folder / "tokenizers" / "punkt_tab" / "english" / "abbrev_types.txt").write_bytes(b"other")
    with pytest.raises(DataError):
        punkt.fetch(settings(folder), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_damaged_data_are_named(tmp_path: Path) -> None:
    punkt.fetch(settings(write_punkt_folder(tmp_path / "nltk_data")), tmp_path / "out")
    path = tmp_path / "out" / "tokenizers" / "punkt_tab" / "english" / "abbrev_types.txt"
    path.write_bytes(path.read_bytes().replace(b"mr", b"ms"))
    with pytest.raises(DataError, match=r"abbrev_types\.txt: this file is damaged: its bytes have changed.*itr heal"):
        splits_sentences(tmp_path / "out")


def archive(part: Path, *sources: object) -> NltkArchive:
    return NltkArchive(sources=[str(source) for source in sources], sha256=sha256(nltk_data.zipped(part)).hexdigest())


def test_tagger_and_wordnet_come_from_archives_and_change_nothing_about_the_sentence_data(tmp_path: Path) -> None:
    folder = write_punkt_folder(
        tmp_path / "nltk_data"
    )  # the tagger in it as nltk's downloader leaves it, WordNet elsewhere
    (folder / "taggers").mkdir()
    (folder / f"{punkt.TAGGER}.zip").write_bytes(nltk_data.zipped(punkt.TAGGER))
    (tmp_path / "wordnet.zip").write_bytes(nltk_data.zipped(punkt.WORDNET))
    sentences = settings(folder)
    punkt.fetch(sentences, tmp_path / "alone")
    tagger, wordnet = archive(punkt.TAGGER, tmp_path / "no", folder), archive(punkt.WORDNET, tmp_path / "wordnet.zip")
    both = sentences.model_copy(update={"tagger": tagger, "wordnet": wordnet})
    lines = punkt.fetch(both, tmp_path / "both").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["nltk's sentence data", "nltk's tagger", "WordNet"]
    assert punkt.data_digest(tmp_path / "both") == punkt.data_digest(tmp_path / "alone") is not None
    assert punkt.has_tagger(tmp_path / "both") and not punkt.has_tagger(tmp_path / "alone")
    for part, files in nltk_data.files().items():
        assert {path.name: path.read_bytes() for path in (tmp_path / "both" / part).iterdir()} == files
    # One of the two is not enough, and it is said what is done without it.
    missing = both.model_copy(update={"wordnet": archive(punkt.WORDNET)})
    said = punkt.fetch(missing, tmp_path / "one")
    assert "WordNet cannot be had (no source is listed). Parts of speech are told by rules" in said
    assert not punkt.has_tagger(tmp_path / "one")


def test_another_tagger_is_refused_and_not_replaced_by_another_source(tmp_path: Path) -> None:
    (tmp_path / "other.zip").write_bytes(nltk_data.zipped(punkt.WORDNET))
    (tmp_path / "tagger.zip").write_bytes(nltk_data.zipped(punkt.TAGGER))
    sentences = settings()
    with pytest.raises(DataError, match=r"other\.zip: sha256 .*expected sha256"):
        tagger = archive(punkt.TAGGER, tmp_path / "other.zip", tmp_path / "tagger.zip")
        punkt.fetch(sentences.model_copy(update={"tagger": tagger}), tmp_path / "out")
    with pytest.raises(DataError, match=r"tagger\.zip: .*expected a zip with wordnet/ and each file"):
        wordnet = NltkArchive(sources=[str(tmp_path / "tagger.zip")], sha256=archive(punkt.TAGGER).sha256)
        punkt.fetch(sentences.model_copy(update={"wordnet": wordnet}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
