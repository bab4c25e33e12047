"""What dies, hangs or is in the way while a deployed flow runs under `itr up`."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import psutil

from flows.guardian import of_flow_runs
from tests.faults.kill import Hit
from tests.faults.outcome import Finding, Outcome, compared, repeated
from tests.faults.pipeline import DVC, ITR, Attempt, Pipeline, Running, strike

LOST_AFTER = 12  # seconds without a word: 60 in earnest
_SECONDS = 900  # until all flow runs have ended
_AWAY = 60  # seconds that a server hangs
WHATS = {
    "machine": "the worker is killed, and all that it runs",
    "stopped": "the same, but all that it runs is stopped and stays",
    "flow": "the flow's process is killed",
    "worker": "the worker is killed",
    "prefect": "Prefect's server is killed",
    "mlflow": f"MLflow's server hangs for {_AWAY} seconds",
    "beside": "someone starts dvc repro in the same folder",
    "two": "the flow is started a second time",
}


@dataclass(frozen=True)
class Orchestrated:
    """Something happens at a write of a process; then the flow completes, by itself. what: one of `WHATS`"""

    what: str
    moment: Hit

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline) -> Orchestrated:
        """Any of them as often."""
        return cls(random.choice(list(WHATS)), Hit.drawn(random, pipeline, "prepared"))

    def __str__(self) -> str:
        return f"{WHATS[self.what]}, at write {self.moment.write} of {self.moment.process}"

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        pipeline.begin("prepared")
        wanted = pipeline.project.read("prefect.yaml")
        wanted["deployments"] = [each for each in wanted["deployments"] if each["name"] == "demo"]
        pipeline.project.write("prefect.yaml", wanted)
        servers = _Servers(pipeline, self)
        try:
            yield from servers.findings()
        finally:
            servers.end()

    def strike(self, servers: _Servers) -> Iterator[Finding]:
        """Do it."""
        groups = {group for run, group in of_flow_runs() if run in servers.runs()}
        if self.what in ("machine", "stopped"):
            for group in groups:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGSTOP if self.what == "stopped" else signal.SIGKILL)
        if self.what in ("machine", "stopped", "worker"):
            servers.signal("worker", signal.SIGKILL)
        elif self.what == "flow":
            for group in groups:
                with suppress(ProcessLookupError, psutil.NoSuchProcess):
                    if "prefect" in " ".join(psutil.Process(group).cmdline()):
                        os.kill(group, signal.SIGKILL)
        elif self.what == "prefect":
            servers.signal("flows.guard:server", signal.SIGKILL)
        elif self.what == "mlflow":
            servers.signal("mlflow", signal.SIGSTOP)
            time.sleep(_AWAY)
            servers.signal("mlflow", signal.SIGCONT)
        elif self.what == "beside":
            by_hand = servers.pipeline.run(*DVC, "repro")
            if by_hand.code and "is busy" not in by_hand.output:
                yield Finding(Outcome.UGLY, f"dvc repro by hand: {by_hand.output.strip().splitlines()[-1]}")
        elif self.what == "two":
            servers.run()


class _Servers:
    """`itr up` in the trial's place, and a flow run of its deployment."""

    def __init__(self, pipeline: Pipeline, fault: Orchestrated) -> None:
        self.pipeline, self._fault = pipeline, fault
        taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        prefect, mlflow = (str(each.getsockname()[1]) for each in taken)
        for each in taken:
            each.close()
        self._api = f"http://127.0.0.1:{prefect}/api"
        ports = ("--prefect-port", prefect, "--mlflow-port", mlflow)
        # With a server of MLflow's own only where that is what hangs.
        backend = ("--backend", f"sqlite:///{pipeline.folder}/mlflow.db") if fault.what == "mlflow" else ()
        moment = strike(pipeline, fault.moment.process, fault.moment.write, fault.moment.delay, "SIGCONT", "self")
        env = {**moment, "ITR_LOST_AFTER": str(LOST_AFTER)}
        self._up: Running = pipeline.start(*ITR, "up", *ports, *backend, env=env)

    def findings(self) -> Iterator[Finding]:
        """Of the whole trial."""
        self._until(lambda: "Ctrl-C stops" in self._up.so_far)
        self.run()
        self._until(lambda: self.pipeline.mark.exists() or self._all_ended())
        if not self.pipeline.mark.exists():
            yield Finding(Outcome.MISSED, "every process ended before")
        yield from self._fault.strike(self)
        time.sleep(2)
        try:
            self._until(self._all_ended)
        except TimeoutError:
            yield Finding(Outcome.STUCK, f"not ended: {self.runs()}")
            return
        runs = self.runs()
        if not any(run["state"]["type"] == "COMPLETED" for run in runs.values()):
            yield Finding(Outcome.STUCK, "; ".join(f"{run['name']}: {run['state']}" for run in runs.values()))
            return
        for run in runs.values():
            if run["state"]["type"] not in ("COMPLETED", "CRASHED"):
                yield Finding(Outcome.REFUSED, f"{run['name']}: {run['state']['message']}")
        yield from compared(self.pipeline, "done")
        yield from repeated(
            [self._attempt(path.read_text("utf-8")) for path in sorted(self.pipeline.folder.glob("logs/*"))]
        )

    @staticmethod
    def _attempt(log: str) -> Attempt:
        lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line).partition(": ") for line in log.splitlines()]
        done = any(who == "flow" and "report: done" in text for who, _, text in lines)
        return Attempt(("flow",), 0 if done else 1, "\n".join(text for who, _, text in lines if who != "flow"))

    def run(self) -> None:
        """Start the deployment."""
        deployment = self._ask("deployments/name/benchmark/demo")
        self._ask(f"deployments/{deployment['id']}/create_flow_run", {})

    def runs(self) -> dict[str, Any]:
        """All flow runs by their ids."""
        return {run["id"]: run for run in self._ask("flow_runs/filter", {})}

    def _all_ended(self) -> bool:
        """Whether all have, and none is still to be started again."""
        ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        with suppress(OSError):  # the server may be what was killed
            types = [run["state"]["type"] for run in self.runs().values()]
            return set(types) <= ends and types.count("CRASHED") < len(types)
        return False

    def signal(self, word: str, number: signal.Signals) -> None:
        """To one of the processes of `itr up`, by a word of its command, and its group."""
        for child in psutil.Process(self._up.pid).children():
            with suppress(psutil.Error, ProcessLookupError):
                if word in child.cmdline():
                    os.killpg(child.pid, number)

    def end(self) -> None:
        """As Ctrl-C does."""
        with suppress(ProcessLookupError):
            os.kill(self._up.pid, signal.SIGINT)
        self._up.attempt()

    def _until(self, condition: Any) -> None:
        end = time.monotonic() + _SECONDS
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(self._up.so_far)
            time.sleep(0.05)

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self._api}/{path}", data, {"Content-Type": "application/json"})
        with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
            return json.loads(answer.read())
