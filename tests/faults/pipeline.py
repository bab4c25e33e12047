"""A small real pipeline, run once undisturbed; trials disturb copies of its states.

All copies take the same place, one after the other: MLflow's store holds whole paths.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.project import Project, tiny_params
from tests.support.stamps import unstamped
from tests.support.warm import python

DVC = (sys.executable, "-m", "dvc")
ITR = (sys.executable, "-m", "itrcore.cli")
NEXT = {"fresh": "prepared", "prepared": "done"}  # states
EMBEDDING, ATTENTION, ENSEMBLE = "scenes-vse_pp_bigru-1", "scenes-lhsc_bigru-1", "both"
_SECONDS = 180  # a command that takes longer hangs: the whole pipeline takes 40
_INSIDE = Path(__file__).parent / "inside"


class Attempt(NamedTuple):
    """One command of a trial. code: its exit status, minus the signal that ended it; None where it hung."""

    command: tuple[str, ...]
    code: int | None
    output: str

    def __str__(self) -> str:
        return " ".join(self.command).replace(f"{sys.executable} -m ", "").replace("itrcore.cli", "itr")


class State(NamedTuple):
    """A state of the undisturbed pipeline, and the way to the next one.

    goal: the target that `dvc repro` makes for the next state; none for all
    writes: of the processes on the way there: process → the paths that it writes, the first one empty, for its start
    """

    name: str
    goal: tuple[str, ...]
    writes: Mapping[str, list[str]]


class Pipeline:
    """The undisturbed states, and the place where trials run.

    fresh: nothing has run. prepared: the data set is ready to train on. done: everything is there, as after a clone and
    `dvc checkout`.
    """

    def __init__(self, folder: Path, small: bool = False) -> None:
        """small: one run of an embedding method up to its figures, and `warm.python` where nothing is watched or struck."""
        self.small = small
        self.project = Project(folder / "project")
        self.folder = self.project.folder
        self.mark = folder / "struck"
        self._above = folder
        self.runs = (EMBEDDING,) if small else (EMBEDDING, ATTENTION)
        self.ensembles = () if small else (ENSEMBLE,)
        self.project.write_params(self._params())
        self.project.commit()
        self._keep("fresh")
        fresh = self._advance("fresh", ("inputs@scenes",), "prepared")
        prepared = self._advance("prepared", (f"judge@{EMBEDDING}",) if small else (), "done")
        self.states = {"fresh": fresh, "prepared": prepared}
        self.take_from_cache(self.outputs())
        self._keep("done")

    def _params(self) -> dict[str, Any]:
        params = tiny_params(self.project.params)
        params["datasets"]["scenes"]["vocabulary"]["word_pieces"]["pieces"] = 200
        params["training"] |= {"save_every_steps": 2, "device": "cpu"}
        recipe = {"batch_size": 20, "epochs": 3, "schedule": {"epochs": [2]}}
        params["profiles"]["small"]["recipe"] = recipe
        params["profiles"]["lhsc"] = {
            "model": {"dim": 16, "alignment_dim": 8, "layers": 1, "text": {"word_dim": 8}},
            "recipe": recipe,
        }
        runs = {EMBEDDING: ("vse_pp_bigru", "small"), ATTENTION: ("lhsc_bigru", "lhsc")}
        params["runs"] = {
            name: {"data": "scenes", "method": runs[name][0], "seed": 1, "profile": runs[name][1]} for name in self.runs
        }
        params["ensembles"] = {name: {"data": "scenes", "runs": list(self.runs)} for name in self.ensembles}
        return params

    def _advance(self, name: str, goal: tuple[str, ...], to: str) -> State:
        trace = self._above / f"{name}.trace"
        watched = not self.small or name == "prepared"
        attempt = self.run(*DVC, "repro", *goal, env={"ITR_TRACE": str(trace)} if watched else {})
        assert attempt.code == 0, attempt.output
        trace.touch()
        writes = defaultdict(list)
        for line in trace.read_text("utf-8").splitlines():
            process, _, path = line.partition("\t")
            writes[process].append(path)
        self._keep(to)
        return State(name, goal, dict(writes))

    def _keep(self, name: str) -> None:
        shutil.rmtree(self.undisturbed(name), ignore_errors=True)
        _copy(self.folder, self.undisturbed(name))

    def undisturbed(self, name: str) -> Path:
        """Where a state is kept; nothing may change it."""
        return self._above / name

    def begin(self, name: str) -> None:
        """Put a copy of a state into the trials' place. DVC has seen each file there, as in a folder that someone works in."""
        for path in self.folder.iterdir():
            self.remove(path.name)
        _copy(self.undisturbed(name), self.folder)
        self.mark.unlink(missing_ok=True)
        self.run(*DVC, "status")

    def outputs(self) -> list[str]:
        """The outputs that dvc.lock names, but for the report: it is never restored."""
        stages = self.project.read("dvc.lock")["stages"].values()
        return [out["path"] for stage in stages for out in stage.get("outs", []) if out["path"] != "report"]

    def take_from_cache(self, outputs: Iterable[str]) -> Attempt:
        """Remove outputs, and let DVC give them out again: links to its cache, where it is set up to make them."""
        for output in outputs:
            self.remove(output)
        return self.run(*DVC, "checkout", "--force", *outputs)

    def cached(self, md5: str) -> Path:
        """DVC's copy of a content."""
        return self.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]

    def remove(self, path: str) -> None:
        """Remove a file or a folder of the trial."""
        target = self.folder / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def repro(self, state: str = "prepared") -> tuple[str, ...]:
        """The command that makes the next state."""
        return (*DVC, "repro", *self.states[state].goal)

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> Running:
        """Start a command in the trial's folder, in a session of its own."""
        return Running(self, command, env or {})

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> Attempt:
        """Run a command, and wait until all that it started has ended too."""
        return self.start(*command, env=env).attempt()


