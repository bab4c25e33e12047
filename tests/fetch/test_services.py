"""Kaggle and Google Drive through their real libraries, kagglehub and gdown, against stand-ins for the services' servers.

The libraries go through a proxy on this machine (HTTPS_PROXY) that answers as api.kaggle.com, storage.googleapis.com and
drive.google.com with a certificate of its own (REQUESTS_CA_BUNDLE): what is tested is their code and ours, not the services.
"""

from __future__ import annotations

import datetime
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import DataError
from itrcore.fetch import download
from itrcore.fetch.parts import fetch
from itrcore.settings.downloads import DownloadSettings
from tests.support.fetch_server import content, zip_of

HOSTS = ["api.kaggle.com", "storage.googleapis.com", "drive.google.com"]
FEATURES = content(300_000)
FILES = {"data/f30k_precomp/ims.npy": FEATURES, "data/f30k_precomp/caps.txt": b"a\n", "data/coco_precomp/ims.npy": b"c"}
DRIVE_ID = "1iY6S-w-vG-4T_v9OvlFkZ1GDPzX5YVtl"
Answer = Callable[[BaseHTTPRequestHandler, str], None]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for the services' names, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return folder / "cert.pem", folder / "key.pem"


class Services:
    """What the stand-ins hold and were asked: Kaggle's files, and Drive's answer."""

    def __init__(self) -> None:
        self.kaggle: dict[str, bytes] = dict(FILES)
        self.status = 200
        self.cuts = 0
        self.asked: list[tuple[str, str | None]] = []
        self.drive: Answer = lambda handler, _: send(handler, 404, b"")

    def answer(self, handler: BaseHTTPRequestHandler, host: str) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else {}
        if host == "drive.google.com":
            self.drive(handler, handler.path)
        elif host == "storage.googleapis.com":
            self._stored(handler, handler.path.lstrip("/"))
        elif self.status != 200:
            send(handler, self.status, b'{"code": %d, "message": "no"}' % self.status, "application/json")
        elif handler.path.endswith("/GetDataset"):
            send(handler, 200, b'{"currentVersionNumber": 3}', "application/json")
        elif handler.path.endswith("/ListDatasetFiles"):
            # One file per page: a real data set has more files than a page holds.
            names, at = list(self.kaggle), int(body.get("pageToken") or 0)
            page = [{"name": names[at], "totalBytes": len(self.kaggle[names[at]])}]
            following = str(at + 1) if at + 1 < len(names) else ""
            reply = {"datasetFiles": page, "nextPageToken": following}
            send(handler, 200, json.dumps(reply).encode(), "application/json")
        else:
            handler.send_response(302)
            handler.send_header("Location", f"https://storage.googleapis.com/{body['fileName']}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def _stored(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        wanted, data = handler.headers.get("Range"), self.kaggle[name]
        self.asked.append((name, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        handler.send_response(206 if wanted else 200)
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        if self.cuts and len(data) > 1000:
            self.cuts -= 1
            handler.wfile.write(data[start : start + 2 * 2**20])
            handler.close_connection = True
        else:
            handler.wfile.write(data[start:])


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "text/plain", **more: str) -> None:
    handler.send_response(status)
    headers = {"Content-Type": kind, "Content-Length": str(len(body))}
    for name, value in {**headers, **{name.replace("_", "-"): value for name, value in more.items()}}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def services(authority: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    state = Services()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)

    class Quiet(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

    class Proxy(Quiet):
        def do_CONNECT(self) -> None:
            host = self.path.partition(":")[0]
            self.send_response(200)
            self.end_headers()
            self.close_connection = True

            class Inside(Quiet):
                def do_GET(self) -> None:
                    state.answer(self, host)

                do_POST = do_GET

            try:
                with context.wrap_socket(self.connection, server_side=True) as secure:
                    Inside(secure, self.client_address, self.server)  # type: ignore[arg-type]
            except OSError:
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLEHUB_CACHE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority[0]))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home" / ".kaggle"))
    monkeypatch.setattr(download, "WAIT", 0.01)
    yield state
    server.shutdown()
    server.server_close()


def get(folder: Path, source: str, **settings: Any) -> set[str]:
    fetch("d", {"part": DownloadSettings(sources=[source], **settings)}, folder)
    return {path.relative_to(folder / "d").as_posix() for path in (folder / "d").rglob("*") if path.is_file()} - {
        ".fetched.json"
    }


KAGGLE = "kaggle:kuanghueilee/scan-features"


def test_of_a_kaggle_data_set_only_the_files_asked_for_are_downloaded(services: Services, tmp_path: Path) -> None:
    files = get(tmp_path, KAGGLE, into="precomp", only=["*f30k_precomp/*"])
    assert files == {"precomp/ims.npy", "precomp/caps.txt"}
    assert (tmp_path / "d" / "precomp" / "ims.npy").read_bytes() == FEATURES
    assert [name for name, _ in services.asked] == ["data/f30k_precomp/ims.npy", "data/f30k_precomp/caps.txt"]
    asked = len(services.asked)
    get(tmp_path, KAGGLE, into="precomp", only=["*f30k_precomp/*"])
    assert len(services.asked) == asked
    assert not (tmp_path / "home" / ".cache").exists()


def test_a_kaggle_data_set_that_holds_an_archive_is_looked_into(services: Services, tmp_path: Path) -> None:
    services.kaggle = {"data.zip": zip_of(FILES), "readme.txt": b"x"}
    assert get(tmp_path, KAGGLE, only=["*coco_precomp/*"]) == {"ims.npy"}
    assert [name for name, _ in services.asked] == ["data.zip"]


def test_a_kaggle_download_that_is_cut_goes_on_where_it_stopped(services: Services, tmp_path: Path) -> None:
    services.kaggle, services.cuts = {"ims.npy": content(5 * 2**20)}, 1
    assert get(tmp_path, KAGGLE) == {"ims.npy"}
    assert (tmp_path / "d" / "ims.npy").read_bytes() == services.kaggle["ims.npy"]
    assert any(wanted for _, wanted in services.asked)


@pytest.mark.parametrize("status", [401, 403])
def test_without_a_kaggle_token_the_error_says_where_to_get_and_put_one(
    services: Services, tmp_path: Path, status: int
) -> None:
    services.status = status
    with pytest.raises(DataError, match=r"https://www\.kaggle\.com/settings.*~/\.kaggle/access_token"):
        get(tmp_path, KAGGLE)


def test_a_kaggle_data_set_that_is_not_there_is_named(services: Services, tmp_path: Path) -> None:
    services.status = 404
    with pytest.raises(DataError, match=r"kaggle:kuanghueilee/scan-features: .*"):
        get(tmp_path, KAGGLE)
    with pytest.raises(DataError, match="Invalid dataset handle"):
        get(tmp_path, "kaggle:nothing")


@pytest.mark.parametrize(
    "source", [f"gdrive:{DRIVE_ID}", f"https://drive.google.com/file/d/{DRIVE_ID}/view?usp=sharing"]
)
def test_a_file_on_google_drive_comes_past_the_page_that_wants_a_confirmation(
    services: Services, tmp_path: Path, source: str
) -> None:
    def drive(handler: BaseHTTPRequestHandler, path: str) -> None:
        if "confirm=t" in path:
            send(handler, 200, zip_of(FILES), "application/zip", Content_Disposition='attachment; filename="data.zip"')
        else:
            page = '<form id="download-form" action="https://drive.google.com/download">'
            page += f'<input type="hidden" name="id" value="{DRIVE_ID}"><input type="hidden" name="confirm" value="t">'
            send(handler, 200, f"{page}</form>".encode(), "text/html")

    services.drive = drive
    assert get(tmp_path, source, into="precomp", only=["*f30k_precomp/*"]) == {"precomp/ims.npy", "precomp/caps.txt"}


def test_a_google_drive_file_over_its_quota_is_an_error_that_says_so(services: Services, tmp_path: Path) -> None:
    page = b'<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>'
    services.drive = lambda handler, _: send(handler, 200, page, "text/html")
    with pytest.raises(DataError, match=rf"gdrive:{DRIVE_ID}: .*Too many users"):
        get(tmp_path, f"gdrive:{DRIVE_ID}")


def test_a_google_drive_file_that_is_cut_goes_on_where_it_stopped(services: Services, tmp_path: Path) -> None:
    data, ranges = content(3 * 2**20), []

    def drive(handler: BaseHTTPRequestHandler, _: str) -> None:
        wanted = handler.headers.get("Range")
        ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        handler.send_response(206 if wanted else 200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Disposition", 'attachment; filename="ims.npy"')
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:] if wanted else data[: 2 * 2**20])
        handler.close_connection = True

    services.drive = drive
    assert get(tmp_path, f"gdrive:{DRIVE_ID}") == {"ims.npy"}
    assert (tmp_path / "d" / "ims.npy").read_bytes() == data and any(ranges)


def test_a_google_drive_folder_is_refused_by_name(services: Services, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Google Drive folder"):
        get(tmp_path, "https://drive.google.com/drive/folders/1os1Kr7HeTbh8FajBNegW8rjJf6GIhFqC")
