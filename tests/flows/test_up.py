"""`itr up`: from one command to a deployment's run in Prefect and its figures in MLflow; who is refused; and nothing is left."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import psutil
import pytest

from flows.guardian import of_flow_runs
from tests.support.project import Project, tiny_params
from tests.support.servers import Up, ask, end, free_ports, start, started, wait_for
from tests.support.tiny_project import prepared
from tests.support.warm import python

pytestmark = pytest.mark.slow

RUNS = ("scenes-vse_pp_bigru-1", "scenes-esa_bigru-1")
RUN = RUNS[0]
LONG = "scenes-vse_pp_bigru_long-1"


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """The address of a server with S3's interface, and in it the bucket `lab`, which has shards of a data set."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        bucket = Request(f"{address}/lab", method="PUT")
        try:
            wait_for(lambda: answered(bucket), 60)
            data = prepared() / "data" / "tiny"
            for path in (data / "captions.parquet", *(data / "shards" / "regions").iterdir()):
                url = f"{address}/lab/scenes/{path.relative_to(data)}"
                headers = {"Content-Type": "application/octet-stream", "x-amz-acl": "public-read"}
                assert answered(Request(url, path.read_bytes(), headers, method="PUT"))
            yield address
        finally:
            server.kill()


def answered(request: Request) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=60):
            return True
    except URLError:
        return False


