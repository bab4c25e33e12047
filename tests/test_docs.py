"""What the documentation tells a user to write is valid, and what it points to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from itrcore import config
from tests.project import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
YAML_12 = YAML(typ="safe", pure=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configuration_shown_is_valid(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.S)):
        params = YAML_12.load((ROOT / "params.yaml").read_text("utf-8"))
        for section, entries in YAML_12.load(block).items():
            params[section] |= entries
        path = tmp_path / f"{number}.yaml"
        with open(path, "w", encoding="utf-8") as handle:
            YAML_12.dump(params, handle)
        config.load(path)


def test_every_make_target_and_command_named_in_the_readme_exists() -> None:
    readme, makefile = ((ROOT / name).read_text("utf-8") for name in ("README.md", "Makefile"))
    for target in set(re.findall(r"^make (\w+)", readme, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target
