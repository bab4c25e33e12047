"""What code does, as digests: of each module of this project that a module imports, what it says apart from comments.

Only the source is read; nothing is imported. Every import statement counts, also inside a function. What a program loads by
a name in a string is not seen, and must be given as well (`itrcore/runs/inputs.py` does, from the registry).
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from itrcore.files import sha256 as sha256_of_file

_HOME = Path(__file__).parents[1]
_PACKAGES = ("itrcore", "stages")

# The forms of records. They decide no weights and no scores, but records that are cheap to make are renewed when these change.
FORMS = ("itrcore.runs.examples", "itrcore.runs.records")

# These decide no result: what params.yaml may say (the values do, and are recorded as such), paths, messages, how files are
# written, what watches a training. All else counts: a module forgotten here costs a needless training, never a wrong result.
_NEUTRAL = (
    "itrcore.announce",
    "itrcore.cache",
    "itrcore.code",
    "itrcore.cores",
    "itrcore.costs",
    "itrcore.data.shards.verified",
    "itrcore.errors",
    "itrcore.fetch",  # what it downloads is checked by digests
    "itrcore.files",
    "itrcore.intact",
    "itrcore.interrupt",
    "itrcore.layout",
    "itrcore.limits",  # what is refused
    "itrcore.methods.describe",
    "itrcore.pool",
    "itrcore.portable",
    "itrcore.progress",
    "itrcore.provenance",
    "itrcore.registry",
    "itrcore.runs",  # names and forms of files; what `inputs` and `digests` give is recorded
    "itrcore.settings",
    "itrcore.spoken",
    "itrcore.terminal",
    "itrcore.thrift",
    "itrcore.tracking",
    "itrcore.training.collapse",
    "itrcore.training.days",  # lets a training be or ends it
    "itrcore.training.display",
    "itrcore.training.kept",
    "itrcore.training.memory",  # what is said
    "itrcore.training.renamed",  # takes over what has the same record
    "itrcore.training.state",
    "itrcore.training.transcript",
    "itrcore.unpacking",
    "stages",  # a stage's own module is asked for by its name
)


def of(*entries: str, also: Collection[str] = ()) -> dict[str, str]:
    """Module → digest, for the given modules and all that they import, in the order of their names.

    also: modules that decide no result, but count here where they are imported
    Where a package has other files beside its modules, such as templates, `package/file` → digest is in it too.
    `ModuleNotFoundError` where a given module is not of this project.
    """
    digests: dict[str, str] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in digests or (_neutral(name) and name not in entries and name not in also):
            continue
        digests[name], imported = _read(name)
        waiting += [*imported, *([package] if (package := name.rpartition(".")[0]) else [])]  # Python loads that first
    packages = {path.parent for name in digests if (path := _path(name)) is not None}
    files = {
        path.relative_to(_HOME).as_posix(): sha256_of_file(path) for package in packages for path in _beside(package)
    }
    return dict(sorted({**digests, **files}.items()))


def modules() -> list[str]:
    """Every module of the project."""
    paths = (path for package in _PACKAGES for path in (_HOME / package).rglob("*.py"))
    return sorted(_name(path) for path in paths)


def text_digest(source: str) -> str:
    """SHA-256 of a source without its comments, docstrings, formatting and code for type checkers."""
    return _digest(ast.parse(source))


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Of one module: its digest, and the project's modules that it imports."""
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name} in {_HOME}")
    tree = ast.parse(path.read_bytes())
    return _digest(tree), tuple(dict.fromkeys(_imports(tree)))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in _executed(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import name`: the name may be a module of its own.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if _path(name) is not None)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those for type checkers."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not _for_type_checkers(child):
            yield from _executed(child)


def _for_type_checkers(node: Any) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _digest(tree: ast.AST) -> str:
    parts: list[str] = []
    _write(tree, parts)
    return sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _write(node: Any, parts: list[str]) -> None:
    """A syntax tree as text, without docstrings, line numbers, and the empty fields that versions of Python differ in."""
    if isinstance(node, ast.AST):
        parts.append(f"({type(node).__name__}")
        for field in node._fields:
            value = getattr(node, field, None)
            if value is not None and value != []:
                parts.append(field)
                _write(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            if not _says_nothing(item):
                _write(item, parts)
        parts.append("]")
    else:
        parts.append(repr(node))  # with its type, as 1, 1.0 and True are equal


def _says_nothing(node: Any) -> bool:
    """A docstring, or another text that stands alone; code for type checkers."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return _for_type_checkers(node)


def _neutral(name: str) -> bool:
    # A package itself has no code; a method's settings stand beside it, and count by their values like all others.
    return (
        name in _PACKAGES
        or name.endswith(".settings")
        or any(name == known or name.startswith(f"{known}.") for known in _NEUTRAL)
    )


@cache
def _beside(package: Path) -> tuple[Path, ...]:
    """The files of a package that are no code: its own, and those of folders without code."""
    files: list[Path] = []
    for path in package.iterdir():
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").exists():
            # Git leaves a folder of code that it removes, with what Python has kept of that.
            files += (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        elif (
            path.is_file() and path.suffix not in (".py", ".pyi") and path.name != "py.typed"
        ):  # those are for type checkers
            files.append(path)
    return tuple(files)


@cache
def _path(name: str) -> Path | None:
    """The file of a module of this project; None where it is none."""
    parts = name.split(".")
    if parts[0] not in _PACKAGES:
        return None
    base = _HOME.joinpath(*parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _name(path: Path) -> str:
    parts = path.relative_to(_HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
