"""What a trial ended with: its results beside the undisturbed ones, what MLflow holds, how much was trained, what the user saw."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from itrcore.files import digest, sha256
from tests.faults.pipeline import ITR, NEXT, Attempt, Pipeline


class Outcome(StrEnum):
    """From good to bad.

    missed: the fault did not come to pass, such as a process that ended before it was to be killed. refused: one line said
    what was wrong, and what it advised healed it. ugly: a traceback, an end without a word, or a file of an unfinished write
    left. stuck: it could not be healed. lost: work that was done was done again. twice: MLflow holds something twice, or a
    run that is none. wrong: other results, and no word about it.
    """

    EQUAL = "equal"
    MISSED = "missed"
    REFUSED = "refused"
    UGLY = "ugly"
    STUCK = "stuck"
    LOST = "lost"
    TWICE = "twice"
    WRONG = "silently wrong"


FAILURES = (Outcome.STUCK, Outcome.LOST, Outcome.TWICE, Outcome.WRONG)


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    outcome: Outcome
    what: str


RESULTS = (
    "data",
    "inputs",
    "runs",
    "curves",
    "evaluations",
    "results",
    "metrics",
    "report/leaderboard.json",
)
# What two undisturbed pipelines differ in: times, the project's commit, and digests over these.
_VARYING = re.compile(r"seconds|pairs_per_second|_ms$|^(efficiency|extrapolated|code_version|digest)$")

_UNFINISHED = (".tmp", ".old")  # endings of files and folders that a write has not put into place yet


def contents(folder: Path) -> dict[str, str]:
    """Path → digest of each result; of a JSON file without what varies."""
    paths = (path for name in RESULTS for path in [folder / name, *(folder / name).rglob("*")])
    files = (path for path in paths if path.is_file() and path.suffix not in _UNFINISHED)
    return {path.relative_to(folder).as_posix(): _content(path) for path in files}


def _content(path: Path) -> str:
    if path.suffix == ".json":
        try:
            return digest(_lasting(json.loads(path.read_bytes())))
        except ValueError:
            pass
    return sha256(path)


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(inner) for key, inner in value.items() if not _VARYING.search(key)}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def difference(folder: Path, undisturbed: Path) -> set[str]:
    """The results that are missing, added or other than undisturbed."""
    found, wanted = contents(folder), contents(undisturbed)
    return {path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path)}


# Without finished runs of earlier results, which stay there.
_SHOWN = """(select * from runs where lifecycle_stage = 'active' and not (status = 'FINISHED' and run_uuid in
    (select run_uuid from tags where key = 'current' and value = 'false')))"""


def in_mlflow(folder: Path) -> Counter[tuple[Any, ...]]:
    """What the MLflow store shows of current results and of unfinished runs: metrics, parameters, files, each with how often.

    Of earlier results only those that it holds twice.
    """
    if not (folder / "mlflow.db").is_file():
        return Counter()
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        runs = store.execute(f"select name, status, artifact_uri from {_SHOWN}").fetchall()
        of_runs = f"join {_SHOWN} as r using (run_uuid)"
        parameters = store.execute(f"select r.name, key, value from params {of_runs}").fetchall()
        figures = {
            table: store.execute(f"select r.name, key, step, value from {table} {of_runs}").fetchall()
            for table in ("metrics", "latest_metrics")
        }
        twice = store.execute(
            "select value, count(*) from tags join runs using (run_uuid) where key = 'itr.result'"
            " and lifecycle_stage = 'active' group by value having count(*) > 1"
        ).fetchall()
    found = Counter[tuple[Any, ...]](("parameter", *row) for row in parameters)
    found.update(("run", name, status) for name, status, _ in runs)
    found.update({("result", value): number for value, number in twice})
    for table, rows in figures.items():
        last = {(name, key): step for name, key, step, _ in sorted(rows)}
        first = {(name, key) for name, key, step, _ in figures["metrics"] if step == 0}
        for name, key, step, value in rows:
            evaluated = (name, key) in first  # once for each evaluation of the run: the last one counts
            if not key.startswith("system/") and (not evaluated or step == last[name, key]):
                found[(table, name, key, 0 if evaluated else step, _as_on_disk(folder, name, key, value))] += 1
    for name, _, uri in runs:
        # The address is that of the trials' place, or of a server.
        place = folder / "mlartifacts" / re.split(r"/mlartifacts/|^mlflow-artifacts:/", uri)[-1]
        for path in place.rglob("*"):
            if path.is_file():  # pictures and pages name times
                content = _content(path) if path.suffix in (".json", ".safetensors") else ""
                found[("file", name, str(path.relative_to(place)), content)] += 1
    return found


def _as_on_disk(folder: Path, name: str, key: str, value: float) -> float | str:
    """A figure; of a time, whether it is the one of the results on disk."""
    if not _VARYING.search(key):
        return value
    try:
        known = json.loads((folder / "results" / "scenes" / name / "metrics.json").read_bytes())
    except (OSError, ValueError):
        return "unknown"
    return "as on disk" if known.get(key.rpartition("/")[2], value) == value else "another one"


def compared(pipeline: Pipeline, state: str, but: Iterable[str] = ()) -> Iterator[Finding]:
    """The trial's place beside an undisturbed state. but: results that may differ"""
    undisturbed = pipeline.undisturbed(state)
    if other := sorted(difference(pipeline.folder, undisturbed) - set(but)):
        yield Finding(Outcome.WRONG, f"not as undisturbed: {_some(other)}")
    yield from compared_in_mlflow(pipeline.folder, undisturbed)
    yield from left_over(pipeline.folder)


