"""The training-memory benchmark at a tiny size: a process for each method, figures that belong to it, the promise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import train_memory
from itrcore.files import read_json

TINY = ("--batch", "4", "--dim", "16", "--steps", "2", "--threads", "1")


def run(path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--json", str(path), *options, *TINY])
    return train_memory.main(), read_json(path)


def test_training_steps_of_a_method_are_measured_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = bytearray(2_000_000_000)  # by this process, which starts the others
    code, written = run(tmp_path / "out.json", monkeypatch, "--methods", "scan_i2t")
    del held
    assert code == 0
    assert set(written) == {"scan_i2t"}
    assert written["scan_i2t"]["step_seconds"] > 0
    assert 0.1 < written["scan_i2t"]["peak_gb"] < 1.5
    assert written["scan_i2t"]["kept"]


def test_more_memory_than_promised_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_memory, "LIMIT_GB", 0.1)
    code, written = run(tmp_path / "out.json", monkeypatch, "--methods", "lhsc")
    assert code == 1
    assert written["lhsc"]["peak_gb"] > 0.1
    assert not written["lhsc"]["kept"]
    assert "NOT within 0.1 GB" in capsys.readouterr().out
