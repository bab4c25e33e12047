"""The state of an unfinished training: what was saved comes back bit for bit, damage of any file is found, no one else writes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from itrcore.errors import TrainingError
from itrcore.runs.records import Metrics, Point
from itrcore.training.adamw_bert import AdamWBert
from itrcore.training.state import StateFolder, TrainingState


def trained(
    steps: int = 3, kind: type[torch.optim.AdamW | AdamWBert] = torch.optim.AdamW
) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimiser = kind(model.parameters(), lr=0.1 / 3, weight_decay=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimiser.step()
    return model, optimiser


def point(evaluation: int, epoch: float, rsum: float) -> Point:
    recalls = {key: 0.0 for key in Metrics.model_fields if key != "rsum"}
    return Point(
        evaluation=evaluation,
        epoch=epoch,
        learning_rate=0.1,
        losses={"total": 1.0},
        dev=Metrics(**recalls, rsum=rsum),
        seconds=1.0,
        pairs_per_second=1.0,
    )


def state(step: int = 3, **values: Any) -> TrainingState:
    return TrainingState(
        identity="me", epoch=0, step=step, global_step=step, losses={"hinge": 0.1 + 0.2}, seconds=1 / 3, **values
    )


@pytest.mark.parametrize("kind", [torch.optim.AdamW, AdamWBert])
def test_what_was_saved_comes_back_bit_for_bit(kind: type[torch.optim.AdamW | AdamWBert], tmp_path: Path) -> None:
    model, optimiser = trained(kind=kind)
    folder = StateFolder(tmp_path / "run")
    best = folder.save_best(point(1, 0.25, 7.5), model)
    history = [point(1, 0.25, 100 / 3)]
    before = state(best=best, history=history, part_steps=2, part_seconds=1 / 7)
    folder.save(before, model, optimiser.state_dict())
    found = folder.load("me")
    assert found is not None
    after, weights, optimiser_state = found
    assert after == before
    wanted = model.state_dict()
    assert set(weights) == set(wanted)  # batch normalisation's statistics included
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    fresh_model, fresh = trained(0, kind)
    fresh_model.load_state_dict(weights)
    fresh.load_state_dict(optimiser_state)
    for one, two in ((model, optimiser), (fresh_model, fresh)):
        torch.manual_seed(1)
        two.zero_grad()
        one(torch.randn(5, 3)).square().sum().backward()
        two.step()  # the same next step: moments, step count and learning rate are there
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh_model.parameters(), strict=True))


def test_a_state_of_another_identity_is_not_continued_and_stays_until_the_next_is_saved(tmp_path: Path) -> None:
    model, optimiser = trained()
    folder = StateFolder(tmp_path / "run")
    folder.save(state(), model, optimiser.state_dict())
    assert folder.load("another") is None
    assert folder.load("me") is not None  # changing a setting, thinking again and changing it back loses nothing
    other = TrainingState(identity="another", step=1, global_step=1)
    folder.save(other, model, optimiser.state_dict())
    assert folder.load("me") is None and folder.load("another") is not None
    assert [path.name for path in folder.folder.iterdir()] == ["step-00000001"]


def test_only_the_newest_state_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    model, optimiser = trained()
    folder = StateFolder(tmp_path / "run")
    folder.save_best(point(1, 1, 1.0), model)
    best = folder.save_best(point(2, 2, 2.0), model)
    (folder.folder / ".step-00000002.99.tmp").mkdir()  # left by a killed process
    for step in (1, 2, 3):
        folder.save(state(step, best=best), model, optimiser.state_dict())
    assert sorted(path.name for path in folder.folder.iterdir()) == ["best-00002.safetensors", "step-00000003"]


FILES = [
    "step-00000002/model.safetensors",
    "step-00000002/optimiser.safetensors",
    "step-00000002/state.json",
    "best-00001.safetensors",
]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped bit":
        content[-len(content) // 3] ^= 1  # inside the values: the file still opens
    elif how == "cut":
        del content[len(content) // 2 :]
    elif how == "zeros":  # what a file system may leave after a power cut
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    elif how == "empty":
        content.clear()
    path.write_bytes(content)
    if how == "missing":
        path.unlink()


@pytest.mark.parametrize("how", ["flipped bit", "cut", "zeros", "empty", "missing"])
@pytest.mark.parametrize("file", FILES)
def test_damage_of_any_file_is_found_and_an_older_state_serves_or_none(
    file: str, how: str, tmp_path: Path, capsys: Any
) -> None:
    model, optimiser = trained()
    folder = StateFolder(tmp_path / "run")
    folder.save(state(2, best=folder.save_best(point(1, 1, 1.0), model)), model, optimiser.state_dict())
    damage(folder.folder / file, how)
    assert folder.load("me") is None
    assert "step-00000002 is damaged" in capsys.readouterr().out
    # Killed after renaming a newer state into place and before removing the older one, then damaged.
    (folder.folder / "step-00000002").rename(tmp_path / "damaged")
    folder.save(state(1), model, optimiser.state_dict())
    (tmp_path / "damaged").rename(folder.folder / "step-00000002")
    found = folder.load("me")
    assert found is not None and found[0].step == 1


def test_a_state_file_of_another_form_is_damage_too(tmp_path: Path) -> None:
    model, optimiser = trained()
    folder = StateFolder(tmp_path / "run")
    folder.save(state(2), model, optimiser.state_dict())
    for text in ("[]", "{}", "null", '{"state": {"no": 1}, "files": {}, "digest": ""}', "\xff"):
        (folder.folder / "step-00000002" / "state.json").write_text(text, "latin-1")
        assert folder.load("me") is None


def test_a_save_that_fails_leaves_the_older_state(tmp_path: Path, monkeypatch: Any) -> None:
    model, optimiser = trained()
    folder = StateFolder(tmp_path / "run")
    folder.save(state(1), model, optimiser.state_dict())

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("itrcore.training.state._flatten", full)
    with pytest.raises(OSError, match="No space"):
        folder.save(state(2), model, optimiser.state_dict())
    found = folder.load("me")
    assert found is not None and found[0].step == 1
    assert [path.name for path in folder.folder.iterdir()] == ["step-00000001"]


def hold(folder: Path, held: Any) -> None:
    with StateFolder(folder).alone():
        held.set()
        multiprocessing.Event().wait()


def test_a_second_process_on_the_same_run_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", held), daemon=True)
    process.start()
    assert held.wait(20)
    with (
        pytest.raises(TrainingError, match="another process is training this run"),
        StateFolder(tmp_path / "run").alone(),
    ):
        pass
    process.kill()
    process.join()
    with StateFolder(tmp_path / "run").alone():
        pass
    with StateFolder(tmp_path / "run").alone():
        pass
