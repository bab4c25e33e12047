"""What a method leaves to dev: CODER's α is the one of highest rsum there, is kept with the weights, and test is not asked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from itrcore import layout
from itrcore.data import captions
from itrcore.data.feeding.prepared import open_split
from itrcore.evaluation.load import LoadedRun, load_run
from itrcore.evaluation.scoring import EncodedSplit, encode
from itrcore.files import read_json
from itrcore.layers.encoded import Vectors
from itrcore.methods.coder.coder import CODER
from itrcore.ranking import metrics, ranks
from itrcore.runs.folder import SPLIT
from itrcore.training import loop
from tests.support.tiny_project import coder_project, train_in, weights

ALPHA = "methods.gpo.model.alpha"
IMAGES, EACH, DIM = 8, 5, 16


def loaded(folder: Path) -> LoadedRun:
    with contextlib.chdir(folder):
        return load_run(layout.run("tiny", "two"))


def test_each_evaluation_takes_the_alpha_of_highest_rsum_and_tests_captions_change_nothing(tmp_path: Path) -> None:
    coder_project(tmp_path)
    run = train_in(tmp_path, "two")
    trained, record = loaded(tmp_path), read_json(run / "run.json")
    method = trained.method
    assert isinstance(method, CODER)
    with contextlib.chdir(tmp_path):
        dev = open_split("tiny", "dev", trained.assets.text.tokeniser, method.input)
    sides = encode(method, dev, 16, torch.device("cpu"))
    parts = [method.branches(side.vectors) for side in (sides.images, sides.texts)]
    instance, concept = ((parts[0][name] @ parts[1][name].T).numpy() for name in ("instance", "concept"))
    rsums = {}
    for number in range(1, 20):
        alpha = round(number / 20, 2)
        rsums[alpha] = metrics(ranks(alpha * instance + (1 - alpha) * concept, dev.image_of))["rsum"]
    best = min((alpha for alpha in rsums if rsums[alpha] == max(rsums.values())), key=lambda alpha: abs(alpha - 0.9))
    assert len(set(rsums.values())) > 1  # there is something to choose
    assert record["chosen"] == {"alpha": best} and record["dev_rsum"] == pytest.approx(rsums[best])
    evaluations = read_json(run / "history.json")["evaluations"]
    assert next(each for each in evaluations if each["epoch"] == record["best_epoch"])["chosen"] == {"alpha": best}
    assert method.alpha.item() == pytest.approx(best)
    # What an index is made of has it too.
    assert method.image_vectors(sides.images)[:, :DIM].norm(dim=1).numpy() == pytest.approx(best**0.5)

    before, table = weights(run), captions.read_table(tmp_path / layout.captions("tiny"))
    texts = table["text"].to_pylist()
    texts = [
        f"not {text}" if split == SPLIT else text for text, split in zip(texts, table["split"].to_pylist(), strict=True)
    ]
    changed = table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts))
    captions.write(changed, tmp_path / layout.captions("tiny"))
    run = train_in(tmp_path, "two")
    assert (weights(run), read_json(run / "run.json")["chosen"]) == (before, {"alpha": best})


@pytest.mark.parametrize(
    ("telling", "near", "expected"),
    [("concept", 0.9, 0.45), ("concept", 0.2, 0.2), ("instance", 0.9, 0.9), ("instance", 0.2, 0.55)],
)
def test_where_one_branch_tells_items_apart_and_the_other_misleads_alpha_is_on_its_side_and_near_the_usual_one(
    telling: str, near: float, expected: float, tmp_path: Path, monkeypatch: Any
) -> None:
    # Right pairs have the share of the branch that tells, wrong ones that of the other: each value on its side ranks all right.
    right = torch.eye(IMAGES, DIM)
    of = torch.arange(IMAGES).repeat_interleave(EACH)
    branches = [
        (right, right[of]),
        (right, right[(of + 1) % IMAGES]),
    ]  # of the second, captions lie with the next image
    if telling == "concept":
        branches.reverse()

    def planted(*arguments: Any) -> EncodedSplit[Vectors]:
        images, texts = (Vectors(torch.cat(parts, dim=1)) for parts in zip(*branches, strict=True))
        return EncodedSplit(images, texts, 0.0, 0.0)

    monkeypatch.setattr(loop, "encode", planted)
    coder_project(tmp_path, {ALPHA: {"kind": "dev", "step": 0.05, "near": near}})
    record = read_json(train_in(tmp_path, "two") / "run.json")
    assert record["chosen"] == {"alpha": expected} and record["dev_rsum"] == 600.0
    assert loaded(tmp_path).method.alpha.item() == pytest.approx(expected)
