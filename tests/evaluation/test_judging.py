"""From scores to results: `evaluate` and `judge` of a run, the members of an ensemble, and what is refused on the way."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from itrcore import registry
from itrcore.errors import DataError
from itrcore.evaluation.ensemble import evaluate_ensemble, members, recorded
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.files import read_json, sha256
from itrcore.protocols.results import summary
from itrcore.ranking import Ranks, metrics, ranks
from itrcore.runs import inputs
from itrcore.runs.records import Evaluation
from itrcore.settings.load import load
from tests.support.tiny_project import PARAMS, project, rewrite, train_in, write_params

_ESL = {
    **PARAMS["methods"]["esa"],
    "model": {**PARAMS["methods"]["esl_bert"]["model"], "text": PARAMS["methods"]["esa"]["model"]["text"]},
}
CHANGES: dict[str, Any] = {"methods.esl": _ESL, "runs.looks": {"data": "tiny", "method": "esl", "seed": 1}}
SCORES, RESULTS = Path("evaluations/tiny"), Path("results/tiny")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three trained and evaluated runs, of which `looks` attends."""
    folder = tmp_path_factory.mktemp("scored")
    params = project(folder, CHANGES)
    for name in ("one", "two", "looks"):
        train_in(folder, name)
        with contextlib.chdir(folder):
            evaluate(params, name)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: Any) -> Path:
    """A copy of it, as the current folder."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


RECORDED = {"metrics.json", "ranks.safetensors", "retrieved.json"}
IMAGE_OF = np.repeat(np.arange(8), 5)


def test_an_evaluation_is_scores_and_what_decided_them_and_judges_nothing(folder: Path) -> None:
    vectors = {"image_vectors.npy", "text_vectors.npy"}
    assert names(SCORES / "one") == {"similarity.npy", "evaluation.json", *vectors}
    assert names(SCORES / "looks") == {"similarity.npy", "evaluation.json"}  # it has none
    assert not RESULTS.exists() and not Path("metrics").exists()
    scored = read_json(SCORES / "one" / "evaluation.json")
    assert scored["inputs"] == inputs.evaluation(load(), "one")
    assert scored["files"]["similarity.npy"] == sha256(SCORES / "one" / "similarity.npy")
    assert scored["dev_rsum"] == read_json(Path("runs/tiny/one/run.json"))["dev_rsum"]
    assert (scored["name"], scored["attends"]) == ("one", False)


def test_results_are_those_of_the_stored_scores(folder: Path) -> None:
    evaluation, results = judge(load(), "one"), RESULTS / "one"
    assert names(results) == RECORDED
    found, matrix = read_json(results / "metrics.json"), np.load(SCORES / "one" / "similarity.npy")
    assert Evaluation.model_validate_json((results / "metrics.json").read_bytes()) == evaluation
    assert matrix.shape == (found["n_images"], found["n_captions"]) == (8, 40)
    assert found["metrics"] == metrics(ranks(matrix, IMAGE_OF))
    assert (found["kind"], found["method"], found["profile"], found["seed"]) == ("run", "esa", "published", 1)
    assert not {"inputs", "test_digest", "attends"} & found.keys()
    shown = {"test/rsum": found["metrics"]["rsum"], "dev/rsum": read_json(Path("runs/tiny/one/run.json"))["dev_rsum"]}
    assert read_json(Path("metrics/one.json")) == pytest.approx(shown, abs=6e-4)
    assert summary(evaluation).startswith(f"one: test rsum {found['metrics']['rsum']:.1f}, i2t R@1 ")


def test_vectors_give_the_similarity_by_their_inner_products(folder: Path) -> None:
    images, texts = (np.load(SCORES / "one" / f"{side}_vectors.npy") for side in ("image", "text"))
    assert (images.dtype, images.shape, texts.shape) == (np.float32, (8, 16), (40, 16))
    np.testing.assert_allclose(images @ texts.T, np.load(SCORES / "one" / "similarity.npy"), atol=1e-6)


def test_ranks_are_computed_once_and_kept(folder: Path, monkeypatch: Any) -> None:
    calls: list[int] = []

    def counted(*arguments: Any) -> Ranks:
        calls.append(1)
        return ranks(*arguments)

    monkeypatch.setattr("itrcore.protocols.contract.ranks", counted)
    judge(load(), "one")
    assert len(calls) == 1
    kept, expected = (
        load_file(RESULTS / "one" / "ranks.safetensors"),
        ranks(np.load(SCORES / "one/similarity.npy"), IMAGE_OF),
    )
    np.testing.assert_array_equal(kept["image_to_text"], expected.image_to_text)
    np.testing.assert_array_equal(kept["text_to_image"], expected.text_to_image)


def test_where_words_look_at_regions_that_is_explained_too(folder: Path) -> None:
    judge(load(), "looks")
    assert names(RESULTS / "looks") == {*RECORDED, "explained.json"}


def test_a_run_is_called_what_params_yaml_calls_its_changes_now(folder: Path) -> None:
    write_params(folder, {**CHANGES, "profiles.same": {"model": {"dim": 16}}, "runs.one.profile": "same"})
    assert judge(load(), "one").profile == "same"


def test_a_run_without_scores_names_the_stage_that_makes_them(folder: Path) -> None:
    (SCORES / "one" / "evaluation.json").unlink()
    with pytest.raises(DataError, match=r"evaluation\.json: no such file; .*Run: dvc repro evaluate@one"):
        judge(load(), "one")
    assert not RESULTS.exists()


def test_an_ensemble_is_judged_like_a_run_and_has_no_figures_of_dev(folder: Path) -> None:
    evaluate_ensemble(load(), "both")
    results = RESULTS / "both"
    one, two = (np.load(SCORES / name / "similarity.npy") for name in ("one", "two"))
    mean = np.load("ensembles/tiny/both/similarity.npy")
    np.testing.assert_allclose(mean, (one + two) / 2, atol=1e-6)
    assert names(Path("ensembles/tiny/both")) == {"similarity.npy"}
    assert names(results) == RECORDED
    found = read_json(results / "metrics.json")
    assert found["metrics"] == metrics(ranks(mean, IMAGE_OF))
    assert (found["kind"], found["members"]) == ("ensemble", ["one", "two"])
    assert read_json(Path("metrics/both.json")).keys() == {"test/rsum"}


def test_runs_and_ensembles_are_judged_by_every_protocol_of_their_data_set(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(registry.PROTOCOLS, "halves", registry.Listed("tests.support.halves:PROTOCOL"))
    monkeypatch.setitem(registry.PROTOCOLS, "of_vectors", registry.Listed("tests.support.halves:OF_VECTORS"))
    write_params(folder, {**CHANGES, "datasets.tiny.protocols": ["halves", "of_vectors"]})
    judge(load(), "one")
    judge(load(), "looks")
    evaluate_ensemble(load(), "both")
    for name, scores in (("one", SCORES / "one"), ("both", Path("ensembles/tiny/both"))):
        matrix, found = np.load(scores / "similarity.npy"), read_json(RESULTS / name / "metrics.json")
        assert found["metrics"] == metrics(ranks(matrix, IMAGE_OF))
        halves = [metrics(ranks(matrix[4 * i : 4 * i + 4, 20 * i : 20 * i + 20], IMAGE_OF[:20])) for i in (0, 1)]
        wanted = {key: (halves[0][key] + halves[1][key]) / 2 for key in halves[0]}
        of_vectors = {} if name == "both" else {"t2i_r1": found["metrics"]["t2i_r1"]}  # an ensemble has none
        assert found["protocols"] == {"halves": pytest.approx(wanted), "of_vectors": of_vectors}
        shown = read_json(Path(f"metrics/{name}.json"))
        assert shown["halves/rsum"] == pytest.approx(wanted["rsum"], abs=6e-4) and "test/rsum" in shown
    assert read_json(RESULTS / "looks" / "metrics.json")["protocols"]["of_vectors"] == {}


def test_members_change_with_their_scores_and_not_with_how_long_those_took(folder: Path) -> None:
    before = recorded(members(load(), "both"))
    path = SCORES / "one" / "evaluation.json"
    rewrite(path, encode_image_ms=99.0)
    assert recorded(members(load(), "both")) == before
    rewrite(path, files={"similarity.npy": "0" * 64})
    assert recorded(members(load(), "both")) != before


def test_members_of_another_test_split_are_refused(folder: Path) -> None:
    path = SCORES / "two" / "evaluation.json"
    rewrite(path, test_digest="0" * 64)
    with pytest.raises(DataError, match=r"ensembles\.both: its runs were evaluated on different states of tiny"):
        evaluate_ensemble(load(), "both")
    assert not Path("ensembles").exists() and not RESULTS.exists()


def test_a_matrix_that_is_not_the_evaluated_one_is_refused(folder: Path) -> None:
    path = SCORES / "two" / "similarity.npy"
    np.save(path, np.load(path) + 1)
    with pytest.raises(
        DataError, match=r"similarity\.npy: this file is damaged: its bytes have changed; .*Run: itr heal"
    ):
        evaluate_ensemble(load(), "both")
    assert not Path("ensembles").exists() and not RESULTS.exists()
