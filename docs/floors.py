"""The floors of the code: every import runs to a lower floor, and no files import each other in a circle.

    python -m docs.floors           # lists the imports that break this; where none does, draws docs/floors.svg
    python -m docs.floors --check   # draws nothing, and says where docs/floors.svg is out of date

`docs/floors.yaml` says which rooms stand on which floor. All import statements count: those inside functions and those for
type checkers too.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ruamel.yaml import YAML

from docs.floors_picture import Floor, draw

ROOT = Path(__file__).parents[1]
PLAN, PICTURE = Path("docs/floors.yaml"), Path("docs/floors.svg")
PACKAGES = ("itrcore", "stages", "flows")


class Import(NamedTuple):
    """One statement. by, of: files relative to the project, such as `itrcore/settings/load.py`."""

    by: str
    line: int
    of: str


class House:
    """The floors of the plan, and what a project's files import.

    floors: from the ground up; rooms: the folders and files that are rooms → the floor of each, counted from 1
    """

    def __init__(self, root: Path = ROOT) -> None:
        plan = YAML(typ="safe", pure=True).load((root / PLAN).read_text("utf-8"))
        self.floors = [Floor(entry["floor"], entry["rooms"]) for entry in plan]
        self.rooms = {room: height for height, floor in enumerate(self.floors, 1) for room in floor.rooms}
        paths = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
        self._texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}

    def problems(self) -> Iterator[str]:
        """What breaks the rules, one line each: where, what, and what to do."""
        for room in self.rooms:
            if not any(self._room(file) == room for file in self._texts):
                yield f"{PLAN}: {room}: there is no code; take it out of the plan"
            if sum(room in floor.rooms for floor in self.floors) > 1:
                yield f"{PLAN}: {room}: stands on two floors; take it off one"
        for file in self._texts:
            if self._room(file) is None and not self._is_door(file):
                yield f"{file}:1: belongs to no room; give it one in {PLAN}, on a floor above all that it imports"
        yield from self._not_downwards()
        yield from self._circles()

    def picture(self) -> str:
        """The floors as SVG."""
        return draw(self.floors, self._lines, self._arrows)

    def is_shown_by(self, picture: str) -> bool:
        """Whether a picture shows this house; a room may have changed by a quarter of its lines since it was drawn."""
        drawn = {room: int(lines) for room, lines in re.findall(r'data-room="(.+?)" data-lines="(\d+)"', picture)}
        return (
            drawn.keys() == self._lines.keys()
            and all(abs(drawn[room] - lines) <= max(50, lines // 4) for room, lines in self._lines.items())
            and picture == draw(self.floors, drawn, self._arrows)
        )

    @cached_property
    def imports(self) -> list[Import]:
        """All import statements, in the order of files and lines."""
        return [entry for file in self._texts for entry in sorted(set(self._read(file)))]

    def _read(self, file: str) -> Iterator[Import]:
        for node in ast.walk(ast.parse(self._texts[file])):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = file.removesuffix(".py").split("/")[: -node.level] if node.level else []
                module = ".".join([*package, *filter(None, [node.module])])
                names = [f"{module}.{alias.name}" for alias in node.names]  # most often a name in the module
            else:
                continue
            for name in names:
                if (of := self._file(name)) is not None:
                    yield Import(file, node.lineno, of)

    def _file(self, name: str) -> str | None:
        """The file of a module, or of what a module holds; None where it is none of the project's."""
        while name:
            base = name.replace(".", "/")
            for file in (f"{base}.py", f"{base}/__init__.py"):
                if file in self._texts:
                    return file
            name = name.rpartition(".")[0]
        return None

    def _room(self, file: str) -> str | None:
        """The room of a file: itself, or the nearest of the folders that it is in."""
        folders = [f"{folder.as_posix()}/" for folder in PurePosixPath(file).parents]
        return next((room for room in (file, *folders) if room in self.rooms), None)

    def _is_door(self, file: str) -> bool:
        """Whether a file is the `__init__.py` of a folder of several rooms: it is in none, and runs before each of them."""
        folder = file.removesuffix("__init__.py")
        return folder != file and self._room(file) is None and any(room.startswith(folder) for room in self.rooms)

    def _not_downwards(self) -> Iterator[str]:
        for by, line, of in self.imports:
            if self._is_door(by):
                yield f"{by}:{line}: imports {of}; Python runs {by} before every room of its folder, so let it import nothing"
        for (by, line, of), room, other in self._between_rooms():
            floor, others = self.rooms[room], self.rooms[other]
            if floor <= others:
                where = "the same floor" if floor == others else f"floor {others}, above its own"
                yield (
                    f"{by}:{line}: {room}, on floor {floor}, imports {of}, on {where}; move what it needs to a lower floor, or "
                    "give it as an argument"
                )

    def _between_rooms(self) -> Iterator[tuple[Import, str, str]]:
        """Each import from one room to another, with both rooms."""
        for entry in self.imports:
            room, other = self._room(entry.by), self._room(entry.of)
            if room is not None and other is not None and room != other:
                yield entry, room, other

    def _circles(self) -> Iterator[str]:
        lines = {(by, of): line for by, line, of in reversed(self.imports)}  # of several, the first
        graph = {file: [of for by, _, of in self.imports if by == file] for file in self._texts}
        while True:
            try:
                TopologicalSorter(graph).prepare()
                return
            except CycleError as error:
                circle = error.args[1][::-1]  # each imports the next, and the last is the first
                steps = [f"{by}:{lines[by, of]} imports {of}" for by, of in pairwise(circle)]
                yield f"{', '.join(steps)}: a circle; move what they share to a file of its own"
                graph[circle[0]] = [of for of in graph[circle[0]] if of != circle[1]]  # and look for the next one

    @cached_property
    def _lines(self) -> dict[str, int]:
        """Lines of each room, rounded to tens."""
        counts = dict.fromkeys(self.rooms, 0)
        for file, text in self._texts.items():
            if (room := self._room(file)) is not None:
                counts[room] += text.count("\n")
        return {room: max(10, round(count, -1)) for room, count in counts.items()}

    @cached_property
    def _arrows(self) -> list[tuple[str, str]]:
        """From each room to those that it imports, without those that it also reaches through another one."""
        below: dict[str, set[str]] = {room: set() for room in self.rooms}
        for _, room, other in self._between_rooms():
            below[room].add(other)
        reached: dict[str, set[str]] = {}
        for room in self.rooms:  # from the ground up
            reached[room] = below[room].union(*(reached.get(other, set()) for other in below[room]))
        return [
            (room, other)
            for room in self.rooms
            for other in self.rooms
            if other in below[room] and not any(other in reached[between] for between in below[room])
        ]


def main() -> int:
    """The command."""
    house, path = House(), ROOT / PICTURE
    problems = [*house.problems()]
    if "--check" not in sys.argv[1:] and not problems:
        path.write_text(house.picture(), "utf-8")
    elif not problems and not (path.exists() and house.is_shown_by(path.read_text("utf-8"))):
        problems = [f"{PICTURE}: out of date; run: python -m docs.floors"]
    for line in problems:
        print(line, file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
