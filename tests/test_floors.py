"""The floors in docs/floors.yaml: every import of the code keeps to them, and the picture shows them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.floors import PLAN, ROOT, House

# A house of three floors that keeps to the rules.
FLOORS = """
- floor: Ground
  rooms:
    itrcore/words.py: words
    itrcore/numbers.py: numbers
- floor: Layers
  rooms:
    itrcore/layers/: parts of models
- floor: Ways in
  rooms:
    stages/: steps
"""
CODE = {
    "itrcore/__init__.py": '"""A house."""\n',
    "itrcore/words.py": "import json\n\nfrom pathlib import Path\n",
    "itrcore/numbers.py": "",
    "itrcore/layers/__init__.py": "from itrcore.layers.attention import attend\n",
    "itrcore/layers/attention.py": "from itrcore import numbers\nfrom itrcore.layers.pooling import pool\n",
    "itrcore/layers/pooling.py": "import itrcore.numbers\n",
    "stages/__init__.py": "",
    "stages/train.py": "from itrcore.layers import attend\nfrom itrcore.words import Path\n",
}
LAYERS = "itrcore/layers/__init__.py"
MOVE = "; move what it needs to a lower floor, or give it as an argument"
SHARED = ": a circle; move what they share to a file of its own"
ABOVE = f"itrcore/words.py, on floor 1, imports {LAYERS}, on floor 2, above its own{MOVE}"

# What is planted: the file, what is written at its end, and the one problem that it makes.
PLANTED = {
    "upwards": ("itrcore/words.py", "from itrcore.layers import attend\n", f"itrcore/words.py:4: {ABOVE}"),
    "a module's name": (
        "itrcore/words.py",
        "import itrcore.layers.pooling as p\n",
        f"itrcore/words.py:4: {ABOVE.replace('__init__', 'pooling')}",
    ),
    "a module from its package": (
        "itrcore/words.py",
        "from itrcore.layers import pooling\n",
        f"itrcore/words.py:4: {ABOVE.replace('__init__', 'pooling')}",
    ),
    "relative": ("itrcore/words.py", "from .layers import attend\n", f"itrcore/words.py:4: {ABOVE}"),
    "for type checkers": (
        "itrcore/words.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from itrcore.layers import attend\n",
        f"itrcore/words.py:6: {ABOVE}",
    ),
    "inside a function": (
        "itrcore/words.py",
        "def later():\n    from itrcore.layers import attend\n",
        f"itrcore/words.py:5: {ABOVE}",
    ),
    "on the same floor": (
        "itrcore/words.py",
        "import itrcore.numbers\n",
        f"itrcore/words.py:4: itrcore/words.py, on floor 1, imports itrcore/numbers.py, on the same floor{MOVE}",
    ),
    "a circle within a room": (
        "itrcore/layers/pooling.py",
        "def later():\n    from itrcore.layers import attention\n",
        "itrcore/layers/attention.py:2 imports itrcore/layers/pooling.py, itrcore/layers/pooling.py:3 imports "
        f"itrcore/layers/attention.py{SHARED}",
    ),
    "a circle through a package": (
        "itrcore/layers/pooling.py",
        "from itrcore.layers import attend\n",
        f"{LAYERS}:1 imports itrcore/layers/attention.py, itrcore/layers/attention.py:2 imports itrcore/layers/pooling.py, "
        f"itrcore/layers/pooling.py:2 imports {LAYERS}{SHARED}",
    ),
    "a module in no room": (
        "itrcore/new.py",
        "import json\n",
        f"itrcore/new.py:1: belongs to no room; give it one in {PLAN}, on a floor above all that it imports",
    ),
    "a package of several rooms": (
        "itrcore/__init__.py",
        "import itrcore.words\n",
        "itrcore/__init__.py:2: imports itrcore/words.py; Python runs itrcore/__init__.py before every room of its folder, so "
        "let it import nothing",
    ),
    "a room that is gone": (
        str(PLAN),
        "    flows/: gone\n",
        f"{PLAN}: flows/: there is no code; take it out of the plan",
    ),
    "a room on two floors": (
        str(PLAN),
        "- floor: Roof\n  rooms:\n    stages/: again\n",
        f"{PLAN}: stages/: stands on two floors; take it off one",
    ),
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, text in {**CODE, str(PLAN): FLOORS}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def plant(house: Path, name: str, text: str) -> None:
    with open(house / name, "a", encoding="utf-8") as handle:
        handle.write(text)


def test_every_import_of_the_code_runs_downwards_there_is_no_circle_and_the_picture_is_of_this_house() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.floors", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("name", PLANTED)
def test_what_breaks_the_rules_is_named_with_its_file_and_line(name: str, house: Path) -> None:
    assert [*House(house).problems()] == []
    file, text, problem = PLANTED[name]
    plant(house, file, text)
    assert [*House(house).problems()] == [problem]


def test_all_problems_are_named_and_circles_until_there_is_none(house: Path) -> None:
    plant(house, "itrcore/numbers.py", "import itrcore.layers.pooling\n")
    plant(house, "itrcore/layers/pooling.py", "from itrcore.layers import attention\n")
    upwards, *circles = House(house).problems()
    assert upwards.startswith(
        "itrcore/numbers.py:1: itrcore/numbers.py, on floor 1, imports itrcore/layers/pooling.py, on floor 2"
    )
    assert sorted(line.partition(" imports ")[0] for line in circles) == [
        "itrcore/layers/attention.py:1",  # numbers, pooling
        "itrcore/layers/attention.py:2",  # pooling
        "itrcore/layers/pooling.py:1",  # numbers
    ]


def test_a_picture_shows_every_room_and_arrow_the_same_each_time(house: Path) -> None:
    picture = House(house).picture()
    assert picture == House(house).picture()
    shown = ElementTree.fromstring(picture)
    titles = [element.text for element in shown.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "itrcore/words.py: words", "itrcore/numbers.py: numbers", "itrcore/layers/: parts of models", "stages/: steps",
    ]  # fmt: skip
    arrows = [element for element in shown.iter() if element.get("class") == "arrow"]
    assert len(arrows) == 3  # not the one from stages to words, which follows


def test_a_picture_is_out_of_date_after_a_new_arrow_or_much_new_code_and_not_after_a_small_edit(house: Path) -> None:
    picture = House(house).picture()
    assert House(house).is_shown_by(picture)
    plant(house, "itrcore/numbers.py", "x = 1\n" * 40)
    assert House(house).is_shown_by(picture) and House(house).picture() != picture
    plant(house, "itrcore/numbers.py", "x = 1\n" * 40)
    assert not House(house).is_shown_by(picture)
    picture = House(house).picture()
    for name in ("attention", "pooling"):  # no file imports numbers now
        (house / f"itrcore/layers/{name}.py").write_text("")
    assert not House(house).is_shown_by(picture)
    assert not House(house).is_shown_by("")
