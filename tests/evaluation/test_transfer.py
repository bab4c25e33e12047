"""A run on another data set than its own: its own tokeniser and weights, the other one's test, results of their own."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itrcore.data.feeding.prepared import open_split
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import ConfigError, DataError
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.evaluation.load import load_run
from itrcore.evaluation.scoring import encode, score
from itrcore.files import read_json
from itrcore.ranking import metrics, ranks
from itrcore.report.leaderboard import as_json
from itrcore.report.results import available, configured
from itrcore.runs import inputs
from itrcore.settings.load import load
from itrcore.settings.params import Params
from stages import raw, shards, splits, transfer, transfer_inputs, vocab
from tests.support.scores import similarities
from tests.support.tiny_project import PARAMS, project, train_in, write_params

TINY = PARAMS["datasets"]["tiny"]


def dataset(seed: int, images: int, **source: Any) -> dict[str, Any]:
    """Other scenes than those of `tiny`, and another vocabulary."""
    found = copy.deepcopy(TINY)
    found["source"] |= {"seed": seed, "images": {"train": 8, "dev": 2, "test": images}, **source}
    found["vocabulary"] = {"min_count": 2}
    return found


CHANGES = {
    "datasets.other": dataset(5, 6),
    "datasets.narrow": dataset(6, 2, width=12),
    "transfers": {
        "there": {"run": "one", "trained_on": "tiny", "data": "other"},
        "narrow": {"run": "one", "trained_on": "tiny", "data": "narrow"},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose run `one` was trained on `tiny` and evaluated on `other`."""
    folder = tmp_path_factory.mktemp("transfer")
    params = project(folder, {"transfers": {}} | {key: CHANGES[key] for key in CHANGES if key != "transfers"})
    with contextlib.chdir(folder):
        for data in ("other", "narrow"):
            for stage in (raw, splits, vocab, shards):
                stage.main(params, data)
        train_in(folder)
        evaluate(params, "one")
        judge(params, "one")
        params = write_params(folder, CHANGES)
        transfer_inputs.main(params, "there")
        transfer.main(params, "there")
        judge(params, "there")
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(folder)
    return load()


def test_a_transfer_is_the_run_on_the_others_test_with_its_own_tokeniser() -> None:
    run = load_run(Path("runs/tiny/one"))
    tokeniser = run.assets.text.tokeniser
    split = open_split("other", "test", tokeniser, run.method.input)
    encoded = encode(run.method, split, 16, torch.device("cpu"))
    expected = score(run.method, encoded.images, encoded.texts, 16)
    np.testing.assert_allclose(similarities("there", data="other"), expected, atol=1e-6)
    foreign = Vocabulary.load(Path("data/other/vocab/vocab.json"), Path("data/nltk"))
    assert len(foreign) != len(Vocabulary.load(Path("data/tiny/vocab/vocab.json"), Path("data/nltk")))
    found = read_json(Path("results/other/there/metrics.json"))
    assert found["metrics"] == metrics(ranks(expected, split.image_of))
    assert (found["n_images"], found["n_captions"]) == (6, 30)


def test_a_transfer_says_where_it_comes_from_and_has_nothing_of_dev() -> None:
    scored, found = (
        read_json(Path(f"{kind}/other/there/{name}.json"))
        for kind, name in (("evaluations", "evaluation"), ("results", "metrics"))
    )
    for record in (scored, found):
        assert (record["name"], record["data"], record["trained_on"], record["weights_of"]) == (
            "there",
            "other",
            "tiny",
            "one",
        )
        assert (record["seed"], record["dev_rsum"]) == (1, None)
    assert list(scored["files"]) == ["test/vectors.safetensors"]
    assert read_json(Path("metrics/there.json")).keys() == {"test/rsum"}
    own = read_json(Path("results/tiny/one/metrics.json"))
    assert (own["trained_on"], own["weights_of"]) == (None, None) and own["dev_rsum"] is not None


def test_what_decides_a_transfer_is_the_others_test_and_no_run_depends_on_it(here: Params) -> None:
    record = inputs.evaluation(here, "there")
    assert record["data"].keys() == {"test"}
    without = here.model_copy(update={"transfers": {}})
    for make in (inputs.training, inputs.evaluation):
        assert make(here, "one") == make(without, "one")
    assert record["data"]["test"] != inputs.evaluation(here, "one")["data"]["test"]
    assert inputs.changes(here, "there") == {"transfer": ["nothing that decides the result has changed since"]}
    path = Path("inputs/transfer/other/there.json")
    kept = path.read_text()
    path.write_text(json.dumps({**json.loads(kept), "data": {}}))
    with pytest.raises(ConfigError, match=r"Run: dvc repro transfer@there; .*transfer_inputs@there first"):
        transfer.main(here, "there")
    path.write_text(kept)


def test_transfers_stand_in_a_table_of_their_own(here: Params) -> None:
    results, missing = available(here)
    assert {"narrow"} <= set(missing) and results.tables == ["tiny", "other-trained-on-tiny"]
    board = as_json(results)
    assert list(board["tiny"]) == list(board["other-trained-on-tiny"]) == ["esa/published"]
    assert board["other-trained-on-tiny"]["esa/published"]["rsum"] == read_json(Path("metrics/there.json"))["test/rsum"]
    with pytest.raises(DataError, match=r"Run: dvc repro transfer_judge@narrow"):
        configured(here.model_copy(update={"runs": {}, "ensembles": {}}))


def test_features_of_another_width_are_one_error(here: Params) -> None:
    with pytest.raises(
        DataError, match=r"transfers\.narrow: one reads region features of 16 values, and those of narrow have 12"
    ):
        evaluate(here, "narrow")
    assert not Path("evaluations/narrow").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"run": "on"}, "transfers.there.run: no 'on' in runs; did you mean 'one'?"),
        ({"data": "othr"}, "transfers.there.data: no 'othr' in datasets; did you mean 'other'?"),
        ({"trained_on": "other"}, "transfers.there.trained_on: one is a run on tiny, not on other; give tiny"),
        ({"data": "tiny"}, "transfers.there.data: one is a run on tiny already; give another data set"),
    ],
)
def test_a_transfer_that_cannot_be_is_refused(changed: dict[str, str], message: str, tmp_path: Path) -> None:
    there = CHANGES["transfers"]["there"]  # type: ignore[call-overload,index]
    with pytest.raises(ConfigError) as caught:
        write_params(tmp_path, {**CHANGES, "transfers": {"there": {**there, **changed}}})
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match=r"transfers\.both: a run or an ensemble has this name already"):
        write_params(tmp_path, {**CHANGES, "transfers": {"both": there}})
