"""`itr up`: Prefect's server, MLflow's server and a worker on this machine, until Ctrl-C.

What prefect.yaml has can be started there. They listen on this machine alone unless --host asks for more, keep all that they
store in the project's folder, and end with this command, however it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from flows import mlflow_server, server
from flows.access import USER, Access
from flows.guardian import end, of_flow_runs
from flows.plan import MACHINES, PROJECT
from flows.targets import guardian
from itrcore.answer import Answer, as_asked, failure, tell
from itrcore.errors import ITRError
from itrcore.terminal import remark, warn
from itrcore.tracking.sqlite_store import SQLiteStore

POOL = "local"  # the work pool in prefect.yaml
_SECONDS = 120.0  # for a server to answer, on a busy machine
_AGAIN, _WITHIN = 3, 600.0  # times that each may end and is started again, in so many seconds
_PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
_WORKER = (*_PREFECT, "worker", "start", "--pool", POOL, "--type", "process", "--work-queue")
_PRIVATE = PROJECT / ".servers"  # logs, and where a password is asked for, MLflow's accounts and the password


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "--json" in sys.argv:
            print(failure("UsageError", message))
        super().error(message)


def main() -> None:
    """Command line."""
    parser = _Parser(prog="itr up", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is every one of this machine"
    )
    parser.add_argument("--prefect-port", type=int, default=4200, metavar="N", help="of Prefect's server (%(default)s)")
    parser.add_argument("--mlflow-port", type=int, default=5000, metavar="N", help="of MLflow's server (%(default)s)")
    parser.add_argument(
        "--backend",
        metavar="URL",
        default=os.environ.get("MLFLOW_BACKEND_STORE_URI"),
        help="MLflow's database, such as postgresql://user@host/name (default: the variable MLFLOW_BACKEND_STORE_URI, which no "
        "list of processes shows, else mlflow.db)",
    )
    parser.add_argument(
        "--spread",
        type=int,
        metavar="N",
        help="take part in benchmarks that are spread over machines, with N runs at once (default: this machine does not)",
    )
    parser.add_argument(
        "--name", action="append", default=[], help="another name that others call this machine by; may be given again"
    )
    parser.add_argument(
        "--auth",
        action=argparse.BooleanOptionalAction,
        help="ask for a user and a password (default: if --host is not this machine alone)",
    )
    parser.add_argument("--quiet", action="store_true", help="say only where the servers are, and errors")
    parser.add_argument("--json", action="store_true", help="say it as one line of JSON")
    asked = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with as_asked(asked.quiet, asked.json):
        _PRIVATE.mkdir(mode=0o700, exist_ok=True)
        with _alone():
            _Servers(asked).run()


@contextmanager
def _alone() -> Iterator[None]:
    lock = FileLock(_PRIVATE / "up.lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout:
        raise ITRError(f"itr up runs in {PROJECT} already; end that one first (Ctrl-C)") from None


class _Servers:
    """The three processes, and the one that looks after flow runs."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        self._access = Access(asked.host, asked.name, asked.auth, _PRIVATE)
        host = server.reached_at(asked.host)
        self._prefect, self._mlflow = f"http://{host}:{asked.prefect_port}", f"http://{host}:{asked.mlflow_port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ends: dict[str, list[float]] = {}
        proxied = os.environ.get("NO_PROXY", os.environ.get("no_proxy"))
        direct = ",".join(filter(None, (proxied, host.strip("[]"))))
        # Of the worker, and so of all that it runs. A server of MLflow that the user has elsewhere is not what is shown here.
        self._environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | {
            "PREFECT_HOME": str(PROJECT / server.STORE),
            "PREFECT_API_URL": f"{self._prefect}/api",
            "NO_PROXY": direct,
            "no_proxy": direct,
        }
        if self._access.for_prefect:
            self._environment["PREFECT_API_AUTH_STRING"] = self._access.for_prefect
        if asked.backend:
            self._environment["MLFLOW_TRACKING_URI"] = self._mlflow
            if self._access.password:
                self._environment["MLFLOW_TRACKING_USERNAME"] = USER
                self._environment["MLFLOW_TRACKING_PASSWORD"] = self._access.password

    def run(self) -> None:
        """Start them, say where they are, and start again what ends, until it does so often or the user ends all."""
        began = time.monotonic()
        try:
            if warning := self._access.warning():
                warn(warning)
            remark("Starting Prefect's server, MLflow's and a worker.")
            self._start()
            tell(self._told(time.monotonic() - began))
            while True:
                for name in self._ended():
                    self._start_again(name)
                time.sleep(0.2)
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            self._stop()
            remark("All is stopped. itr up starts it again, with all that was stored.")
        finally:
            self._stop()
            guardian().close()  # and what had only begun to start

    def _start(self) -> None:
        with self._storing():
            self._start_mlflow()
            self._start_prefect()
            if not server.answers(self._processes["mlflow"], f"{self._mlflow}/health", _SECONDS):
                raise _failed("mlflow")
        self._start_worker()
        if self._asked.spread is not None:
            self._start_spread()
        pool = f"{self._prefect}/api/work_pools/{POOL}"  # the worker makes it; deployments are refused before
        if not server.answers(self._processes["worker"], pool, _SECONDS, self._access.header):
            raise _failed("worker")
        deploy = [*_PREFECT, "deploy", "--all"]
        done = subprocess.run(
            deploy, cwd=PROJECT, env=self._environment, capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            raise ITRError(f"prefect deploy --all failed: {server.said(done.stdout + done.stderr)}")
        self._start_watch()

    def _start_again(self, name: str) -> None:
        """What has ended. Flow runs go on meanwhile. `ITRError` where it ended several times in a few minutes."""
        now = time.monotonic()
        ends = self._ends[name] = [then for then in self._ends.get(name, ()) if now - then < _WITHIN]
        if len(ends) == _AGAIN:
            raise _failed(name)
        ends.append(now)
        warn(f"{name} has ended ({_said(name)}): it is started again.")
        process = self._processes.pop(name)
        if name in ("worker", "spread"):
            for _, group in self._flow_runs():
                guardian().watch(group)  # no worker would end them
        end([process.pid], process.poll)  # its children, which may have its port
        guardian().release(process.pid)
        starts = {
            "mlflow": self._start_mlflow,
            "prefect": self._start_prefect,
            "worker": self._start_worker,
            "spread": self._start_spread,
            "watch": self._start_watch,
        }
        starts[name]()

    def _start_worker(self) -> None:
        self._spawn("worker", [*_WORKER, "default"], self._environment)

    def _start_spread(self) -> None:
        self._spawn("spread", [*_WORKER, MACHINES, "--limit", str(self._asked.spread)], self._environment)

    def _start_watch(self) -> None:
        self._spawn("watch", [sys.executable, "-m", "flows.watch"], self._environment)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """A fresh mlflow.db is made by one process at a time, and removed if only half is made; a moved one finds its files."""
        if self._asked.backend:
            yield
            return
        store = SQLiteStore(PROJECT / "mlflow.db")
        with store.lock:
            fresh = not store.path.exists() or not store.path.stat().st_size
            if not fresh:
                store.settle()
            try:
                yield
            except BaseException:
                self._stop()
                if fresh:  # half made, it could never be used
                    store.path.resolve().unlink(missing_ok=True)
                raise

    def _start_mlflow(self) -> None:
        server.listen(self._asked.host, self._asked.mlflow_port).close()  # to say at once that it is taken
        self._spawn(
            "mlflow", *mlflow_server.command(self._asked.mlflow_port, self._asked.backend, self._access, _PRIVATE)
        )

    def _start_prefect(self) -> None:
        port, store = self._asked.prefect_port, PROJECT / server.STORE
        hosts = self._access.hosts(port)
        chosen = {
            server.HOSTS: ",".join(hosts),
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self._prefect,
            "PREFECT_SERVER_UI_API_URL": "/api",  # by whatever name the page is called
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(store / "pages"),  # Prefect writes them there when it starts
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        }
        if self._access.password:
            chosen["PREFECT_SERVER_API_AUTH_STRING"] = f"{USER}:{self._access.password}"
        self._processes["prefect"], _ = server.started(
            store, chosen, _SECONDS, "flows.guard:server", (self._asked.host, port)
        )

    def _spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with open(_log(name), "ab" if name in self._ends else "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        guardian().watch(process.pid)
        self._processes[name] = process

    def _stop(self) -> None:
        """All at once. Prefect's server is told before which runs that ends, as they may not have the time to say so."""
        runs = self._flow_runs() if "worker" in self._processes else set()
        for run in {run for run, _ in runs}:
            self._set_cancelled(run)
        end({process.pid for process in self._processes.values()} | {group for _, group in runs}, self._ended)
        for process in self._processes.values():
            guardian().release(process.pid)
        self._processes.clear()

    def _flow_runs(self) -> set[tuple[str, int]]:
        """Ids of those that its workers have started, and their process groups."""
        return set(of_flow_runs(self._environment["PREFECT_HOME"]))

    def _ended(self) -> list[str]:
        """Names of those that have."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def _set_cancelled(self, run: str) -> None:
        headers = {"Content-Type": "application/json", **self._access.header}
        state = {"state": {"type": "CANCELLED", "message": "itr up was stopped"}, "force": True}
        connection = HTTPConnection(urlsplit(self._prefect).netloc, timeout=1)  # heeds no proxy
        with closing(connection), suppress(OSError, HTTPException):  # the server may be what has failed
            connection.request("POST", f"/api/flow_runs/{run}/set_state", json.dumps(state), headers)
            connection.getresponse().read()

    def _told(self, seconds: float) -> Answer:
        """What is where, and what to do next."""
        backend, password = self._asked.backend, os.path.relpath(_PRIVATE / "password")
        lines = [
            f"They are up, after {seconds:.0f} seconds:",
            f"  Prefect  {self._prefect}  what can run, runs and ran",
            f"  MLflow   {self._mlflow}  runs and their figures",
            f"  a worker, which runs here, in {PROJECT}, what is started there",
            f"Stored in {server.STORE}, {'the database' if backend else 'mlflow.db'} and mlartifacts; logs in {_PRIVATE.name}.",
        ]
        shown = f"cat {shlex.quote(password)}"
        then = ["In another terminal:", f"  export PREFECT_API_URL={self._prefect}/api"]
        if self._access.password:
            then.append(f'  export PREFECT_API_AUTH_STRING="{USER}:$({shown})"')
        if backend:
            then.append(f"  export MLFLOW_TRACKING_URI={self._mlflow}  # for dvc repro")
            if self._access.password:
                then.append(f'  export MLFLOW_TRACKING_USERNAME={USER} MLFLOW_TRACKING_PASSWORD="$({shown})"')
        then.append("  prefect deployment run 'benchmark/demo'  # or press Run under Deployments in Prefect's page")
        if self._access.password:
            then.append(f"The pages ask for the user {USER} and what this prints: {shown}")
        then.append("Ctrl-C stops all of it, also what the worker runs.")
        value = {
            "pid": os.getpid(),
            "prefect": {"url": self._prefect, "api": f"{self._prefect}/api", "pid": self._processes["prefect"].pid},
            "mlflow": {"url": self._mlflow, "pid": self._processes["mlflow"].pid},
            "worker": {"pool": POOL, "pid": self._processes["worker"].pid},
            "user": USER if self._access.password else None,
            "password_file": password if self._access.password else None,
        }
        return Answer(value, "\n".join(lines), "\n".join(then))


def _said(name: str) -> str:
    """What a process of these said last."""
    return server.said(_log(name).read_text("utf-8", errors="replace"))


def _failed(name: str) -> ITRError:
    """With what it said last."""
    said = _said(name)
    remedy = SQLiteStore(PROJECT / "mlflow.db").remedy(said) if name == "mlflow" else ""
    all_of_it = f"All that it said is in {os.path.relpath(_log(name))}"
    return ITRError("\n".join(filter(None, (f"{name} has ended, or does not answer ({said}).", remedy, all_of_it))))


def _log(name: str) -> Path:
    return PROJECT / server.STORE / "server.log" if name == "prefect" else _PRIVATE / f"{name}.log"


if __name__ == "__main__":
    main()
