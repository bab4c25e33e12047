"""Other processes of DVC: those that run are waited for, those that are dead are no obstacle."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from itrcore import repro


def test_a_dead_process_of_dvc_whose_number_another_one_has_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".dvc", "tmp").mkdir(parents=True)
    notes = Path(".dvc", "tmp", "rwlock")
    repro.wait_until_free(pytest.fail)  # no notes at all
    sleeping = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    said: list[str] = []
    with (
        subprocess.Popen([*sleeping, "dvc", "repro"], stdin=subprocess.PIPE) as runs,
        subprocess.Popen(sleeping, stdin=subprocess.PIPE) as other,
    ):
        running, dead = ({"pid": process.pid, "cmd": "dvc repro"} for process in (runs, other))
        notes.write_text(
            json.dumps({"write": {"/a": dead, "/b": running}, "read": {"/c": [dead], "/d": [dead, running]}})
        )
        repro.release_dead()
        assert json.loads(notes.read_text()) == {"write": {"/b": running}, "read": {"/d": [running]}}
        waiting = threading.Thread(target=repro.wait_until_free, args=[said.append])
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive() and said == [f"Waiting for another process of DVC ({runs.pid})."]
        monkeypatch.setattr(repro, "_SECONDS", 0.05)
        runs.communicate()
        waiting.join(10)
        assert not waiting.is_alive()
        other.communicate()
