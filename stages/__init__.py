"""One thin module per DVC stage: read params.yaml, call itrcore, write outputs. Run as `python -m stages.<name> [item]`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from itrcore import interrupt, layout  # noqa: F401 (interrupt before all that takes long to import)
from itrcore.errors import ConfigError
from itrcore.progress import working
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.spoken import speaking
from itrcore.terminal import user_errors

HERE = Path(__file__).resolve().parents[1]


def run_stage(stage: Callable[[Params, str], None]) -> None:
    """Run a stage for the item named on the command line, "" where none is; a user's error is one line, not a trace.

    Where output is no terminal, each line says when it was printed and by which stage: files have those of several at once.
    """
    item = sys.argv[1] if len(sys.argv) > 1 else ""
    name = Path(sys.argv[0]).stem
    with speaking("@".join(filter(None, (name, item)))):
        try:
            with user_errors():
                params = load()
                _with_code_of(params.root_folder)
                _let_dvc_follow_links(params)
                with working(f"{name} {item}".strip()):
                    stage(params, item)
        except Exception:  # of the code; as Python shows it, but by this stage
            traceback.print_exc()
            raise SystemExit(1) from None


def _let_dvc_follow_links(params: Params) -> None:
    """Prepare folders of outputs that are links to a larger disk. `ConfigError` where such a link leads nowhere.

    DVC asks of a folder's .gitignore, not of the folder, whether it is in the checkout, and would refuse the outputs after
    the work. All is ignored already, so it never writes there.
    """
    here = Path.cwd().resolve()
    checkout = next((above for above in (here, *here.parents) if (above / ".git").exists()), None)
    if checkout is None:
        return
    inside = here / ".dvc" / ".gitignore"
    for folder in (folder for data in params.datasets for folder in layout.above_outputs(data)):
        if folder.is_symlink() and not folder.is_dir():
            raise ConfigError(
                f"{folder} is a link to {folder.resolve()}, which is no folder; make it or remove the link"
            )
        if not folder.resolve().is_relative_to(checkout):
            folder.mkdir(parents=True, exist_ok=True)
            ignored = folder / ".gitignore"
            if not ignored.is_symlink() or ignored.resolve() != inside:
                ignored.unlink(missing_ok=True)
                ignored.symlink_to(inside)


def _with_code_of(root: Path) -> None:
    """Start again with the code of the experiment's own checkout, where the package was installed from another one.

    In a folder of `experiments/`, Python finds what was installed: that may be an older checkout, or the one that
    `dvc exp` made its copy of.
    """
    if root != HERE and (root / "stages" / "__init__.py").is_file():
        module = sys.modules["__main__"].__spec__
        assert module is not None
        path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", module.name, *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})
