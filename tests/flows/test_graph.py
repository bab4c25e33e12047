"""The flow's tasks are those of DVC's graph: every stage once, after all that it reads, whatever is called what."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.graph import Stage, Task, grouped, needed_by, read_stages
from itrcore.errors import ConfigError
from tests.support.tiny_project import PARAMS, ROOT, write_params

PREPARE, RUN = (
    ("raw", "splits", "vocab", "shards", "concepts", "extractor", "features", "inputs"),
    ("train", "evaluate", "judge"),
)
DOWNLOAD = {"features": {"sources": ["/downloaded/features.zip"], "into": "features"}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project with the repository's stages for the tiny params.yaml; the working directory."""
    write_params(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True)
    return tmp_path


def edit(path: Path, stages: Mapping[str, Any]) -> None:
    """Add stages to a dvc.yaml, or replace some of them."""
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False
    content = yaml.load(path.read_text("utf-8"))
    content["stages"] |= stages
    with open(path, "w", encoding="utf-8") as file:
        yaml.dump(content, file)


def items(name: str, *stages: str) -> list[str]:
    return [f"{stage}@{name}" for stage in stages]


def by_title(tasks: list[Task]) -> dict[str, Task]:
    titles = {task.title: task for task in tasks}
    assert len(titles) == len(tasks)
    return titles


def check(tasks: list[Task], stages: list[Stage]) -> None:
    """Every stage once, and after all that it reads."""
    assert sorted(target for task in tasks for target in task.targets) == sorted(stage.target for stage in stages)
    task_of = {target: task for task in tasks for target in task.targets}
    for task in tasks:
        above, unseen = set[int](), [task]
        while unseen:  # that this ends says that there is no circle
            for before in (*(current := unseen.pop()).needs, *current.after):
                assert tasks.index(before) < tasks.index(current)
                if id(before) not in above:
                    above.add(id(before))
                    unseen.append(before)
        for at, stage in enumerate(task.stages):
            for read in stage.reads:
                assert read in task.targets[:at] or id(task_of[read]) in above, (stage.target, read)


def test_stages_of_one_item_are_one_task_that_waits_for_those_of_what_it_reads(project: Path) -> None:
    stages = read_stages()
    tasks = by_title(grouped(stages))
    check(list(tasks.values()), stages)
    assert {title: task.targets for title, task in tasks.items()} == {
        "code, nltk": ["code", "nltk"],
        "prepare tiny": items("tiny", *PREPARE),
        "one": items("one", *RUN),
        "two": items("two", *RUN),
        "ensemble both": items("both", "members", "ensemble"),
        "report": ["report"],
    }
    waits = {title: {before.title for before in task.needs} for title, task in tasks.items()}
    assert waits["code, nltk"] == set()
    assert waits["prepare tiny"] == {"code, nltk"}
    assert waits["one"] == waits["two"] == {"prepare tiny"}
    assert waits["ensemble both"] == {"one", "two", "code, nltk"}
    assert waits["report"] >= {"one", "two", "ensemble both"}
    assert not any(task.after for task in tasks.values())
    assert all(task.limited for task in tasks.values())  # every one computes something


def test_a_stage_added_to_dvc_yaml_is_run_in_its_place(project: Path) -> None:
    results = "results/${item.data}/${key}"
    edit(
        project / "dvc.yaml",
        {
            "probe": {"foreach": "${runs}", "do": {"cmd": "true", "deps": [results], "outs": ["probes/${key}"]}},
            "summary": {"cmd": "true", "deps": ["probes", "report"], "outs": ["summary"]},
            "look": {"foreach": "${datasets}", "do": {"cmd": "true", "deps": ["results"], "outs": ["looks/${key}"]}},
            "sizes": {"matrix": {"size": [1, 2]}, "cmd": "true ${item.size}", "outs": ["sizes/${item.size}"]},
        },
    )
    stages = read_stages()
    tasks = by_title(grouped(stages))
    check(list(tasks.values()), stages)
    assert tasks["one"].targets == items("one", *RUN, "probe")
    assert {before.title for before in tasks["report, summary"].needs} >= {"one", "two", "ensemble both"}
    assert tasks["prepare tiny"].targets == items("tiny", *PREPARE)  # what comes after the runs is a task of its own
    assert tasks["look tiny"].targets == ["look@tiny"]
    prepared = {stage.target for stage in needed_by({"datasets": ["tiny"]}, stages)}
    assert prepared == {"code", "nltk", *items("tiny", *PREPARE)}  # not what looks at results: nothing is trained
    assert tasks["sizes 1"].targets == ["sizes@1"]


