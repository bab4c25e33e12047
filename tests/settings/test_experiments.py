"""Folders of experiments: those that are shipped have the same steps, and a new one is like another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from itrcore.errors import ConfigError
from itrcore.settings.experiments import check_steps, create
from itrcore.settings.load import load
from tests.support.small_experiment import EXPERIMENTS, ROOT


def test_the_shipped_experiments_have_the_same_steps(tmp_path: Path) -> None:
    assert [path.parent.name for path in EXPERIMENTS[1:]] == [
        "coco",
        "coder-ablations",
        "f30k",
        "f30k-photos",
        "f30k-simulated",
    ]
    for path in EXPERIMENTS[1:]:
        # A copy: of a link, DVC cannot read what is committed.
        assert not path.with_name("dvc.yaml").is_symlink()
        check_steps(load(path), path.parent)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(ConfigError, match=r"dvc.yaml: not the same steps as the project's; copy .*dvc.yaml over it"):
        check_steps(load(EXPERIMENTS[1]), tmp_path)


def test_an_ablation_changes_one_thing_of_coder_as_the_embedded_experiment_has_it() -> None:
    embedded, params = load(ROOT / "params.yaml"), load(ROOT / "experiments/coder-ablations/params.yaml")
    assert params.datasets == embedded.datasets
    whole = params.method_of("small_coder-1")
    assert whole == embedded.method_of("scenes-coder_bigru-1")
    assert params.method_of("small-1") == embedded.method_of("scenes-vse_infty_bigru-1")
    for name, run in params.runs.items():
        assert name == f"{run.profile}-{run.seed}"  # what the table and the leaderboard call it
        own = params.method_of(name)
        if own.model == whole.model:
            assert own.recipe == whole.recipe
            assert sum(value != getattr(own.loss, part) for part, value in whole.loss) == (run.profile != "small_coder")
    # Without concepts it is another method: the instance branch alone.
    branch = params.method_of("no_concepts-1")
    shared = branch.model.model_dump(exclude={"kind"})
    assert shared == whole.model.model_dump(include=set(shared))
    assert branch.loss == whole.loss.model_copy(update={"clusters": None})
    assert params.method_of("in_batch-1") == branch.model_copy(update={"loss": branch.loss.compared})
    assert branch.recipe == whole.recipe.model_copy(update={"factors": {}})


def test_a_new_experiment_is_like_another_one_and_has_its_own_folder(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for name in ("params.yaml", "nltk.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    folder = create(tmp_path, "mine", tmp_path)
    created = load(folder / "params.yaml")
    assert (created.experiment, created.project, folder) == ("mine", tmp_path, tmp_path / "experiments" / "mine")
    assert created.runs == load(tmp_path / "params.yaml").runs
    check_steps(created, folder)
    assert {path.name for path in folder.iterdir()} == {"params.yaml", "dvc.yaml", ".dvc", ".dvcignore"}
    for name, told in (("mine", "there already"), ("../x", "cannot be an experiment's name")):
        with pytest.raises(ConfigError, match=told):
            create(tmp_path, name, tmp_path)


def test_a_new_experiment_has_the_line_ends_and_the_byte_order_mark_of_the_other_one(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for name in ("params.yaml", "nltk.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (ROOT / name).read_bytes().replace(b"\n", b"\r\n"))
    folder = create(tmp_path, "mine", tmp_path)
    check_steps(load(folder / "params.yaml"), folder)
    old = (tmp_path / "params.yaml").read_bytes()
    assert (folder / "params.yaml").read_bytes() == old.replace(b"root: . ", b"root: ../.. ", 1) != old
