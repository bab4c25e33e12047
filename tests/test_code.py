"""Digests of code: what counts as a change of it, and which modules a module's code is made of."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from itrcore import code
from itrcore.runs.inputs import modules
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
        "itrcore/made/py.typed": "",
        "itrcore/made/top.pyi": "",
        "itrcore/made/pictures/one.txt": "1",
        "itrcore/made/gone/__pycache__/gone.cpython-311.pyc": "",  # git has removed the code, and leaves this
        "stages/__init__.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    return tmp_path


def made_of(checkout: Path, *entries: str) -> dict[str, str]:
    """`code.of` in that checkout, in a process of its own."""
    program = f"import json; from itrcore import code; print(json.dumps(code.of(*{entries!r})))"
    done = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True)
    digests: dict[str, str] = json.loads(done.stdout)
    return digests


def test_code_is_what_is_imported_wherever_it_is_imported_and_the_files_beside_it(checkout: Path) -> None:
    before = made_of(checkout, "itrcore.made.top")
    names = ["itrcore.made", *(f"itrcore.made.{name}" for name in ("below", "deepest", "inside", "top"))]
    assert list(before) == [*names, "itrcore/made/page.html", "itrcore/made/pictures/one.txt"]
    (checkout / "itrcore" / "made" / "page.html").write_text("<p>!", "utf-8")
    (checkout / "itrcore" / "made" / "deepest.py").write_text("x = 1", "utf-8")
    after = made_of(checkout, "itrcore.made.top")
    assert {key for key in before if before[key] != after[key]} == {"itrcore.made.deepest", "itrcore/made/page.html"}


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"itrcore\.nothing"):
        code.of("itrcore.nothing")


def test_what_is_called_neutral_is_there() -> None:
    for name in code._NEUTRAL:
        assert any(module == name or module.startswith(f"{name}.") for module in code.modules()), name


def test_methods_do_not_share_each_others_code() -> None:
    recipes = load(ROOT / "params.yaml").recipes
    own = {
        "vse_infty_bigru": {"vse.vse"},
        "esa_bigru": {"vse.esa"},
        "esl_a_bert": {"esl.esl"},
        "scan_t2i_avg_bigru": {"scan.scan"},
        "saf_bigru": {"sgraf.sgraf"},
        "lhsc_bigru": {"sgraf.sgraf", "sgraf.lhsc"},
    }
    code_of = {
        name: set(code.of("itrcore.training.train", *modules(recipes[name].settings, loss=True)))
        for name in (*own, "esl_h_clip", "vse_infty_bert_grid")
    }
    methods = {f"itrcore.methods.{method}" for names in own.values() for method in names}
    for name, names in own.items():
        assert code_of[name] & methods == {f"itrcore.methods.{method}" for method in names}, name
    pretrained = "itrcore.pretrained.{}".format
    assert not {pretrained(name) for name in ("backbone", "bert", "clip", "detector")} & code_of["esa_bigru"]
    assert pretrained("bert") in code_of["esl_a_bert"] and pretrained("clip") in code_of["esl_h_clip"]
    assert {pretrained("detector"), pretrained("bert")} <= code_of["vse_infty_bert_grid"]
    assert {name for name in code_of if "itrcore.data.feeding.pixels" in code_of[name]} == {
        "esl_h_clip",
        "vse_infty_bert_grid",
    }
