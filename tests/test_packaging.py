"""What an installed package holds: every file that its code reads, and its type hints."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.support.project import ROOT

PACKAGES = ("itrcore", "stages", "flows")


def test_a_wheel_holds_every_file_of_its_packages(tmp_path: Path) -> None:
    for name in PACKAGES:  # a copy, as building leaves files where it runs
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    here = {path.relative_to(tmp_path).as_posix() for name in PACKAGES for path in (tmp_path / name).rglob("*.*")}
    program = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    with ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        held = {name for name in wheel.namelist() if not name.startswith("itr-")}
    assert held == here and "itrcore/py.typed" in held
