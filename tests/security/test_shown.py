"""What is shown of texts from outside: no terminal or page obeys them, and no password is given away or kept."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import re
import time
import warnings
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from itrcore.cli.data import data as data_commands
from itrcore.data.sources import published_shards
from itrcore.errors import ITRError, shown
from itrcore.fetch import download as downloading
from itrcore.fetch import hub, parts
from itrcore.progress import count_bars
from itrcore.report.html import write_report
from itrcore.report.results import collect
from itrcore.settings.datasets import ShardsSource
from itrcore.settings.downloads import DownloadSettings
from itrcore.settings.evaluation import ReportSettings
from itrcore.terminal import Screen, say, user_errors, warn
from tests.support.checked_data import clean, prepare
from tests.support.fetch_server import Served, serving
from tests.support.project import ROOT
from tests.support.report_data import evaluation, put_run, retrieved
from tests.support.report_data import write as write_record

EVIL = "\x1b[31mred\x1b]0;T\x07\x9b\u202e"  # colour, the window's title, another beginning of a sequence, writing turned round
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.mark.parametrize(
    "text",
    [
        "http://user:SECRET@host:1/x",
        "http://user:SEC@RET@host/x",
        "http://user:SEC/RET@host/x",
        "http://user:SEC:RET@host",
        "http://user:SECRET%40x@host",
        "https://SECRET@host/x",
        "postgresql+psycopg2://u:SECRET@h/db",
        "a http://u:p@h1,http://u:SECRET@h2",
        "https://h/x?sig=SECRET%2B&se=2",
        "https://h/x?X-Amz-Credential=SECRET%2F2&X-Amz-Security-Token=SECRET&X-Amz-Signature=SECRET",
        "https://h/x?a=1;access_token=SECRET",
        "https://h/#access_token=SECRET",
        "https://h/x?X-Goog-Signature=SECRET&password=SECRET&api_key=SECRET&jwt=SECRET&auth=SECRET&sas_token=SECRET",
        "next=https%3A%2F%2Fuser%3ASECRET%40host%2Fx",
        "u=https%3A%2F%2Fh%2Fx%3Ftoken%3DSECRET%26b%3D1",
        "Authorization: Bearer SECRETSECRET",
        "{'Authorization': 'Basic SECRET=='}",
        "authorization=SECRET",
        "Bearer SECRETSECRET",
        "X-Api-Key: SECRET",
        "Set-Cookie: sid=SECRET; Path=/",
        "password=SECRET host=x",
        "KAGGLE_KEY=SECRET",
        "hf_SECRETSECRETSECRETSECRET",
        "ghp_SECRETSECRETSECRETSECRET",
    ],
)
def test_no_password_is_shown(text: str) -> None:
    assert "SECRET" not in shown(text) and "RET@" not in shown(text)
    assert shown(shown(text)) == shown(text) and "SECRET" not in str(ITRError(f"x {text} y"))


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8080/a@b",
        "https://host/@scope/x?page=2",
        "mail a@b.org",
        "git@host:a/b.git",
        "sqlite:////home/a@b/mlflow.db",
        "no token has the id 5",
        "http://[::1]:80/a",
        "https://host/monitor?signal=1&design=2",
        "the keys: a, b; a token embedding",
    ],
)
def test_what_is_no_password_is_shown(text: str) -> None:
    assert shown(text) == text


def test_long_hostile_texts_take_no_time_and_make_no_long_message() -> None:
    started = time.process_time()
    for piece in ("http://", "://a:", "?key", "authorization ", "%3a%2f%2f", "x-key", "\x1b", "a@", "api_", "&token="):
        assert len(str(ITRError(piece * (200_000 // len(piece))))) < 4100
    assert time.process_time() - started < 5


def test_lines_tables_warnings_and_bars(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{EVIL} http://u:SECRET@h")
    warn(EVIL)
    with count_bars() as bars:
        bars.say(f"{EVIL} http://u:SECRET@h [bold]")
        bars.show(EVIL, 1, 2)
    printed = capsys.readouterr()
    assert r"\x1b[31mred" in printed.out and "[bold]" in printed.out and r"\x1b[31mred" in printed.err
    assert not OBEYED.search(printed.out + printed.err) and "SECRET" not in printed.out


def test_logs_and_warnings_of_other_libraries() -> None:
    stream = io.StringIO()
    log, handler = logging.getLogger("some.library"), logging.StreamHandler(stream)
    log.addHandler(handler)
    try:
        with user_errors():
            log.warning("API request to %s failed %s", "http://u:SECRET@h", EVIL)
            assert "SECRET" not in warnings.formatwarning("to http://u:SECRET@h", UserWarning, "a.py", 1)
        log.warning("after")
    finally:
        log.removeHandler(handler)
    assert "API request to http://h failed" in stream.getvalue() and not OBEYED.search(stream.getvalue())
    assert "SECRET" not in stream.getvalue() and stream.getvalue().endswith("after\n")


def test_a_screen_has_its_own_colours_and_no_other() -> None:
    file = io.StringIO()
    screen = Screen(file=file, force_terminal=True, color_system="standard", width=100)
    table = Table(title=Text(EVIL))
    table.add_column(EVIL)
    table.add_row(Text(EVIL, style="bold green"))
    screen.print(table)
    screen.print(Text(EVIL), EVIL)
    text = file.getvalue()
    assert "\x1b[1;32m" in text
    assert not re.search(r"\x1b\[31m|\x1b\]|\x07|\x9b|\u202e", text) and r"\x1b[31mred" in text


def test_nothing_is_printed_in_another_way() -> None:
    """`say`, `warn` and `Screen` clean what they print: whoever prints has to use them."""
    allowed = {"itrcore/terminal.py", "itrcore/progress.py"}
    allowed |= {"itrcore/answer.py", "itrcore/cli/output.py"}  # JSON in ASCII, and what `shown` has cleaned
    for path in sorted([*(ROOT / "itrcore").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and name not in allowed:
                assert node.func.id not in ("print", "Console"), f"{name}, line {node.lineno}"


def test_a_data_set_is_checked(tmp_path: Path) -> None:
    toy = clean()
    for texts in toy.captions["test"]:
        texts[0] = f"{EVIL} dog"
    prepare(toy, tmp_path)
    with contextlib.chdir(tmp_path):
        result = CliRunner(env={"COLUMNS": "100"}).invoke(data_commands, ["check", "toy"])
    assert result.output and not OBEYED.search(result.output)
    for page in tmp_path.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not OBEYED.search(text), OBEYED.search(text)
        assert r"\x1b[31mred" in text


def test_a_report(tmp_path: Path) -> None:
    record = evaluation("a", "toy", "m", 1, 10.0, device=f"{EVIL} http://u:SECRET@h/?token=SECRET")
    put_run(tmp_path, record)
    found = retrieved()
    found["text_to_image"][0]["caption"] = f"<b>{EVIL} http://u:SECRET@h"
    write_record(tmp_path / "results/toy/a/retrieved.json", found)
    results = collect(tmp_path, {"a": "toy"}, {})
    write_report(results, tmp_path / "report", ReportSettings(title=EVIL), {}, {EVIL: EVIL})
    pages = [path for path in (tmp_path / "report").rglob("*") if path.suffix in (".html", ".md", ".svg")]
    assert len(pages) >= 3
    for page in pages:
        text = page.read_text("utf-8")
        assert not OBEYED.search(text) and "SECRET" not in text and r"\x1b" in text, page
    assert "&lt;b&gt;\\x1b[31mred" in (tmp_path / "report/runs/a.html").read_text("utf-8")  # still escaped once


def test_a_download(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "WAIT", 0.001)
    with serving(**{"a.txt": Served(b"text")}) as server, count_bars() as bars:
        address = server.url.replace("://", "://user:SECRET@")
        parts.fetch(
            "d", {"p": DownloadSettings(sources=[f"{address}no.txt?token=SECRET", f"{address}a.txt"])}, tmp_path, bars
        )
        cut = Served(b"x" * 100_000, cut_at=50_000)
        server.files["b.txt"] = cut
        with pytest.raises(ITRError) as raised:
            parts.fetch("e", {"p": DownloadSettings(sources=[f"{address}b.txt"])}, tmp_path, bars)
    printed = capsys.readouterr()
    assert "is passed over" in printed.out and "bytes from http://127" in printed.out
    assert "SECRET" not in printed.out + printed.err + str(raised.value)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "b.txt.part.json" for path in kept)
    assert not any(b"SECRET" in path.read_bytes() or "SECRET" in path.name for path in kept)


def test_the_address_of_published_shards_is_kept_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_shards, "_check_images", lambda *_: None)
    monkeypatch.setattr(published_shards, "_indexes", lambda *_: {"features": "none", "digest": "d"})
    with serving(**{"captions.parquet": Served(b"x"), "shards/regions/shards.json": Served(b"{}")}) as server:
        address = server.url.rstrip("/").replace("://", "://user:SECRET@")
        source = published_shards.obtain(ShardsSource(kind="shards", url=address, cache="c"), tmp_path)
    assert source.published == {"url": server.url.rstrip("/"), "cache": "c"}
    printed = capsys.readouterr().out
    assert "SECRET" not in printed and "~/.netrc" in printed


def test_torchs_advice_is_not_passed_on() -> None:
    advice = "Weights only load failed. In PyTorch 2.6, we changed the default value of the `weights_only` argument"
    message = str(hub.refused("BERT", "some/name", None, RuntimeError(advice), "folder"))
    assert "eights_only" not in message and "Weights only" not in message and "wants code to be run" in message
