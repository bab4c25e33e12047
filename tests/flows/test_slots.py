"""GPUs are handed out by leases that hold between flows, and end with the last process that uses them. The GPUs are pretended."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import slots, targets
from flows.graph import Stage, Task
from flows.plan import PROJECT
from flows.slots import Place, Slots, named
from flows.targets import TargetFailed
from itrcore.errors import ConfigError
from itrcore.settings.load import load

UUIDS = [f"GPU-{number}a{number}b-44" for number in range(4)]


@pytest.fixture(autouse=True)
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.LEASES, str(tmp_path / "leases"))
    monkeypatch.delenv(slots.VISIBLE, raising=False)
    monkeypatch.setattr(slots, "_LOOK_SECONDS", (0.02, 0.05))
    slots._of_machine.cache_clear()


@pytest.fixture
def stop() -> Iterator[None]:
    """Who waits for a place fails."""
    targets.allow()
    yield
    targets.allow()


def another_flow(then: Callable[[Place], None], *gpus: str, jobs: int = 1) -> int:
    """Its process: it takes a place, does something, says so, and holds it until it is killed."""
    reads, writes = os.pipe()
    if not (process := os.fork()):
        with Slots(jobs, gpus, Path("/there")).taken("scenes-esa_bert-1", 1, print) as place:
            then(place)
            os.write(writes, b"!")
            signal.pause()
    os.close(writes)
    assert os.read(reads, 1) == b"!"
    os.close(reads)
    return process


def ended(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def free(of: Slots, gpus: int = 1) -> str | None:
    """The GPU that a task gets; where it would have to wait, for whom."""
    said: list[str] = []

    def waits(line: str) -> None:
        said.append(line)
        targets.stop_all()

    try:
        with of.taken("mine", gpus, waits) as place:
            return place.variables[slots.VISIBLE]
    except TargetFailed:
        targets.allow()
        return said[0]


def test_a_lease_lasts_as_long_as_a_training_though_its_flow_is_killed(tmp_path: Path, stop: None) -> None:
    number = tmp_path / "training"

    def train(place: Place) -> None:
        shell = "exec 3<&0; sleep 600 <&3 & echo $! > $0.made; mv $0.made $0"  # it outlives even the stage's process
        subprocess.run(["sh", "-c", shell, str(number)], stdin=place.held, check=True)

    flow = another_flow(train, "0")
    mine = Slots(1, ["0"])
    waits = f"mine waits for GPU 0: scenes-esa_bert-1 of /there (process {flow}) has 0"
    assert free(mine) == waits
    assert free(Slots(1, ["0", "1"])) == "1"  # nobody has the other one
    ended(flow)
    assert free(mine) == waits  # the training still computes
    os.kill(int(number.read_text("ascii")), signal.SIGKILL)
    until = time.monotonic() + 5
    while (got := free(mine)) != "0" and time.monotonic() < until:
        time.sleep(0.02)
    assert got == "0"


def test_a_gpu_is_shared_only_by_flows_that_both_ask_for_it(stop: None) -> None:
    sharing = another_flow(lambda place: None, "0", "1", jobs=4)
    try:
        assert "scenes-esa_bert-1" in str(free(Slots(1, ["0"])))
        with (
            Slots(4, ["0", "1"]).taken("second", 1, print) as second,
            Slots(2, ["0"]).taken("third", 1, print) as third,
        ):
            assert [second.variables, third.variables] == [{slots.VISIBLE: "1"}, {slots.VISIBLE: "0"}]  # spread evenly
            assert "third of" in str(free(Slots(2, ["0"])))
        with Slots(1, ["1"]).taken("alone", 1, print):
            assert "alone of" in str(free(Slots(2, ["1"])))
    finally:
        ended(sharing)


def test_trainings_on_several_gpus_get_all_or_none_and_never_lock_each_other_out() -> None:
    at_once, most, done = [0], [0], []

    def flow(gpus: list[str]) -> None:
        of = Slots(1, gpus)
        for turn in range(3):
            with of.taken(f"{gpus} {turn}", 2, lambda line: None) as place:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
                assert set(place.variables[slots.VISIBLE].split(",")) <= set(gpus)
                time.sleep(0.01)
                at_once[0] -= 1
        done.append(gpus)

    flows = [threading.Thread(target=flow, args=(gpus,)) for gpus in (["0", "1"], ["1", "2"], ["2", "0"])]
    for each in flows:
        each.start()
    for each in flows:
        each.join(30)
    assert len(done) == 3 and most == [1]  # any two of them have a GPU in common


def test_a_gpu_has_one_name_whatever_a_shell_calls_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named([]) == [] and named(["5"]) == ["5"]  # without NVIDIA's tool
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo {uuid}\n" for uuid in UUIDS), "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    slots._of_machine.cache_clear()
    assert named([]) == UUIDS
    assert named(["1", "GPU-3a"]) == [UUIDS[1], UUIDS[3]]
    with pytest.raises(ConfigError, match="there is no GPU 4: this machine has 4, counted from 0"):
        named(["4"])
    monkeypatch.setenv(slots.VISIBLE, "3, GPU-0a,9,1")  # CUDA too reads up to the first that is none
    assert named([]) == [UUIDS[3], UUIDS[0]] and named(["0"]) == [UUIDS[3]]
    with pytest.raises(ConfigError, match="there is no GPU 2: CUDA_VISIBLE_DEVICES leaves 2, counted from 0"):
        named(["2"])
    monkeypatch.setenv(slots.VISIBLE, "")
    assert named([]) == []


def test_a_training_of_several_processes_needs_as_many_gpus() -> None:
    params = load(PROJECT / "params.yaml")
    params = params.model_copy(update={"training": params.training.model_copy(update={"processes": 3})})
    item = "scenes-esa_bert-1"
    trains, prepares = (
        Task([Stage(f"{name}@{of}", name, of, block)], [], [])
        for name, of, block in (("train", item, "runs"), ("raw", "scenes", "datasets"))
    )
    assert [slots.needed(task, params) for task in (trains, prepares)] == [3, 1]
    assert Slots.of(params, [prepares], 1, ["0", "1"]).gpus == ["0", "1"]
    with pytest.raises(
        ConfigError, match=r"training\.processes is 3, each with a GPU of its own, but this flow has 2: name"
    ):
        Slots.of(params, [trains], 1, ["0", "1"])
    assert Slots.of(params, [trains], 1, []).gpus == []  # on a CPU they share its cores


def test_leases_are_looked_for_without_torch() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import sys, flows.slots; print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert found.stdout == "False\n"
