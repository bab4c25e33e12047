"""Every reader against every hostile file of its kind: one error of ours in one line, soon, and nothing else happens."""

from __future__ import annotations

import os
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from itrcore.errors import DataError, ITRError
from tests.security import finding
from tests.security.readers import OURS, READERS

SECONDS = 5
GROWTH = 700 << 20  # bytes


def test_every_reader_stands_in_the_table() -> None:
    covered = {name for reader in READERS.values() for name in reader.covers}
    known = covered | set(OURS)
    found = set(finding.found())
    assert not (new := found - known), f"add them to tests/security/readers.py: {sorted(new)}"
    assert not (gone := known - found), f"no reader any more: {sorted(gone)}"


@pytest.mark.parametrize("name", READERS)
def test_a_hostile_file_is_one_error_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = READERS[name]
    wrong = []
    for number, (what, data) in enumerate(reader.files().items()):
        folder = tmp_path / str(number)
        path = folder / reader.file
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        monkeypatch.chdir(folder)
        try:
            with bounded(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = reader.read(path)
            if reader.ignores is DataError or given != reader.ignores:
                wrong.append(f"{what}: taken as {str(given)[:80]}")
        except ITRError as error:
            if reader.ignores is not DataError:
                wrong.append(f"{what}: refused ({error})")
            if problem := _unfit(str(error), reader.file):
                wrong.append(f"{what}: {problem}: {str(error)[:300]}")
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
        if (folder / "ran").exists() or Path("/tmp/evil").exists():
            wrong.append(f"{what}: it ran, or left its folder")
        if left := [str(p) for p in folder.rglob("*") if p.name.endswith((".tmp", ".unpacking"))]:
            wrong.append(f"{what}: left {left}")
    assert not wrong, "\n".join(wrong)


def _unfit(message: str, file: str) -> str:
    # A download names each of its sources in a line of its own; settings have a line for each problem.
    lines = message.split("\n")
    if len(lines) > 1 and not message.startswith("downloads.") and not file.endswith(".yaml"):
        return f"{len(lines)} lines"
    if any(len(line) > 4100 for line in lines):
        return "a very long line"
    if "weights_only" in message or "set_int_max_str_digits" in message:
        return "another library's advice"
    if re.search(r"[\x00-\x09\x0b-\x1f]", message):
        return "control characters"
    return ""


@contextmanager
def bounded() -> Iterator[None]:
    """Fail where it takes longer than `SECONDS` of this process's time, or grows this process by more than `GROWTH`."""

    def late(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of computing: other programs on the machine do not count
    Path("/proc/self/clear_refs").write_text("5")
    start = _resident("VmRSS")
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        grown = _resident("VmHWM") - start
        assert grown < GROWTH, f"{grown >> 20} MB more memory"


def _resident(name: str) -> int:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(re.search(rf"{name}:\s*(\d+) kB", status)[1]) << 10  # type: ignore[index]
