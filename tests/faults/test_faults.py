"""The campaign's short form: a few faults, well chosen. What they are judged by is tested in `test_outcome.py`.

`python -m tests.faults.campaign` is the long form.
"""

from __future__ import annotations

import pytest

from tests.faults.damage import Damage
from tests.faults.kill import Hit, Kill
from tests.faults.outcome import Outcome
from tests.faults.pipeline import EMBEDDING, Pipeline

WEIGHTS = f"runs/scenes/{EMBEDDING}/model.safetensors"
SCORES = f"evaluations/scenes/{EMBEDDING}/test/vectors.safetensors"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline(tmp_path_factory.mktemp("faults"), small=True)


def write_of(pipeline: Pipeline, process: str, part: str) -> int:
    """The first write of a process to a path that holds `part`."""
    return next(number for number, path in enumerate(pipeline.states["prepared"].writes[process]) if part in path)


@pytest.mark.slow
def test_a_training_killed_and_one_left_alone_by_dvc_end_as_undisturbed(pipeline: Pipeline) -> None:
    train = f"train {EMBEDDING}"
    hits = (
        Hit(train, write_of(pipeline, train, "step-00000008"), 0.0, "SIGKILL", "group"),
        Hit(train, write_of(pipeline, train, f"runs/scenes/.{EMBEDDING}"), 0.0, "SIGKILL", "dvc"),
    )
    assert [*Kill("prepared", hits, patient=True).trial(pipeline)] == []


@pytest.mark.slow
@pytest.mark.parametrize(("file", "copy"), [(WEIGHTS, "both"), (SCORES, "output")], ids=["weights", "scores"])
def test_damage_is_refused_in_a_line_whose_advice_heals_it(file: str, copy: str, pipeline: Pipeline) -> None:
    unused = Hit("", 0, 0.0, "SIGKILL", "self")
    findings = [*Damage("flip", file, copy, quiet=True, choice=1, reader=0, cut=unused).trial(pipeline)]
    assert {finding.outcome for finding in findings} == {Outcome.REFUSED}, findings
    assert file in findings[0].what
