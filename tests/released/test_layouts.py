"""Layouts are the files that lie in the package: one that is added is known, and a run reads its own method's alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from itrcore.released.layouts import LAYOUTS, layout_of
from itrcore.settings.recipes import Recipes
from tests.support.parity_fixtures import ROOT
from tests.support.tiny_project import write_params

RECIPES = Recipes(ROOT / "recipes")

SETTINGS = '''"""A published method that is added: VSE++ with a linear layer before its pooling, by another name."""

from typing import Literal

from itrcore.methods.vse.settings import ESASettings


class ToySettings(ESASettings):
    kind: Literal["toy"]
'''
LAYOUT = """from itrcore.released import images, vse_encoders
from itrcore.released.contract import Layout
from itrcore.released.options import common
from itrcore.released.text import bigru

LAYOUTS = {
    "toy_bigru": Layout(
        source="lab/toy",
        parts=vse_encoders.pooled(bigru, "toy.", "pooling.linear."),
        text=bigru,
        image=images.regions,
        options=lambda model, sizes, data: {**common(model, sizes, data), "toy_views": model.views},
        sizes=vse_encoders.SIZES,
        remarks=lambda model: [f"{model.views} views"],
    )
}
"""
PROGRAM = """
import json
from pathlib import Path
from itrcore.assets.regions import Regions
from itrcore.assets.words import BiGRUSource
from itrcore.cli.app import app
from itrcore.errors import DataError
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.exporting import options
from itrcore.released.layouts import layout_of
from itrcore.settings.load import load

settings = load().method_with("toy")
layout = layout_of(settings)
sizes = Sizes(settings, Regions(6), BiGRUSource(settings.model.text, 9), 9)
method = convert.empty(sizes)
checkpoint = Checkpoint(Path("m.pth"), convert.to_released(method, layout), 1, None, None, options(sizes, "f30k"))
again = convert.weights(checkpoint, layout, convert.empty(convert.sizes(checkpoint, settings)))
same = all(value.equal(method.state_dict()[name]) for name, value in again.items())
try:
    convert.weights(checkpoint, layout_of(load().method_with("esa")), method)
except DataError as error:
    refused = str(error)
try:
    app(["import", "--method", "tyo", "--text", "bigru", "--dataset", "tiny", "--checkpoint", "m.pth"])
except SystemExit:
    pass
print(json.dumps([layout.source, same, checkpoint.options["toy_views"], list(layout.remarks(settings.model)), refused]))
"""


def run(program: str, folder: Path, code: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A Python program in a process of its own, with the code of a folder."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_file_that_is_added_is_all_that_a_methods_checkpoints_need(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "itrcore", tmp_path / "itrcore", ignore=shutil.ignore_patterns("__pycache__"))
    write_params(tmp_path)
    # The method itself: its folder, a line of the registry, a recipe.
    (tmp_path / "itrcore/methods/toy").mkdir()
    (tmp_path / "itrcore/methods/toy/settings.py").write_text(SETTINGS)
    registry = tmp_path / "itrcore/registry.py"
    line = '    "toy": ("itrcore.methods.toy.settings:ToySettings", "itrcore.methods.vse.esa:ESA"),\n'
    registry.write_text(registry.read_text().replace("\nMETHODS = {\n", f"\nMETHODS = {{\n{line}"))
    recipe = (tmp_path / "recipes/esa.yaml").read_text()
    (tmp_path / "recipes/toy.yaml").write_text(recipe.replace("kind: esa", "kind: toy", 1))

    (tmp_path / "itrcore/released/layouts/toy.py").write_text(LAYOUT)

    done = run(PROGRAM, tmp_path, tmp_path)
    source, same, views, remarks, refused = json.loads(done.stdout.splitlines()[-1])
    assert (source, same, views, remarks) == ("lab/toy", True, 2, ["2 views"])
    assert refused.startswith("m.pth: a checkpoint of toy_bigru, by the names of its entries; expected one as Kevin")
    said = done.stderr.splitlines()[-1]
    assert said.startswith("error: no recipe is of tyo_bigru; did you mean 'toy_bigru'? (known: esa_bert, esa_bigru, ")
    assert said.endswith(", toy_bigru, vse_infty_bigru)")


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name].settings.family in LAYOUTS])
def test_a_layout_stands_in_the_file_of_its_methods_kind(name: str) -> None:
    settings = RECIPES[name].settings
    assert layout_of(settings) is LAYOUTS[settings.family]


@pytest.mark.parametrize("name", ["esa_bigru", "lhsc_bigru"])
def test_a_run_reads_its_own_methods_layouts_and_no_others(name: str, tmp_path: Path) -> None:
    program = f"""
import json, sys
from pathlib import Path
from itrcore.released.importing import layout_of
from itrcore.settings.recipes import Recipes
layout_of(Recipes(Path({str(ROOT / "recipes")!r}))[{name!r}].settings)
print(json.dumps([module for module in sys.modules if module.startswith("itrcore.released.layouts.")]))
"""
    loaded: Any = json.loads(run(program, tmp_path).stdout)
    assert loaded == [f"itrcore.released.layouts.{name.partition('_')[0]}"]


def test_help_names_no_method_by_hand_and_loads_neither_models_nor_recipes(tmp_path: Path) -> None:
    program = """
import sys
from itrcore.cli.app import app
app(["import", "--help"], standalone_mode=False)
assert not {"torch", "itrcore.released"} & sys.modules.keys()
"""
    assert "such as esl_h" in run(program, tmp_path).stdout  # in a folder without recipes
