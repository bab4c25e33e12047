"""The files of runs and results: their names, and how the records that stages leave for each other are written and read."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from itrcore import layout, limits
from itrcore.errors import DataError
from itrcore.files import parse_json, read_within, replacing, sealed, write_sealed
from itrcore.runs.observer import Observer
from itrcore.runs.records import Collapse, Point, RunDescription

SPLIT = "test"
RUN, HISTORY = "run.json", "history.json"  # in a run's folder
SCORES = "evaluation.json"  # in the folder of a run's scores
METRICS, RANKS, OUTCOMES = "metrics.json", "ranks.parquet", "outcomes.safetensors"  # in the folder of results
RETRIEVED, EXPLAINED = "retrieved.json", "explained.json"

R = TypeVar("R", bound=BaseModel)


def write(path: Path, record: BaseModel) -> None:
    """Write a record as JSON, atomically, with a digest of its content."""
    write_sealed(path, record.model_dump(mode="json"))


def read(path: Path, kind: type[R], stage: str) -> R:
    """Read a stage's record. `DataError` names the stage to run where it is missing or of another form, or says it is damaged."""
    try:
        data = read_within(path, limits.JSON)
        try:
            sealed(parse_json(data))
        except ValueError as error:
            raise DataError.damaged(path, str(error)) from error
        return kind.model_validate_json(data)
    except FileNotFoundError:
        problem = "no such file"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {first['msg']}" if where else first["msg"]
    except ValueError as error:
        problem = f"cannot be read ({error})"
    raise DataError.at(path, problem, f"the output of stage {stage}", do=f"Run: dvc repro {stage}")


@contextmanager
def untrained(run: RunDescription, observer: Observer) -> Iterator[Path]:
    """Yield a temporary folder for a run that is not trained here; with all its files it takes the run's place.

    The observer is told how that ended.
    """
    observer.begin(run, None)
    try:
        out = layout.run(run.data, run.name)
        with replacing(out) as temporary:
            yield temporary
        write_curve(run.name, [])
        observer.finish(out)
    except BaseException:
        observer.fail()
        raise


def write_curve(name: str, history: Sequence[Point]) -> None:
    """Write the evaluations of a training as a table for DVC's plots; an imported run has none, and gets the header alone."""
    with replacing(layout.curve(name)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        signs = [name for name in Collapse.model_fields if name != "collapsed"]
        named = (f"collapse/{name}" for name in signs)
        table.writerow(("epoch", "dev/rsum", "dev/i2t_r1", "dev/t2i_r1", "loss", "learning_rate", *named))
        for point in history:
            dev = point.dev
            collapse = [getattr(point.collapse, name, None) for name in signs]
            loss = point.losses["total"]
            table.writerow((point.epoch, dev.rsum, dev.i2t_r1, dev.t2i_r1, loss, point.learning_rate, *collapse))
