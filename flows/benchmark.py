"""An experiment's flow on the command line: python -m flows.benchmark [--experiment f30k] [--jobs N] [--gpus 0,1] [--runs NAME …]

Needs no server; with one (PREFECT_API_URL) it shows up there, and `prefect.yaml` makes a deployment of it.
The steps are those of dvc.yaml, so a result is the same as from `dvc repro`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import ExitStack, chdir, nullcontext, suppress
from functools import partial
from pathlib import Path

from flows.graph import DATASETS, RUNS
from flows.log import KEPT, Log
from flows.outlook import outlook
from flows.plan import alone, folder_of, planned
from flows.server import Server
from flows.slots import Slots
from flows.targets import guardian, stop_all
from itrcore import layout
from itrcore.errors import ConfigError
from itrcore.progress import hushed, working
from itrcore.terminal import remark, user_errors

_LOOK_SECONDS = 5.0  # between two looks for tasks that say nothing
_LAST_SECONDS = 15.0  # for Prefect to tell its server how the flow ended
_STOP_SECONDS = 1.0  # the same after Ctrl-C


def main() -> None:
    """Command line of the flow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--experiment", help="a folder of experiments/, such as f30k; without it, the folder you are in"
    )
    parser.add_argument("--jobs", type=int, default=1, help="how many tasks compute at once")
    parser.add_argument(
        "--gpus", type=lambda text: text.split(","), help="GPUs to spread them over, such as 0,1; those that there are"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--runs", nargs="+", metavar="NAME", help="only these runs and what they depend on")
    only.add_argument("--data", nargs="+", metavar="NAME", help="only these data sets, made ready for training")
    parser.add_argument(
        "--spread",
        action="store_true",
        help="hand the runs to all workers of Prefect's server (PREFECT_API_URL), through DVC's remote",
    )
    parser.add_argument("--takes", metavar="TIME", help="how long all of it takes as shipped, to be said first")
    parser.add_argument("--quiet", action="store_true", help="say only what failed; its log has the rest")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = 0
    try:
        with user_errors(), ExitStack() as stack:
            if arguments.quiet:
                stack.enter_context(hushed())
            folder = folder_of(arguments.experiment)
            with chdir(folder):
                plan = planned(arguments.jobs, _only(arguments))  # so that an error is shown before anything starts
                if not arguments.spread:
                    Slots.of(*plan, arguments.jobs, arguments.gpus or ())
            server = Server()
            if arguments.spread and server.own:
                raise ConfigError("--spread needs a server of Prefect that has workers: set PREFECT_API_URL")
            with alone(folder, os.environ.get("PREFECT_HOME")) if server.own else nullcontext():
                _run(folder, server, arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    except Exception:
        traceback.print_exc()
        status = 1
    if guardian.cache_info().currsize:
        guardian().close()  # nothing is left when this ends
    with suppress(OSError):  # the reader of a pipe may be gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)  # Prefect would try for minutes to reach a server that is gone


def _run(folder: Path, server: Server, asked: argparse.Namespace) -> None:
    """The flow beside the main thread, which Prefect then cannot hold up: it answers signals, and no lost server keeps it."""
    log, only = Log(folder, remark), _only(asked)
    made = {RUNS: layout.result("", ""), DATASETS: layout.shards("").parent}
    results = os.path.relpath(folder / (layout.REPORT / "index.html" if only is None else made[next(iter(only))]))
    with chdir(folder), working("looking for what is out of date"):
        plan = planned(asked.jobs, only)
        log.say(outlook(*plan, asked.jobs, asked.takes, partial(log.write, "records")))
    log.say(f"Results: {results}. All that is printed: {log.path} (the newest {KEPT} are kept).")
    server.start(folder)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    from flows.flow import Work, follow, warn_of_lost_server  # not before Prefect knows its server

    work, arguments = Work(log), (asked.experiment, asked.jobs, asked.gpus, only, asked.spread)
    flow = threading.Thread(target=follow, args=(work, *arguments), daemon=True)
    flow.start()
    try:
        while not work.ended.wait(_LOOK_SECONDS):
            log.remind()
        _wait(flow, server, _LAST_SECONDS)
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stop_all()
        _wait(flow, server, _STOP_SECONDS)
        raise
    if flow.is_alive():
        warn_of_lost_server()
    work.check()


def _only(asked: argparse.Namespace) -> dict[str, list[str]] | None:
    given = {RUNS: asked.runs, DATASETS: asked.data}
    return {block: names for block, names in given.items() if names is not None} or None


def _wait(flow: threading.Thread, server: Server, seconds: float) -> None:
    end = time.monotonic() + seconds
    while flow.is_alive() and not server.lost and time.monotonic() < end:
        flow.join(0.1)


if __name__ == "__main__":
    main()