@pytest.fixture(scope="module")
def project(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Its shards and its remote lie in object storage."""
    project = Project(tmp_path_factory.mktemp("up"))
    params = tiny_params(project.params)
    url = f"{storage}/lab/scenes"
    source = {"kind": "shards", "url": url}
    params["datasets"]["scenes"] |= {"reads": "inputs/code/raw.json", "source": source, "shards": {}}
    params["profiles"]["long"] = copy.deepcopy(params["profiles"]["small"])
    params["profiles"]["long"]["recipe"]["epochs"] = 40
    params["runs"] = {**{name: params["runs"][name] for name in RUNS}, LONG: {**params["runs"][RUN], "profile": "long"}}
    params["training"]["save_every_steps"] = 3
    project.write_params({**params, "ensembles": {}})
    project.replace("params.yaml", url, f'"{url}"')  # as DVC's reader wants it
    wanted = project.read("prefect.yaml")
    wanted["deployments"] = [each for each in wanted["deployments"] if each["name"] == "demo"]
    project.write("prefect.yaml", wanted)
    project.warm_stages()
    project.replace("dvc.yaml", f"{python()} -m stages.train", "python -m stages.train")  # it is killed
    share(project, storage)
    return project


@pytest.fixture(scope="module")
def up(project: Project) -> Iterator[Up]:
    up = start(project, "--spread", "1")
    yield started(up)
    end(up)


def share(project: Project, storage: str) -> None:
    """Make a bucket the project's default remote."""
    settings = f"endpointurl = {storage}\naccess_key_id = itr\nsecret_access_key = itr\n"
    remote = f"[core]\nremote = lab\n['remote \"lab\"']\nurl = s3://lab/itr\n{settings}"
    (project.folder / ".dvc" / "config.local").write_text(remote, "utf-8")


@pytest.fixture(scope="module")
def other(project: Project, up: Up, storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Another machine's checkout, with a worker. It shares nothing with the first but the servers and DVC's remote."""
    other = Project(tmp_path_factory.mktemp("other"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(project.folder / name, other.folder / name)
    share(other, storage)
    servers = (f"PREFECT_API_URL={up.prefect}", f"MLFLOW_TRACKING_URI={up.mlflow.removesuffix('/api/2.0/mlflow')}")
    home = f"PREFECT_HOME={other.folder / 'home'}"
    worker = (
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        "local",
        "--work-queue",
        "machines",
        "--limit",
        "1",
    )
    with other.start("env", *servers, home, *worker) as process:
        yield other
        os.killpg(process.pid, signal.SIGKILL)  # a worker whose server is gone heeds no SIGTERM


def test_a_flow_of_a_dead_machine_goes_on_where_it_was_and_without_its_server(up: Up) -> None:
    key = started_flow(up, "train/demo", f'runs=["{LONG}"]')
    logs = up.project.folder / "logs"

    def epochs(nth: int) -> list[int]:
        """What the log of a flow has."""
        text = "".join(path.read_text("utf-8") for path in sorted(logs.glob("*"))[nth : nth + 1])
        return [int(number) for number in re.findall(r": epoch +(\d+)  loss ", text)]

    wait_for(lambda: len(epochs(0)) > 1, 600)
    up.kill("default")  # the worker of this queue
    for _, group in [each for each in of_flow_runs() if each[0] == key]:
        os.killpg(group, signal.SIGKILL)

    def others(*states: str) -> Any:
        _, runs = ask(f"{up.prefect}/flow_runs/filter", {})
        return [run for run in runs if run["id"] != key and run["state"]["type"] in states]

    (again,) = wait_for(lambda: others("RUNNING"), 120)
    _, found = ask(f"{up.prefect}/flow_runs/{key}")
    assert found["state"]["type"] == "CRASHED" and f"'{again['name']}' goes on with it" in found["state"]["message"]
    assert again["name"] == f"{found['name']}, start 2"
    wait_for(lambda: epochs(1), 300)
    up.kill("flows.guard:server")
    wait_for(lambda: "prefect has ended" in up.process.stdout.readline(), 60)  # type: ignore[union-attr]

    def ended() -> Any:
        with suppress(OSError):  # the server may not be back yet
            return others("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

    (last,) = wait_for(ended, 600)
    log = up.project.folder / ".servers" / "worker.log"
    assert (last["id"], last["state"]["type"]) == (again["id"], "COMPLETED"), log.read_text("utf-8")
    begins = epochs(0)[-1]  # its state may not have been saved yet
    assert epochs(1)[0] in (begins, begins + 1) and epochs(1) == [*range(epochs(1)[0], 41)]


def started_flow(up: Up, deployment: str, parameter: str) -> str:
    """The id of a flow run, started as `itr up` says."""
    export = re.search(r"export (PREFECT_API_URL=\S+)", up.said)
    assert export
    command = (sys.executable, "-m", "prefect", "deployment", "run", deployment, "-p", parameter)
    said = up.project.run("env", export[1], *command).stdout
    found = re.search(r"UUID: (\S+)", said)
    assert found, said
    return found[1]


def test_a_benchmark_spreads_over_two_machines(up: Up, other: Project) -> None:
    """From one command to runs of both, each trained once, in one leaderboard, one run graph and one MLflow."""
    key = started_flow(up, "benchmark/demo", "spread=true")

    def ended() -> Any:
        _, found = ask(f"{up.prefect}/flow_runs/{key}")
        return found["state"] if found["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    log = up.project.folder / ".servers" / "worker.log"
    assert wait_for(ended, 600)["type"] == "COMPLETED", log.read_text("utf-8")
    trained = [ran(project) for project in (up.project, other)]
    assert [len(names) for names in trained] == [1, 1] and {*trained[0], *trained[1]} == {*RUNS}
    assert not (other.folder / "data" / "scenes" / "raw").exists()  # it has what runs read, and made none of it
    assert [*(other.folder / "cache" / "shards").glob("*.tar")]
    board = json.loads((up.project.folder / "report" / "leaderboard.json").read_text("utf-8"))
    assert {row for rows in board.values() for row in rows} == {
        "vse_pp_bigru/small",
        "vse_pp_bigru/long",
        "esa_bigru/small",
    }
    _, graph = ask(f"{up.prefect}/flow_runs/{key}/graph-v2")
    nodes = {node["label"]: node for _, node in graph["nodes"] if node["kind"] == "task-run"}
    assert nodes.keys() >= {"code, nltk", "prepare scenes", *RUNS, LONG, "report"}
    assert {node["state_type"] for node in nodes.values()} == {"COMPLETED"}
    assert {parent["id"] for parent in nodes[RUN]["parents"]} >= {nodes["prepare scenes"]["id"]}
    _, found = ask(f"{up.mlflow}/experiments/get-by-name?experiment_name=scenes")
    _, runs = ask(f"{up.mlflow}/runs/search", {"experiment_ids": [found["experiment"]["experiment_id"]]})
    figures = {
        told["info"]["run_name"]: {metric["key"]: metric["value"] for metric in told["data"]["metrics"]}
        for told in runs["runs"]
    }
    assert len(runs["runs"]) == 3 and figures.keys() == {*RUNS, LONG}
    for name in figures:
        results = json.loads((up.project.folder / "metrics" / f"{name}.json").read_text("utf-8"))
        assert figures[name]["test/rsum"] == pytest.approx(results["test/rsum"])
    assert {path.name for path in up.project.folder.iterdir()} >= {".prefect", ".servers", "mlflow.db", "mlartifacts"}


def ran(project: Project) -> list[str]:
    """The runs that were trained in a checkout, but `LONG`, as its flows' logs have it."""
    logs = [path.read_text("utf-8") for path in (project.folder / "logs").iterdir()]
    return [name for log in logs for name in re.findall(r"Running stage 'train@(.+)'", log) if name in RUNS]


def test_the_form_offers_what_params_yaml_has_and_refuses_the_rest(up: Up) -> None:
    _, train = ask(f"{up.prefect}/deployments/name/train/demo")
    asked = train["parameter_openapi_schema"]
    assert {*asked["properties"]["runs"]["items"]["enum"]} == {*RUNS, LONG} and asked["required"] == ["runs"]
    assert asked["properties"].keys() == {"runs", "jobs", "gpus"}  # what a spread benchmark says is not for people
    _, prepare = ask(f"{up.prefect}/deployments/name/prepare/demo")
    assert prepare["parameter_openapi_schema"]["properties"]["data"]["items"]["enum"] == ["scenes"]
    create = f"{up.prefect}/deployments/{train['id']}/create_flow_run"
    for wrong in ({"runs": ["other"]}, {"runs": []}, {"runs": [RUN], "jobs": 0}, {}):
        status, said = ask(create, {"parameters": wrong})
        assert status in (409, 422), said


def test_other_names_and_pages_are_refused_and_nothing_listens_beyond_this_machine(up: Up) -> None:
    deployments, experiments = f"{up.prefect}/deployments/filter", f"{up.mlflow}/experiments/search"
    for url, body in ((deployments, {}), (experiments, {"max_results": 1})):
        port = url.split(":")[2].partition("/")[0]
        here = f"localhost:{port}"
        assert ask(url, body, Host=here, Origin=f"http://{here}")[0] == 200
        for headers in ({"Host": f"rebound.example:{port}"}, {"Origin": "http://other.example"}, {"Origin": "null"}):
            assert ask(url, body, **headers)[0] == 403, (url, headers)
    ours = [each for child in up.children for each in child.net_connections() if each.status == psutil.CONN_LISTEN]
    assert len(ours) >= 2 and {each.laddr.ip for each in ours} <= {"127.0.0.1", "::1"}


def test_a_second_one_is_refused_in_one_line(up: Up) -> None:
    done = up.project.run(sys.executable, "-m", "itrcore.cli", "up", check=False)
    assert done.returncode == 1
    assert done.stdout == f"error: itr up runs in {up.project.folder} already; end that one first (Ctrl-C)\n"


def test_ctrl_c_ends_everything_also_what_the_worker_runs(up: Up) -> None:
    """The last test of this server."""
    up.project.write("dvc.yaml", {"stages": {"long": {"cmd": "sleep 600; touch long", "outs": ["long"]}}})
    _, deployment = ask(f"{up.prefect}/deployments/name/benchmark/demo")
    _, told = ask(f"{up.prefect}/deployments/{deployment['id']}/create_flow_run", {})
    sleep = wait_for(lambda: [child for child in up.children if child.name() == "sleep"], 120)
    children = up.children
    before = time.monotonic()
    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does
    output, _ = up.process.communicate(timeout=60)
    assert time.monotonic() - before < 30  # on an idle machine it is 2 seconds
    assert up.process.returncode == 0 and output.splitlines()[-1].startswith("All is stopped.")
    assert sleep and [child for child in children if running(child)] == []
    for url in (up.prefect, up.mlflow):
        socket.create_server(("127.0.0.1", int(url.split(":")[2].partition("/")[0]))).close()
    with sqlite3.connect(up.project.folder / ".prefect" / "prefect.db") as store:
        of_run = store.execute("select state_type from flow_run where id = ?", (told["id"],))
        assert of_run.fetchone() == ("CANCELLED",)  # else it would be running for ever, in Prefect's page


def running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str | None]:
    """The address of an empty database, in a PostgreSQL server of Debian's packages; None where these are not here."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        yield None
        return
    programs, port = folders[-1], free_ports(1)[0]
    with tempfile.TemporaryDirectory(prefix="itr-postgresql-") as name:
        store, user = Path(name), None
        (store / "password").write_text("pw-of-database", "utf-8")
        if os.geteuid() == 0:  # as which it refuses to run
            user = "postgres"
            shutil.chown(store, user)
        common: Any = {"user": user, "cwd": store, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        access = ("--auth=scram-sha-256", "-U", "itr", "--pwfile=password", "--no-sync")
        subprocess.run([programs / "initdb", "-D", "data", *access], check=True, **common)
        options = ("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={store}", "-p", str(port))
        server = subprocess.Popen([programs / "postgres", "-D", "data", *options], **common)
        try:
            ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            wait_for(lambda: subprocess.run(ready).returncode == 0, 60)
            yield f"postgresql://itr:pw-of-database@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


@pytest.fixture(scope="module")
def private(project: Project, postgresql: str | None) -> Iterator[Up]:
    """It asks for a password, and has PostgreSQL where that is here."""
    up = start(project, "--auth", "--json", *(("--backend", postgresql) if postgresql else ()))
    yield started(up, '"prefect":')
    end(up)


def test_a_password_is_asked_for_and_shown_to_nobody(private: Up) -> None:
    secret = private.project.folder / ".servers" / "password"
    assert secret.stat().st_mode & 0o77 == 0
    user = f"itr:{secret.read_text('utf-8')}"
    create = f"{private.mlflow}/experiments/create"
    for url, body in ((f"{private.prefect}/deployments/filter", {}), (create, {"name": "mine"})):
        assert ask(url, body)[0] == 401
        assert ask(url, body, "itr:wrong")[0] == 401
        assert ask(url, body, user)[0] == 200
    told = json.loads(private.said.splitlines()[-1])
    assert (told["prefect"]["api"], told["user"], told["password_file"]) == (
        private.prefect,
        "itr",
        ".servers/password",
    )
    assert {told[name]["pid"] for name in ("prefect", "mlflow", "worker")} <= {child.pid for child in private.children}
    commands = " ".join(word for child in private.children for word in child.cmdline())
    assert user not in commands and "pw-of-database" not in commands + private.said


def test_runs_may_lie_in_postgresql(private: Up, postgresql: str | None) -> None:
    """After the test above, which makes an experiment."""
    if postgresql is None:
        pytest.skip("PostgreSQL is not here (apt-get install postgresql)")
    import psycopg

    with psycopg.connect(postgresql) as database:
        ((location,),) = database.execute("select artifact_location from experiments where name = 'mine'")
    assert location.startswith("mlflow-artifacts:/")


def test_if_it_is_killed_its_servers_end_too(private: Up) -> None:
    """The last test of this server."""
    children = private.children
    assert {"flows.guard:server", "mlflow", "prefect"} <= {word for child in children for word in child.cmdline()}
    end(private)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert [child for child in alive if running(child)] == []
