"""A throw-away copy of this project with tiny settings, for tests that run the real pipeline."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from itrcore.settings.experiments import create
from tests.support.tiny_project import NLTK
from tests.support.warm import python

ROOT = Path(__file__).parents[2]
_COPIED = (
    "itrcore",
    "stages",
    "flows",
    "recipes",
    "dvc.yaml",
    "params.yaml",
    "prefect.yaml",
    "nltk.yaml",
    ".dvcignore",
    ".gitignore",
)


class Project:
    """The copy; commands run inside it with this interpreter, `python`, first on the path."""

    def __init__(self, folder: Path, warm: bool = False) -> None:
        """warm: commands and stages run by `warm.python`, for tests that send no signals"""
        self.folder = folder
        self.python = python() if warm else sys.executable
        self.variables: dict[str, str] = {}  # more of them for what runs inside
        for name in _COPIED:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(ROOT / name, target)
        self.write("nltk.yaml", NLTK)
        (folder / ".dvc").mkdir()
        shutil.copyfile(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
        self.git("init", "-q")
        for key, value in {"user.name": "t", "user.email": "t@localhost"}.items():
            self.git("config", key, value)
        self.commit()

    def git(self, *arguments: str) -> None:
        """Run git in the copy."""
        subprocess.run(["git", *arguments], cwd=self.folder, check=True)

    def commit(self) -> None:
        """Commit everything that git does not ignore."""
        self.git("add", "-A")
        self.git("commit", "-qm", "a state")

    @contextmanager
    def changed(self) -> Iterator[None]:
        """What is changed of committed files inside comes back at the end, results too, and what is new goes."""
        try:
            yield
        finally:
            self.git("checkout", "-q", ".")
            self.git("clean", "-fdq")
            self.dvc("checkout", "--quiet", "--force")

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a text, the first time it comes, in a file of the copy."""
        text = (self.folder / path).read_text("utf-8")
        assert old in text, f"{path} holds no {old!r}"
        (self.folder / path).write_text(text.replace(old, new, 1), "utf-8")

    @property
    def params(self) -> dict[str, Any]:
        """params.yaml as it is now."""
        return self.read("params.yaml")

    def read(self, path: str) -> dict[str, Any]:
        """A YAML file of the project, such as recipes/esa_bigru.yaml, as it is now."""
        value: dict[str, Any] = YAML(typ="safe", pure=True).load((self.folder / path).read_text("utf-8"))
        return value

    def write_params(self, value: dict[str, Any]) -> None:
        """Replace params.yaml."""
        self.write("params.yaml", value)

    def write(self, path: str, value: dict[str, Any]) -> None:
        """Replace a YAML file of the project."""
        with open(self.folder / path, "w", encoding="utf-8") as handle:
            YAML(typ="safe", pure=True).dump(value, handle)

    def warm_stages(self, path: str = "dvc.yaml") -> None:
        """Stages of a dvc.yaml are run by `warm.python`, also in flows, which set `python` on the path; not to be sent signals."""
        text = (self.folder / path).read_text("utf-8")
        (self.folder / path).write_text(text.replace(" python -m ", f" {python()} -m "), "utf-8")

    def experiment(self, name: str, params: dict[str, Any]) -> Path:
        """A folder of `experiments/`, as `itr experiment` makes it, with these params."""
        folder = create(self.folder, name, self.folder)
        self.write(f"experiments/{name}/params.yaml", {**params, "root": "../.."})
        return folder

    def environment(self) -> dict[str, str]:
        """This copy's code before any installed one, one thread, no outside server, nothing kept outside of the copy."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PREFECT_"))}
        folders = [str(Path(path).parent) for path in (self.python, sys.executable)]
        return {
            **environment,
            "PATH": os.pathsep.join([*folders, environment.get("PATH", "")]),
            "PYTHONPATH": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
            "PYTHONDONTWRITEBYTECODE": "",  # as users have it: DVC sees what Python writes
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc" / "tmp" / "site"),
            "ITR_LEASES": str(self.folder / ".dvc" / "tmp" / "leases"),
            **self.variables,
        }

    def run(
        self, *command: str, check: bool = True, timeout: float = 1200, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with `check` a failure shows its output. folder: where, if not in the project's folder"""
        with self.start(*command, folder=folder) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        assert not check or process.returncode == 0, output
        return subprocess.CompletedProcess(command, process.returncode, output)

    def start(self, *command: str, folder: Path | None = None) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=folder or self.folder,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def dvc(self, *arguments: str, folder: Path | None = None) -> str:
        """What a command of DVC prints."""
        return self.run(self.python, "-m", "dvc", *arguments, folder=folder).stdout

    def repro(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`dvc repro`."""
        return self.run(self.python, "-m", "dvc", "repro", *arguments, check=check)

    def stale(self) -> set[str]:
        """The stages that would run now, once the records of what decides results are made anew; not what depends on these.

        The records' own stages are cheap, and run.
        """
        self.repro("-s", "code", "extractor@scenes", "inputs@scenes", "members@both")
        return set(json.loads(self.dvc("status", "--json")))


def tiny_params(params: dict[str, Any]) -> dict[str, Any]:
    """params.yaml with a world of 24 training images and two methods of a few dozen steps."""
    source = params["datasets"]["scenes"]["source"]
    source |= {"images": {"train": 24, "dev": 8, "test": 8}, "regions": 6, "width": 32, "picture_size": 64}
    params["profiles"]["small"] = {
        "model": {"dim": 16, "text": {"word_dim": 8, "init": "random"}},
        "loss": {"warmup_epochs": 1},
        "recipe": {"batch_size": 20, "epochs": 2, "schedule": {"epochs": [1]}},
    }
    params["runs"] = {
        f"scenes-{method}-1": {"data": "scenes", "method": method, "seed": 1, "profile": "small"}
        for method in ("vse_pp_bigru", "esa_bigru")
    }
    params["ensembles"] = {"both": {"data": "scenes", "runs": list(params["runs"])}}
    return params