def compared_in_mlflow(folder: Path, undisturbed: Path) -> Iterator[Finding]:
    """Each run once, each metric once, each with the value of the results."""
    found, wanted = in_mlflow(folder), in_mlflow(undisturbed)
    if more := found - wanted:
        yield Finding(Outcome.TWICE, f"MLflow holds too much: {_some(more)}")
    if less := wanted - found:
        yield Finding(Outcome.WRONG, f"MLflow does not hold: {_some(less)}")


def left_over(folder: Path) -> Iterator[Finding]:
    """Files of unfinished writes, ours or DVC's."""
    places = [path for path in folder.iterdir() if path.name not in (".dvc", ".git")]
    files = [path for place in places for path in [place, *place.rglob("*")] if path.suffix in _UNFINISHED]
    if files:
        yield Finding(Outcome.UGLY, f"left over: {_some(path.relative_to(folder) for path in files)}")


def repeated(attempts: Sequence[Attempt], trainings: bool = True) -> Iterator[Finding]:
    """What was done again though it was done: epochs of a training, stages that DVC had recorded.

    An attempt may repeat the last epoch that was printed, as it may have ended before the state was saved.
    trainings: whether these count too
    """
    epochs: dict[str, int] = {}
    recorded: set[str] = set()
    for attempt in attempts:
        sections = re.split(r"^Running stage '(.+)':$", attempt.output, flags=re.MULTILINE)[1:]
        stages = list(zip(sections[::2], sections[1::2], strict=True))
        for number, (stage, text) in enumerate(stages):
            if stage in recorded and (trainings or not stage.startswith("train@")):
                yield Finding(Outcome.LOST, f"{stage} ran again")
            done = [int(epoch) for epoch in re.findall(r"^epoch +(\d+) ", text, re.MULTILINE)]
            last = epochs.get(stage, 0)
            if trainings and done and done[0] < last:
                yield Finding(Outcome.LOST, f"{stage} began again at epoch {done[0]}, after epoch {last}")
            epochs[stage] = max([last, *done])
            stored = "ERROR: failed to transfer" not in text  # DVC writes its lock file also where its cache is full
            if stored and "Updating lock file" in text and (number + 1 < len(stages) or attempt.code == 0):
                recorded.add(stage)


def seen(attempt: Attempt) -> Iterator[Finding]:
    """What should not be on a user's terminal: a traceback, or an end without a word."""
    if attempt.code is None:
        yield Finding(Outcome.STUCK, f"{attempt} did not end")
    elif trace := re.search(
        r"^Traceback \(most recent call last\):\n(?:(?: .*)?\n)*(.*)", attempt.output, re.MULTILINE
    ):
        yield Finding(Outcome.UGLY, f"a traceback: {trace[1]}; then: {attempt.output.strip().splitlines()[-1]}")
    elif attempt.code and not re.search(r"^(error|ERROR|stopped;)", attempt.output, re.MULTILINE):
        yield Finding(Outcome.UGLY, f"{attempt} ended with status {attempt.code} and no word")
    for failed in re.findall(r"^ERROR: failed to reproduce .*exited with (-?\d+)$", attempt.output, re.MULTILINE):
        if not re.search(r"^(error:|stopped;)", attempt.output, re.MULTILINE):
            yield Finding(Outcome.UGLY, f"a stage ended with status {failed} and no word")


def error_line(attempt: Attempt) -> str | None:
    """Our own line about what was wrong."""
    found = re.search(r"^error: (.*)$", attempt.output, re.MULTILINE)
    return found[1] if found else None


def last_line(attempt: Attempt) -> str:
    """What the user reads of a failure."""
    return error_line(attempt) or (attempt.output.strip().splitlines() or ["no output"])[-1]


def finished(pipeline: Pipeline, state: str, attempts: list[Attempt], trainings: bool = True) -> Iterator[Finding]:
    """The last attempt, undisturbed: it ends well, with the undisturbed results, and repeated nothing."""
    if attempts[-1].code != 0:
        yield Finding(Outcome.STUCK, f"{attempts[-1]}: {last_line(attempts[-1])}")
        return
    if any("run: itr track" in attempt.output for attempt in attempts):
        pipeline.run(*ITR, "track")
    yield from compared(pipeline, NEXT[state])
    yield from repeated(attempts, trainings)


def _some(values: Iterable[Any], most: int = 3) -> str:
    texts = sorted(map(str, values))
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")
