"""The folders of experiments beside the embedded one: each a DVC project of its own, with the steps and the cache of all."""

from __future__ import annotations

import re
from pathlib import Path

from itrcore.errors import ConfigError
from itrcore.files import replacing
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.settings.strict import NAME

FOLDER, STEPS = Path("experiments"), Path("dvc.yaml")
_CONFIG = """\
[core]
    analytics = false
[cache]
    # One cache for all experiments. What is taken out of it is linked to it where the file system can, not copied.
    dir = ../../../.dvc/cache
    type = "reflink,copy"
"""
_IGNORED = "/config.local\n/tmp\n/cache\n"
_NOT_DVC = "*.tmp\n*.old\n/logs\n"  # files that are being written; what flows print


def create(project: Path, name: str, like: Path) -> Path:
    """A new folder of `experiments/` that begins with another experiment's params.yaml, and none of its results.

    project: the folder of itrcore, stages and recipes; like: the other experiment's folder
    `ConfigError` where the name is not valid, the folder exists already, or the other params.yaml is not valid.
    """
    folder = project / FOLDER / name
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{name!r} cannot be an experiment's name; use letters, digits, - and _, at most 100")
    if folder.exists():
        raise ConfigError(f"{folder}: there already; choose another name")
    load(like / "params.yaml")
    files = {
        # A copy: DVC cannot read a link's file in committed states, as `dvc exp show` and `dvc metrics diff` do.
        "dvc.yaml": (project / STEPS).read_bytes(),
        # In the file as it is, so that comments, order and line ends are kept.
        "params.yaml": re.sub(
            rb"(?m)^(\xef\xbb\xbf)?root:[ \t]*\S+", rb"\1root: ../..", (like / "params.yaml").read_bytes(), count=1
        ),
        ".dvc/config": _CONFIG.encode(),
        ".dvc/.gitignore": _IGNORED.encode(),
        ".dvcignore": _NOT_DVC.encode(),
    }
    with replacing(folder) as temporary:
        for path, content in files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_bytes(content)
    load(folder / "params.yaml")
    return folder


def check_steps(params: Params, folder: Path) -> None:
    """`ConfigError` where an experiment's dvc.yaml is not a copy of the project's, as after an update of the project."""
    own, wanted = folder / STEPS, params.root_folder / STEPS
    if wanted.is_file() and (not own.is_file() or own.read_bytes() != wanted.read_bytes()):
        raise ConfigError(f"{own}: not the same steps as the project's; copy {wanted} over it")
