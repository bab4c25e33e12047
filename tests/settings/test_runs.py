"""A run is trained with a seed or imported from a checkpoint that is said in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.settings.load import load
from tests.support.small_experiment import CHECKPOINT, IMPORTED, plain


def test_a_run_is_either_trained_or_imported(complaints: Any, tmp_path: Path) -> None:
    data = plain()
    data["runs"]["one"] |= {"checkpoint": CHECKPOINT}
    assert complaints(data) == ["runs.one: give seed, for a training, or checkpoint, for an import, not both"]
    del data["runs"]["one"]["seed"]
    assert complaints(data) == []
    imported, trained = (load(tmp_path / "params.yaml").runs[name] for name in ("one", "two"))
    assert (imported.seed, trained.checkpoint) == (None, None)
    del data["runs"]["one"]["checkpoint"]
    assert complaints(data) == ["runs.one: the key seed is missing"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "a" * 63}, "runs.new.checkpoint.sha256: String should match pattern"),
        ({"text_digest": "none"}, "runs.new.checkpoint.text_digest: String should match pattern"),
        ({"text_digest": None}, "runs.new.checkpoint.text_digest: Input should be a valid string, not None"),
        ({"sha": "a" * 64}, "runs.new.checkpoint: unknown key 'sha'; did you mean 'sha256'?"),
    ],
)
def test_a_checkpoint_that_is_not_said_in_full_is_named(change: dict[str, str], message: str, complaints: Any) -> None:
    data = plain()
    data["runs"]["new"] = {**IMPORTED, "checkpoint": CHECKPOINT | change}
    [line] = complaints(data)
    assert line.startswith(message)


def test_a_checkpoint_without_a_digest_of_its_ids_is_refused(complaints: Any) -> None:
    data = plain()
    data["runs"]["new"] = {**IMPORTED, "checkpoint": {k: v for k, v in CHECKPOINT.items() if k != "text_digest"}}
    assert complaints(data) == ["runs.new.checkpoint.text_digest: this key is missing"]
