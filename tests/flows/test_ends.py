"""How a flow ends: by Ctrl-C, by SIGKILL, with a target that fails, without its server, after another flow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from flows.guardian import end
from flows.targets import TargetFailed, reproduce
from tests.support.project import Project, tiny_params

FLOW = (sys.executable, "-m", "flows.benchmark")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("ends"))
    project.write_params(tiny_params(project.params))
    return project


@pytest.fixture
def started(project: Project) -> Iterator[list[subprocess.Popen[str]]]:
    """Flows that are killed at the end, if one is left."""
    flows: list[subprocess.Popen[str]] = []
    yield flows
    for flow in flows:
        if flow.poll() is None:
            os.killpg(flow.pid, signal.SIGKILL)
        flow.communicate()


def stages(project: Project, **commands: str) -> None:
    """Replace the project's stages; each makes a file of its name."""
    project.write("dvc.yaml", {"stages": {name: {"cmd": cmd, "outs": [name]} for name, cmd in commands.items()}})


def until(flow: subprocess.Popen[str], text: str) -> None:
    """Read a flow's output up to a text."""
    assert flow.stdout is not None
    said = []
    assert any((said.append(line), text in line)[1] for line in flow.stdout), f"it ended without {text!r}: {said}"


def up(project: Project, flow: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until the target prints that it is up, which stands in the newest log; the flow's children then, and theirs."""
    until(flow, "] long: begins")
    while "it is up" not in max((project.folder / "logs").iterdir()).read_text("utf-8"):
        time.sleep(0.05)
    return psutil.Process(flow.pid).children(recursive=True)


def running(processes: list[psutil.Process]) -> list[str]:
    return [
        " ".join(process.cmdline())
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.slow
def test_ctrl_c_ends_everything_at_once_with_one_line(project: Project, started: list[subprocess.Popen[str]]) -> None:
    stages(project, long="trap '' TERM; echo it is up; sleep 600; touch long")  # that does not obey
    store = project.folder / ".prefect" / "prefect.db"
    store.parent.mkdir()
    store.write_text("damaged, or of another version", "utf-8")
    started.append(flow := project.start(*FLOW))
    until(flow, "it begins with an empty store")
    children = up(project, flow)
    assert len(children) >= 4  # server, guardian, DVC, the command
    before = time.monotonic()
    os.killpg(flow.pid, signal.SIGINT)  # as a terminal does
    output, _ = flow.communicate(timeout=60)
    assert time.monotonic() - before < 30  # Prefect alone takes minutes; on an idle machine it is 2 seconds
    assert flow.returncode == 130 and "Traceback" not in output
    assert output.splitlines()[-1] == "stopped; run it again to go on"
    assert running(children) == []


@pytest.mark.slow
def test_a_second_flow_waits_for_one_that_is_killed_and_needs_no_server(
    project: Project, started: list[subprocess.Popen[str]]
) -> None:
    stages(project, long="echo it is up; test -e second || sleep 600; sleep 2; touch long")
    started.append(first := project.start(*FLOW))
    children = up(project, first)
    (project.folder / "second").touch()
    started.append(second := project.start(*FLOW))
    until(second, f"Another flow (process {first.pid}) runs in {project.folder.resolve()}: waiting until it has ended.")
    first.kill()  # nothing in it can tidy up
    _, alive = psutil.wait_procs(children, timeout=10)
    assert running(alive) == []
    (server,) = [child for child in up(project, second) if "uvicorn" in child.cmdline()]
    server.kill()
    before = time.monotonic()
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0 and (project.folder / "long").exists()
    assert time.monotonic() - before < 60  # likewise
    assert output.count("warning:") == 1 and "Prefect's server does not answer any more" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_what_failed_comes_last_and_no_more_than_jobs_run_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    times = "echo + $(date +%s%N) >> times; sleep 1; echo - $(date +%s%N) >> times"
    fails = {"cmd": "seq 30; echo $ALL_PROXY; printf '\\033[31m\\n'; exit 3", "outs": ["bad"]}
    computing = {f"s{number}": {"cmd": f"{times}; touch s{number}", "outs": [f"s{number}"]} for number in range(4)}
    after = {"cmd": "touch after", "deps": ["bad", "s0"], "outs": ["after"]}
    project.write("dvc.yaml", {"stages": {"bad": fails, "after": after, **computing}})
    done = project.run(*FLOW, "--jobs", "2", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stdout and "UnfinishedRun" not in done.stdout
    _, _, end = done.stdout.rpartition("\nerror: ")
    lines = end.splitlines()
    assert lines[0] == "bad failed (exit status 255)"
    assert lines[-7:-4] == [
        "  30",
        "  socks5://127.0.0.1:9",
        "  \\x1b[31m",
    ]  # the targets have the proxies as they were
    assert lines[-4].startswith("  ERROR: failed to reproduce 'bad'")
    (log,) = re.findall(r"^All that was printed is in (logs/benchmark-[\d-]+\.log)\.$", lines[-3])
    begun, *_ = done.stdout.splitlines()
    assert begun == "Out of date: bad, s0, s1, s2, s3, after."
    assert done.stdout.count(f"] bad: failed; it is tried once more in 5 seconds. What it printed is in {log}\n") == 1
    assert done.stdout.count(f"] bad: failed. What it printed is in {log}\n") == 1
    assert len(set(re.findall(r"\[\d of 6\] bad", done.stdout))) == 1  # two tries are one task
    assert (project.folder / log).read_text("utf-8").count(" bad: 29\n") == 2
    assert "] bad: 29" not in done.stdout
    assert lines[-2:] == ["Not run because of that: after.", "Mend that and run it again: what is done is kept."]
    assert all((project.folder / name).exists() for name in computing)
    at_once, most = 0, 0
    for line in sorted((project.folder / "times").read_text("utf-8").splitlines(), key=lambda line: line.split()[1]):
        at_once += 1 if line.startswith("+") else -1
        most = max(most, at_once)
    assert most == 2


@pytest.mark.slow
def test_a_target_waits_for_a_dvc_repro_by_hand_that_makes_it_and_not_for_one_that_reads_it_nor_for_a_dead_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[str]]
) -> None:
    monkeypatch.chdir(project.folder)
    data = {"cmd": "touch data", "outs": ["data"]}
    command = "echo it is up; until test -e go; do sleep 0.1; done; touch made_by_hand"
    made = {"cmd": command, "deps": ["data"], "outs": ["made_by_hand"]}
    project.write("dvc.yaml", {"stages": {"data": data, "made_by_hand": made}})
    started.append(by_hand := project.start(sys.executable, "-m", "dvc", "repro"))
    until(by_hand, "it is up")
    lines: list[str] = []
    reproduce(["data"], lines.append)
    assert by_hand.poll() is None
    reproduce(["made_by_hand"], lambda line: (project.folder / "go").touch() if line.startswith("Waiting") else None)
    assert by_hand.wait(60) == 0 and (project.folder / "made_by_hand").exists()
    assert lines.count("Waiting for another process of DVC.") == 1
    with subprocess.Popen(["sleep", "600"]) as other:  # has the number of a process of DVC that died with its machine
        dead = {"pid": other.pid, "cmd": "dvc repro"}
        notes = {"write": {str(project.folder / "made_by_hand"): dead}, "read": {}}
        (project.folder / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(notes), "utf-8")
        stages(project, made_by_hand="echo again; touch made_by_hand")
        reproduce(["made_by_hand"], lines.append)
        other.kill()
    assert "again" in lines


def test_children_in_groups_of_their_own_are_ended_too() -> None:
    """As flow runs are for Prefect's worker, which may be killed before it has ended them."""
    program = (
        "import subprocess, time\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = (sys.executable, "-c", program)
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True) as leader:
        assert leader.stdout is not None
        child = psutil.Process(int(leader.stdout.readline()))
        end([leader.pid], leader.poll)
    assert running([child]) == []


def test_an_output_that_dvc_could_not_store_is_a_failure(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    stages(project, made="mkdir -p made; echo x > made/x")  # of a folder DVC prints an error, and exits with 0
    (project.folder / ".dvc" / "cache" / "files" / "md5").mkdir(parents=True, exist_ok=True)
    wall = project.folder / ".dvc" / "cache" / "files" / "md5" / "40"  # the first two digits of the digest
    wall.symlink_to("/proc")  # where no file can be made
    with pytest.raises(TargetFailed, match=re.escape(f"({wall.parents[2]}), then run: dvc commit -f made")):
        reproduce(["made"], lambda line: None)
    wall.unlink()
    assert "up to date" not in project.dvc("status", "made")
    project.dvc("commit", "-f", "made")
    assert "up to date" in project.dvc("status", "made")


def test_a_target_that_the_system_killed_says_what_to_do(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where memory runs out. It is to end such a child, and not the flow."""
    monkeypatch.chdir(project.folder)
    stages(project, killed="cp /proc/$$/oom_score_adj score; kill -9 $$")
    with pytest.raises(
        TargetFailed, match=r"^killed was killed by signal 9 \(SIGKILL\)\. Most often .* lower --jobs, or "
    ):
        reproduce(["killed"], lambda line: None)
    assert (project.folder / "score").read_text("ascii") == "500\n"
    stages(project, killed="kill -11 $$")
    with pytest.raises(TargetFailed, match=r"^killed was ended by signal 11 \(SIGSEGV\)$"):
        reproduce(["killed"], lambda line: None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:SEC@SECRET@127.0.0.1:9/api", "Prefect's server at http://127.0.0.1:9/api does not answer ("),
        ("http://[SECRET", "Prefect does not take its settings"),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line_without_its_password(
    project: Project, url: str, shown: str
) -> None:
    stages(project, never="touch never")
    before = time.monotonic()
    done = project.run("env", f"PREFECT_API_URL={url}", *FLOW, check=False)
    assert time.monotonic() - before < 60
    assert done.returncode == 1 and done.stdout.startswith(f"error: {shown}")
    assert len(done.stdout.splitlines()) == 1 and "SECRET" not in done.stdout
    assert not (project.folder / "never").exists()


@pytest.mark.parametrize("module", ["stages.train", "flows.benchmark", "itrcore.cli"])
def test_ctrl_c_during_the_imports_is_one_line(project: Project, module: str) -> None:
    program = (  # the imports last until the signal has come
        "import os, runpy, signal, sys; sys.argv[0] = '-m'\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Slow(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('pydantic', 'typer'): os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    done = project.run(sys.executable, "-c", program, check=False)
    assert (done.returncode, done.stdout) == (130, "stopped; run it again to go on\n")
