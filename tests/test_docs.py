"""What the documentation tells a user to write is valid, and what it points to is there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from itrcore.cli.app import app
from itrcore.report.published_figures import published
from itrcore.settings.load import load
from tests.support.project import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
METHOD_PAGES = sorted(set((ROOT / "docs" / "methods").glob("*.md")) - {ROOT / "docs/methods/README.md"})
TOY = ROOT / "docs" / "add-a-method.md"  # its blocks are run by tests/methods/test_add_a_method.py
EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/params.yaml"))
YAML_12 = YAML(typ="safe", pure=True)
RECIPES = {path.stem: YAML_12.load(path.read_text("utf-8")) for path in sorted((ROOT / "recipes").glob("*.yaml"))}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def headings(page: Path) -> set[str]:
    """What GitHub calls a page's headings in links."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
            assert not heading or heading in headings(page.parent / target if target else page), heading


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_itr_are_ones_that_it_has(page: Path) -> None:
    for block in re.findall(r"```\n(.*?)```", page.read_text("utf-8"), re.S):
        for line in re.findall(r"^itr ([^\[\n]+)$", block, re.M):  # no synopsis with [--options]
            command: Any = typer.main.get_command(app)
            words = shlex.split(re.split(r" [>|] ", line)[0], comments=True)
            while hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            command.make_context(command.name, words)


@pytest.mark.parametrize("page", [page for page in PAGES if page != TOY], ids=name_of)
def test_configuration_shown_is_valid(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.S)):
        if block.startswith(("# recipes/", "# sweeps/")):  # a file shown whole
            name, _, content = block.removeprefix("# ").partition("\n")
            assert content == (ROOT / name).read_text("utf-8")
            continue
        shown = YAML_12.load(block)
        # Beside the embedded experiment's entries; a data set of another experiment in that one too, as its runs go on with it.
        homes = [name for name in EXPERIMENTS if name in shown.get("datasets", {})]
        for folder in (ROOT, *(ROOT / "experiments" / name for name in homes)):
            params = YAML_12.load((folder / "params.yaml").read_text("utf-8"))
            params |= {"root": str(ROOT), "downloads": {}}
            for section, entries in shown.items():
                params[section] |= entries
            path = tmp_path / f"{number}-{folder.name}.yaml"
            with open(path, "w", encoding="utf-8") as handle:
                YAML_12.dump(params, handle)
            load(path)


def test_every_make_target_and_command_named_in_the_readme_exists() -> None:
    readme, makefile = ((ROOT / name).read_text("utf-8") for name in ("README.md", "Makefile"))
    for target in set(re.findall(r"^make (\w+)", readme, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def page_of(name: str) -> Path:
    """The one page whose table of numbers has a column for this recipe."""
    (page,) = (page for page in METHOD_PAGES if f"| `{name}` |" in page.read_text("utf-8").split("## Recipe")[-1])
    return page


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_page_with_its_numbers(name: str) -> None:
    shown = {}
    header, *body = rows(page_of(name), "## Recipe")
    for cells in body:
        value = cells[header.index(f"`{name}`")]
        if value != "–":
            shown[cells[0].strip("`")] = YAML_12.load(value)
    settings = {section: RECIPES[name][section] for section in ("model", "loss", "recipe")}
    for key, value in shown.items():
        assert at(settings, key) == value, key
    missing = [leaf for leaf in leaves(settings) if not any(leaf == key or leaf.startswith(f"{key}.") for key in shown)]
    assert not missing


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if "coco" in recipe.get("variants", {})])
def test_every_variant_for_ms_coco_stands_on_its_page(name: str) -> None:
    page = page_of(name)
    assert "`variant: coco`" in page.read_text("utf-8")
    remarks = {cells[0].strip("`"): cells[-1] for cells in rows(page, "## Recipe")[1:]}
    changes = RECIPES[name]["variants"]["coco"]
    for leaf in leaves(changes):
        remark = remarks.get(leaf) or remarks[leaf.rpartition(".")[0]]
        value = at(changes, leaf)
        said = f"{value:g}" if isinstance(value, float) else json.dumps(value)
        assert re.search(rf"MS-COCO[^;]* {re.escape(said)}", remark), leaf


def test_published_figures_are_those_beside_which_results_are_shown() -> None:
    shown = {}
    for page in METHOD_PAGES:
        for family, data, kind, *values in rows(page, "## Published")[1:]:
            shown[family.strip("`"), data, kind] = [None if value == "–" else float(value) for value in values]
    families = {family for family, _, _ in shown}
    for family, row in published().items():
        if family in families:
            for data in ("f30k", "coco_1k", "coco_5k"):
                for kind, values in getattr(row, data).items():
                    pairs = zip(values, shown[family, data, kind], strict=True)
                    assert all(ours in (None, theirs) for ours, theirs in pairs), (family, data, kind)


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, its header first."""
    _, _, section = page.read_text("utf-8").partition(f"{heading}\n")
    lines = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("|") and "|---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def at(settings: Any, key: str) -> Any:
    for part in key.split("."):
        settings = settings[part]
    return settings


def leaves(settings: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"
