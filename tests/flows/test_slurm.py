"""An experiment as jobs of a cluster: what they run, and how one goes on whose time was over, by submitit on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from submitit import LocalExecutor

from flows.graph import Stage, grouped
from flows.job import Job
from flows.plan import alone
from flows.slurm import main, rest
from itrcore import repro


def test_what_no_run_makes_comes_after_them_and_the_report_by_itself() -> None:
    stages = [
        Stage("report", "report", reads=("judge@a", "judge@b", "ensemble@both", "transfer@c")),
        Stage("ensemble@both", "ensemble", "both", "ensembles", ("members@both", "inputs@d")),
        Stage("members@both", "members", "both", "ensembles", ("judge@a", "judge@b")),
        Stage("transfer@c", "transfer", "c", "transfers", ("train@a", "transfer_inputs@c")),
        Stage("transfer_inputs@c", "transfer_inputs", "c", "transfers", ("inputs@d",)),  # reads nothing of a run
        *(Stage(f"judge@{name}", "judge", name, "runs", (f"train@{name}",)) for name in "ab"),
        *(Stage(f"train@{name}", "train", name, "runs", ("inputs@d",)) for name in "ab"),
        Stage("inputs@d", "inputs", "d", "datasets", ("code",)),
        Stage("code", "code"),
    ]
    items, report = rest(grouped(stages), ["d"])
    assert items[:6] == report[:6] == ["-m", "dvc", "--wait-for-lock", "repro", "-s", "--keep-going"]
    assert sorted(items[6:]) == ["ensemble@both", "members@both", "transfer@c", "transfer_inputs@c"]
    assert items.index("members@both") < items.index("ensemble@both")
    assert items.index("transfer_inputs@c") < items.index("transfer@c")
    assert report[6:] == ["report"]


def test_jobs_in_one_folder_whose_servers_have_stores_of_their_own_do_not_wait_for_each_other(tmp_path: Path) -> None:
    def job(store: str) -> bool:
        with alone(tmp_path, str(tmp_path / store)):
            return True

    with ThreadPoolExecutor(1) as other, alone(tmp_path, str(tmp_path / "a")):
        assert other.submit(job, "b").result(timeout=30)


@pytest.mark.slow
def test_a_job_whose_time_is_over_begins_again_and_goes_on(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    # A stage that is at work until it is ended, and finds its state when it begins again; and one that fails.
    works = "echo begun >> state; test $(wc -l < state) = 2 || sleep 600; touch made"
    stages = f"stages: {{works: {{cmd: '{works}', outs: [made]}}, fails: {{cmd: exit 3}}, last: {{cmd: touch last}}}}"
    (tmp_path / "dvc.yaml").write_text(stages, "utf-8")
    executor = LocalExecutor(tmp_path / "logs")
    executor.update_parameters(timeout_min=60)
    job = executor.submit(Job(tmp_path, *(repro.command(name)[1:] for name in ("works", "fails", "last"))))
    while not (tmp_path / "state").exists():
        assert not job.done()
        time.sleep(0.05)
    (inside,) = psutil.Process(int(job.job_id)).children()
    within = inside.children(recursive=True)
    assert len(within) >= 2  # DVC, the stage
    for process in within:  # Slurm sends it to every process of a job: those that are at work are not to die of it
        process.send_signal(signal.SIGUSR2)
    time.sleep(0.5)
    assert all(process.status() != psutil.STATUS_ZOMBIE for process in within)
    inside.send_signal(signal.SIGUSR2)
    wrong = str(job.exception())
    assert "failed: -m dvc --wait-for-lock repro fails\n" in wrong
    assert (tmp_path / "state").read_text("utf-8") == "begun\nbegun\n"
    assert (tmp_path / "made").exists() and (tmp_path / "last").exists()
    assert not [process for process in within if process.is_running()]
    assert "Requeued job" in str(job.stdout())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--sbatch", "partition=gpu", "time=3"],
            "error: argument --sbatch: time is set by this command, the time by --hours",
        ),
        (["--hours", "0"], "error: --hours and --at-once must be above 0, --requeues at least 0"),
    ],
)
def test_wrong_options(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["slurm", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code
    assert says in "".join(capsys.readouterr())
