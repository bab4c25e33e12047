"""Records of what decides a run's weights and scores: what is in them, what changed in words, and refusing an old one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from itrcore import intact, layout
from itrcore.errors import ConfigError, DataError
from itrcore.files import read_json, write_json
from itrcore.runs import inputs
from itrcore.settings.params import Params
from itrcore.settings.runs import CheckpointSettings, RunSettings
from tests.support.tiny_project import project

RECORD: dict[str, Any] = {
    "code": {"itrcore.methods.vse.esa": "1", "itrcore.layers.losses": "1", "itrcore/report/page.html": "1"},
    "settings": {"recipe": {"learning_rate": 0.1, "epochs": 3}, "seed": 1},
    "data": {"train": {"captions": "1", "regions": "1"}, "vocabulary": "1", "backbone": None},
}


def test_what_changed_is_said_in_words() -> None:
    new = {
        "code": {"itrcore.methods.vse.esa": "2", "itrcore.methods.new": "1", "itrcore/report/page.html": "2"},
        "settings": {"recipe": {"learning_rate": 0.2, "epochs": 3, "clip_norm": 2}, "seed": 1},
        "data": {"train": {"captions": "1", "regions": "2"}, "vocabulary": None, "backbone": "1"},
    }
    assert list(inputs.differences(RECORD, RECORD)) == []
    assert list(inputs.differences(RECORD, new)) == [
        "itrcore/methods/vse/esa.py has changed",
        "itrcore/layers/losses.py is not used any more",
        "itrcore/report/page.html has changed",
        "recipe.learning_rate was 0.1 and is 0.2",
        "regions of train: others",
        "vocabulary: there are none now",
        "backbone: there are some now",
        "itrcore/methods/new.py is used now",
        "recipe.clip_norm was not there and is 2",
    ]


def test_a_record_names_what_its_run_reads_and_nothing_else(tmp_path: Path) -> None:
    params = project(tmp_path, {"runs.two.method": "esa_bert"})
    with contextlib.chdir(tmp_path):
        words, pieces = (inputs.training(params, name) for name in ("one", "two"))
        scored = inputs.evaluation(params, "one")
        imported = inputs.training(_imported(params), "one")
    assert set(words["data"]) == {"train", "dev", "vocabulary"} and set(pieces["data"]) == {
        "train",
        "dev",
        "word pieces",
    }
    assert words["data"]["train"] == pieces["data"]["train"] and set(words["data"]["train"]) == {"captions", "regions"}
    shared = {
        **params.training.model_dump(exclude={"save_every_steps", "features", "processes", "micro_batch"}),
        "device": "auto or cpu",
    }
    assert words["settings"]["training"] == shared
    assert words["settings"]["seed"] == 1 and "itrcore.pretrained.bert" not in words["code"]
    assert set(scored["data"]) == {"dev", "test"} and "seed" not in scored["settings"]
    # Weights that were trained elsewhere hang on no captions of ours, and on nobody's learning rate.
    assert set(imported["data"]) == {"vocabulary"} and not {"loss", "recipe"} & imported["settings"].keys()
    assert imported["settings"]["checkpoint"] == {"sha256": "a" * 64, "text_digest": "b" * 64}
    assert {"itrcore.released.importing", "itrcore.released.layouts.esa"} <= imported["code"].keys()
    assert "itrcore.released.layouts.lhsc" not in imported["code"]


def test_protocols_decide_how_scores_are_judged_and_nothing_before(tmp_path: Path) -> None:
    params = project(tmp_path)
    coco = params.datasets["tiny"].model_copy(update={"protocols": ["eccv"]})
    more = params.model_copy(update={"datasets": {"tiny": coco}})
    with contextlib.chdir(tmp_path):
        for record in inputs.RECORDS.values():
            assert record(params, "one") == record(more, "one")
        assert inputs.judging(params, "tiny").keys() == {"split"}
        judged = inputs.judging(more, "tiny")
        inputs.write(more, "tiny")
        assert read_json(layout.judging("tiny")) == judged
    assert judged.keys() == {"split", "eccv"}
    # What a protocol imports decides its figures too.
    assert {"itrcore.protocols.eccv", "itrcore.protocols.coco_ids"} <= judged["eccv"].keys()
    assert not any("eccv" in module for module in judged["split"])


def test_concepts_count_for_a_method_that_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = project(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = params.method_of("one")
    reading = SimpleNamespace(
        model=SimpleNamespace(**{**dict(settings.model), "concepts": {"dim": 8}}), model_dump=settings.model_dump
    )
    assert "concepts" not in inputs._assets("tiny", settings)
    assert inputs._assets("tiny", reading)["concepts"] is None  # type: ignore[arg-type]
    folder = layout.concepts("tiny")
    folder.mkdir(parents=True)
    found = set()
    for text in ("a", "b"):
        (folder / "concepts.json").write_text(text)
        intact.seal(folder)
        found.add(inputs._assets("tiny", reading)["concepts"])  # type: ignore[arg-type]
    assert len(found) == 2 and None not in found
    (folder / "concepts.json").write_text("c")
    with pytest.raises(DataError, match=r"concepts\.json: this file is damaged"):
        inputs._assets("tiny", reading)  # type: ignore[arg-type]


def _imported(params: Params) -> Params:
    checkpoint = CheckpointSettings(path="model.pth", sha256="a" * 64, text_digest="b" * 64)
    run = RunSettings(data="tiny", method="esa", checkpoint=checkpoint)
    return params.model_copy(update={"runs": {"one": run}})


def test_a_stage_refuses_a_record_of_other_settings_and_a_missing_one(tmp_path: Path) -> None:
    params = project(tmp_path)
    with contextlib.chdir(tmp_path):
        assert inputs.write(params, "tiny") == 2
        path = layout.inputs("train", "tiny") / "one.json"
        assert inputs.checked(params, "train", "one") == read_json(path)
        write_json(path, {**read_json(path), "settings": {**read_json(path)["settings"], "seed": 9}})
        with pytest.raises(
            ConfigError, match=r"one\.json: .* \(seed was 9 and is 1\)\. Run: dvc repro train@one; with"
        ):
            inputs.checked(params, "train", "one")
        path.unlink()
        with pytest.raises(ConfigError, match=r"\(no such file\)"):
            inputs.checked(params, "train", "one")


def test_why_tells_of_a_run_that_was_not_trained_and_of_one_that_changed(tmp_path: Path) -> None:
    params = project(tmp_path)
    with contextlib.chdir(tmp_path):
        assert inputs.changes(params, "one") == {"train": ["not done yet"], "evaluate": ["not done yet"]}
        record = inputs.training(params, "one")
        write_json(layout.run("tiny", "one") / "run.json", {"inputs": record})
        write_json(layout.evaluation("tiny", "one") / "evaluation.json", {"inputs": {**record, "data": {}}})
        told = inputs.changes(params, "one")
    assert told["train"] == ["nothing that decides the result has changed since"]
    assert "captions of test: there are some now" in told["evaluate"]
