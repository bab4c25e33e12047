"""dvc.yaml lists the code of each stage by hand: a module that a stage imports and dvc.yaml forgets means stale results."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.project import ROOT

# Modules that cannot change a stage's outputs: types of params.yaml (whose values are DVC parameters), paths, messages,
# tracking, progress, the names of versions, how nltk is imported, and what downloads files that are then checked by digests.
_NEUTRAL = {
    "itrcore/__init__.py",
    "itrcore/config.py",
    "itrcore/config_checks.py",
    "itrcore/cores.py",
    "itrcore/settings.py",
    "itrcore/terminal.py",
    "itrcore/errors.py",
    "itrcore/files.py",
    "itrcore/hub.py",
    "itrcore/layout.py",
    "itrcore/provenance.py",
    "itrcore/tracking/__init__.py",
    "itrcore/tracking/run_log.py",
    "itrcore/tracking/tracker.py",
    "itrcore/data/settings.py",
    "itrcore/models/encoder_settings.py",
    "itrcore/models/recipe.py",
    "itrcore/models/settings.py",
    "itrcore/data/__init__.py",
    "itrcore/data/nltk_parts.py",
    "itrcore/evaluation/__init__.py",
    "itrcore/data/shards/__init__.py",
    "stages/__init__.py",
    "stages/progress.py",
}

STAGES = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]


def _stage(name: str) -> dict:
    entry = STAGES[name]
    return entry.get("do", entry)


@pytest.mark.parametrize("name", list(STAGES))
def test_every_module_a_stage_imports_is_a_dependency(name: str) -> None:
    stage = _stage(name)
    module = stage["cmd"].split()[2]
    listed = [path for path in stage["deps"] if path.startswith(("itrcore", "stages"))]
    if name == "raw":
        listed.append("itrcore/data/scenes")  # `reads` of the data set that it makes
    needed = {
        path
        for path in _imports(Path(module.replace(".", "/") + ".py"), set()) - _NEUTRAL
        # Downloads are checked by their digests. What reads released checkpoints must not make every training stale: it is
        # held to the released codes' figures by tests/test_parity.py.
        if not path.startswith(("itrcore/fetch/", "itrcore/released/"))
    }
    missing = {path for path in needed if not any(path == entry or path.startswith(f"{entry}/") for entry in listed)}
    assert not missing


@pytest.mark.parametrize("name", list(STAGES))
def test_listed_code_exists_and_is_used(name: str) -> None:
    stage = _stage(name)
    needed = _imports(Path(stage["cmd"].split()[2].replace(".", "/") + ".py"), set())
    for path in stage["deps"]:
        if path.startswith(("itrcore", "stages")):
            assert (ROOT / path).exists(), path
            assert any(found == path or found.startswith(f"{path}/") for found in needed), f"{path} is not imported"


def _imports(path: Path, seen: set[str]) -> set[str]:
    """This project's files that a file imports, directly or not, itself included."""
    if str(path) in seen:
        return seen
    seen.add(str(path))
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in ("itrcore", "stages"):
                base = Path(*name.split("."))
                for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                    if (ROOT / candidate).exists():
                        _imports(candidate, seen)
    return seen