class Running:
    """A command that runs. Its output goes to a file: a process that outlives it can still write there."""

    def __init__(self, pipeline: Pipeline, command: tuple[str, ...], env: Mapping[str, str]) -> None:
        known = pipeline.project.environment()
        called = command
        if pipeline.small and not env:
            known["PATH"] = os.pathsep.join([str(Path(python()).parent), known["PATH"]])
            called = tuple(python() if word == sys.executable else word for word in command)
        self._command, self._output = command, pipeline._above / "output"
        with open(self._output, "w") as output:
            self._process = subprocess.Popen(
                called,
                cwd=pipeline.folder,
                env={**known, "PYTHONPATH": os.pathsep.join([str(_INSIDE), known["PYTHONPATH"]]), **env},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell that starts a campaign in the background has it ignore Ctrl-C, and all that it starts too.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self._output.rename(self._output.with_suffix(f".{self._process.pid}"))
        self._output = self._output.with_suffix(f".{self._process.pid}")

    @property
    def pid(self) -> int:
        """Of the command."""
        return self._process.pid

    @property
    def so_far(self) -> str:
        """What it has printed."""
        return self._output.read_text("utf-8", errors="replace")

    def wait(self) -> int | None:
        """Wait for the command alone: its exit status; None where it hangs."""
        try:
            return self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def attempt(self) -> Attempt:
        """Wait for the command and all that it started; what is left when the time is over is killed."""
        code, end = self.wait(), time.monotonic() + _SECONDS
        while (left := _session(self._process.pid)) and code is not None:
            if time.monotonic() > end:
                code = None
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        output = unstamped(self._output.read_text("utf-8", errors="replace"))
        self._output.unlink()
        return Attempt(self._command, code, output)


def _session(number: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(session) == number and state != "Z":
            found.append(int(path.parent.name))
    return found


def _copy(source: Path, target: Path) -> None:
    """Times and links between files as they are: both matter to DVC."""
    subprocess.run(
        ["cp", "-a", f"{source}/.", str(target)] if target.exists() else ["cp", "-a", source, target], check=True
    )


def strike(pipeline: Pipeline, process: str, write: int, delay: float, sent: str, whom: str) -> dict[str, str]:
    """The variable that makes a process strike (`inside/sitecustomize.py`)."""
    value = {
        "process": process,
        "write": write,
        "delay": delay,
        "signal": sent,
        "whom": whom,
        "mark": str(pipeline.mark),
    }
    return {"ITR_STRIKE": json.dumps(value)}
