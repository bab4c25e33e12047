"""A Python that has loaded its packages: a process with torch, MLflow and others, of which each `python -m` is a fork.

Most of what a stage of a tiny project takes is the import of packages: 5 of a training's 7 seconds. Here they are imported once,
and each call still is a process of its own: it imports our code anew, and has its own arguments, folder, variables and streams.
It is not in its caller's process group, so no test of signals may use it; and only a Python of its own shows what is imported
too early or not at all.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PACKAGES = (
    *("torch._dynamo", "numpy", "pyarrow.parquet", "pyarrow.compute", "pydantic", "ruamel.yaml", "safetensors", "PIL.Image"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.system_metrics.system_metrics_monitor", "mlflow.data.meta_dataset"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_svg", "jinja2", "dvc.commands.repro", "typer", "rich.console"),
    *("transformers.models.bert.modeling_bert", "nltk"),
)  # fmt: skip
_NOT_OF_NLTK = dict.fromkeys(("scipy.stats", "sklearn"))  # as in itrcore.data.text.nltk_parts: a second
# Isolated and without site-packages, Python starts in a hundredth of a second.
_CALLER = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1] == "-u":  # of launchers
    del sys.argv[1]
if sys.argv[1] != "-m":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
call = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as to:
    to.connect({address!r})
    socket.send_fds(to, [len(call).to_bytes(4, "big")], [0, 1, 2])
    to.sendall(call)
    sys.exit(to.recv(1)[0])
"""
_running: dict[int, socket.socket] = {}  # process → who waits for its exit status


@functools.cache
def python() -> str:
    """The path of a `python`, alone in its folder, for `python -m MODULE ARGUMENT…`; it ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="itr-warm-"))
    caller, address = folder / "bin" / "python", folder / "socket"
    caller.parent.mkdir()
    caller.write_text(_CALLER.format(python=sys.executable, address=str(address)), "utf-8")
    caller.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, __file__, str(caller), str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONDONTWRITEBYTECODE": "",  # as in `Project.environment`
        },
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    atexit.register(shutil.rmtree, folder)
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # the first of the three
    assert process.stdout.read(5) == b"ready"
    return str(caller)


def _serve(python: str, address: str) -> None:
    """Until the process that started it closes its pipe, or is gone."""
    sys.modules.update(_NOT_OF_NLTK)  # type: ignore[arg-type]  # None: not installed
    for name in PACKAGES:
        importlib.import_module(name)
    for name in _NOT_OF_NLTK:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # pages that nobody writes to stay shared
    signal.signal(signal.SIGCHLD, _tell)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        os.write(1, b"ready")
        while 0 not in select.select([0, listening], [], [])[0]:
            caller, _ = listening.accept()
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # a process that ends at once is known by then
            if child := os.fork():
                _running[child] = caller
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
                continue
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            listening.close()
            sys.executable = python
            _run(caller)


def _tell(*_: object) -> None:
    """Say to the callers of processes that have ended how they did."""
    while _running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
        with _running.pop(ended[0]) as caller:
            code = os.waitstatus_to_exitcode(ended[1])
            caller.sendall(bytes([code if code >= 0 else 128 - code]))


def _run(caller: socket.socket) -> None:
    """What `python -m` does, up to the end of the process."""
    size, streams, _, _ = socket.recv_fds(caller, 4, 3)
    call = bytearray()
    while len(call) < int.from_bytes(size, "big"):
        call += caller.recv(1 << 16)
    (module, *arguments), folder, environment = json.loads(call)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[:] = ["-m", *arguments]
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 255)  # taking thousands of modules apart takes longer than most stages


if __name__ == "__main__":
    _serve(*sys.argv[1:])