def test_a_download_a_data_set_a_run_and_an_ensemble_may_have_one_name(project: Path) -> None:
    tiny, run = PARAMS["datasets"]["tiny"], PARAMS["runs"]["one"]
    write_params(
        project,
        {
            "downloads": {"a": DOWNLOAD, "b": DOWNLOAD},
            "datasets": {"a": {**tiny, "reads": "downloads/a.json"}, "b": {**tiny, "reads": "downloads/b.json"}},
            "runs": {"a": {**run, "data": "b"}, "b": {**run, "data": "a"}, "c": {**run, "data": "a", "seed": 2}},
            "ensembles": {"both": {"data": "a", "runs": ["b", "c"]}},
        },
    )
    # And items of a list that has the same names: each reads results of both runs.
    last = {"cmd": "true", "deps": ["results/b/a", "results/a/b", "data/${item}/raw"], "outs": ["last/${item}"]}
    edit(project / "dvc.yaml", {"last": {"foreach": ["a", "b"], "do": last}})
    stages = read_stages()
    tasks = by_title(grouped(stages))
    check(list(tasks.values()), stages)
    assert tasks["fetch a"].targets == ["fetch@a"] and not tasks["fetch a"].limited
    assert tasks["prepare a"].targets == items("a", *PREPARE) and tasks["prepare a"].limited
    assert tasks["a"].targets == items("a", *RUN) and tasks["a"].limited
    assert {before.title for before in tasks["prepare a"].needs} == {"fetch a", "code, nltk"}
    assert {before.title for before in tasks["a"].needs} == {"prepare b"}
    assert (
        {before.title for before in tasks["b"].needs} == {before.title for before in tasks["c"].needs} == {"prepare a"}
    )
    assert tasks["last a"].targets == ["last@a"]
    needed = {stage.target for stage in needed_by({"runs": ["a"]}, stages)}
    assert needed == {"code", "nltk", "fetch@b", *items("b", *PREPARE), *items("a", *RUN)}


def test_some_runs_alone_bring_what_they_depend_on(project: Path) -> None:
    tasks = grouped(needed_by({"runs": ["two"]}, read_stages()))
    assert [task.title for task in tasks] == ["code, nltk", "prepare tiny", "two"]
    assert grouped(needed_by({"runs": []}, read_stages())) == []


def test_a_frozen_stage_waits_for_what_it_reads_and_does_not_need_it(project: Path) -> None:
    changed = {"downloads": {"got": DOWNLOAD}, "datasets.tiny.reads": "downloads/got.json"}
    write_params(project, changed)
    raw = YAML(typ="safe", pure=True).load((project / "dvc.yaml").read_text("utf-8"))["stages"]["raw"]
    edit(project / "dvc.yaml", {"raw": {**raw, "do": {**raw["do"], "frozen": True}}})
    stages = read_stages()
    tasks = by_title(grouped(stages))
    check(list(tasks.values()), stages)
    assert tasks["raw tiny"].needs == []
    assert {before.title for before in tasks["raw tiny"].after} == {"fetch got", "code, nltk"}
    assert tasks["prepare tiny"].targets == items("tiny", *PREPARE[1:])
    assert "fetch@got" not in {stage.target for stage in needed_by({"runs": ["one"]}, stages)}


def test_files_that_dvc_keeps_are_checked_before_what_reads_them(project: Path) -> None:
    (project / "words.txt.dvc").write_text(
        "outs:\n- {md5: 5d41402abc4b2a76b9719d911017c592, path: words.txt}\n", "utf-8"
    )
    edit(project / "dvc.yaml", {"count": {"cmd": "true", "deps": ["words.txt"], "outs": ["count.txt"]}})
    assert by_title(grouped(read_stages()))["words.txt.dvc, count"].targets == ["words.txt.dvc", "count"]


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ({"train": {"cmd": "true", "deps": ["${item.data}"]}}, "'item.data'"),
        ({name: {"cmd": "true", "deps": [name], "outs": [other]} for name, other in ("xy", "yx")}, "a dependency and an output"),
        ({"a": {"comand": "true"}}, "dvc.yaml"),
    ],
)  # fmt: skip
def test_a_dvc_yaml_that_dvc_cannot_read_is_an_error_of_the_user(
    project: Path, stages: dict[str, Any], says: str
) -> None:
    edit(project / "dvc.yaml", stages)
    with pytest.raises(ConfigError, match=f"DVC cannot read the stages: .*{says}"):
        read_stages()


@pytest.mark.parametrize("seed", range(50))
def test_tasks_of_any_graph_have_no_circle_and_wait_for_nothing_new(seed: int) -> None:
    """Stages at random, with few items, so that stages of one item often stand on both sides of others."""
    rng = random.Random(seed)
    stages: list[Stage] = []
    for number in range(rng.randint(1, 40)):
        reads = tuple(stage.target for stage in stages if rng.random() < rng.choice((0.05, 0.3)))
        item = rng.choice(("a", "b", "c", None))
        stages.append(Stage(str(number), "s", item, "runs" if item == "a" else None, reads, rng.random() < 0.1))
    shuffled = rng.sample(stages, len(stages))
    tasks = grouped(shuffled)
    check(tasks, shuffled)
    for task in tasks:
        first = task.stages[0]
        task_of = {target: other for other in tasks for target in other.targets}
        assert {task_of[read] for read in first.reads} == {*task.needs, *task.after}
        assert all(stage.item == first.item for stage in task.stages)
