"""Digests of code: what counts as a change of it, and which modules a module's code is made of."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from itrcore import code
from itrcore.methods import parts
from itrcore.settings.load import load

ROOT = Path(__file__).parents[1]

SOURCE = '''
"""A module."""
import math

class Area:
    """Of a circle."""

    def of(self, radius: float) -> float:
        """Square units."""
        return math.pi * radius**2
'''
SAME = {
    "comment": SOURCE.replace("import math", "import math  # for pi"),
    "docstring": SOURCE.replace("Square units.", "In square units."),
    "no docstring": SOURCE.replace('"""Of a circle."""', ""),
    "formatting": SOURCE.replace("math.pi * radius**2", "(\n            math.pi\n            * radius ** 2\n        )"),
    "quotes": SOURCE.replace('"""', "'''"),
    "for type checkers": SOURCE.replace("import math", "import math\nif TYPE_CHECKING:\n    import torch"),
}
CHANGED = {
    "number": SOURCE.replace("radius**2", "radius**3"),
    "kind of number": SOURCE.replace("radius**2", "radius**2.0"),
    "name": SOURCE.replace("radius", "diameter"),
    "default": SOURCE.replace("radius: float", "radius: float = 1"),
    "order": SOURCE.replace("math.pi * radius**2", "radius**2 * math.pi"),
    "import": SOURCE.replace("import math", "import cmath as math"),
    "text that is used": SOURCE.replace("return math", 'print("x")\n        return math'),
}


@pytest.mark.parametrize("change", SAME)
def test_what_a_reader_alone_sees_is_no_change(change: str) -> None:
    assert SAME[change] != SOURCE
    assert code.text_digest(SAME[change]) == code.text_digest(SOURCE)


@pytest.mark.parametrize("change", CHANGED)
def test_what_a_program_does_is_one(change: str) -> None:
    assert code.text_digest(CHANGED[change]) != code.text_digest(SOURCE)
    assert len({code.text_digest(text) for text in CHANGED.values()}) == len(CHANGED)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Packages of a few modules, with the module that digests them."""
    shutil.copytree(ROOT / "itrcore", tmp_path / "itrcore", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in {
        "itrcore/made/__init__.py": "",
        "itrcore/made/top.py": (
            "import numpy\nfrom typing import TYPE_CHECKING\nfrom itrcore.made import below\n"
            "if TYPE_CHECKING:\n    from itrcore.made import typed\n"
            "def later():\n    from itrcore.made.inside import x\n    import itrcore.errors\n"
        ),
        "itrcore/made/below.py": "import itrcore.made.deepest",
        "itrcore/made/deepest.py": "from itrcore.made import below",  # a circle
        "itrcore/made/inside.py": "x = 1",
        "itrcore/made/typed.py": "",
        "itrcore/made/other.py": "",
        "itrcore/made/page.html": "<p>",
        "itrcore/made/pictures/one.txt": "1",
        "stages/__init__.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    return tmp_path


def made_of(checkout: Path, *entries: str) -> dict[str, str]:
    """`code.of` in that checkout, in a process of its own."""
    program = f"import json; from itrcore import code; print(json.dumps(code.of(*{entries!r})))"
    found = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True)
    value: dict[str, str] = json.loads(found.stdout)
    return value


def test_code_is_what_is_imported_wherever_it_is_imported_and_the_files_beside_it(checkout: Path) -> None:
    found = made_of(checkout, "itrcore.made.top")
    modules = ["itrcore.made", *(f"itrcore.made.{name}" for name in ("below", "deepest", "inside", "top"))]
    assert list(found) == [*modules, "itrcore/made/page.html", "itrcore/made/pictures/one.txt"]
    (checkout / "itrcore" / "made" / "page.html").write_text("<p>!", "utf-8")
    (checkout / "itrcore" / "made" / "deepest.py").write_text("x = 1", "utf-8")
    again = made_of(checkout, "itrcore.made.top")
    assert {key for key in found if found[key] != again[key]} == {"itrcore.made.deepest", "itrcore/made/page.html"}


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"itrcore\.nothing"):
        code.of("itrcore.nothing")


def test_what_is_called_neutral_is_there() -> None:
    for name in code._NEUTRAL:
        assert any(module == name or module.startswith(f"{name}.") for module in code.modules()), name


def test_methods_do_not_share_each_others_code() -> None:
    params = load(ROOT / "params.yaml")
    alone = {
        "vse_infty_bigru": "vse",
        "esa_bigru": "esa",
        "esl_a_bert": "esl",
        "saf_bigru": "sgraf",
        "lhsc_bigru": "lhsc",
    }
    mine = {
        name: set(code.of("itrcore.training.train", *parts.modules(params.recipes[name].settings.model)))
        for name in (*alone, "esl_h_clip", "vse_infty_bert_grid")
    }
    for name, module in alone.items():
        others = set(alone.values()) - {module} - ({"sgraf"} if name == "lhsc_bigru" else set())
        assert f"itrcore.models.{module}" in mine[name]
        assert not {f"itrcore.models.{other}" for other in others} & mine[name]
    for heavy in ("bert", "clip", "backbone", "detector", "grid", "pieces"):
        assert f"itrcore.models.{heavy}" not in mine["esa_bigru"]
    assert "itrcore.data.feeding.pixels" not in mine["esl_a_bert"]
    assert {"itrcore.pretrained.clip", "itrcore.data.feeding.pixels"} <= mine["esl_h_clip"]
    assert {"itrcore.pretrained.detector", "itrcore.pretrained.bert"} <= mine["vse_infty_bert_grid"]
