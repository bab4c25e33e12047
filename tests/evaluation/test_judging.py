"""From scores to results: `evaluate` and `judge` of a run, the members of an ensemble, and what is refused on the way."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from typer.testing import CliRunner

from itrcore import registry
from itrcore.cli.app import app
from itrcore.data import captions, hard_negatives
from itrcore.data.altered import KINDS
from itrcore.data.feeding.batches import TextBatch
from itrcore.data.feeding.prepared import open_split
from itrcore.errors import DataError
from itrcore.evaluation.ensemble import evaluate_ensemble, members, recorded
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.evaluation.load import load_run
from itrcore.evaluation.mixing import mixed
from itrcore.evaluation.scoring import encode, score
from itrcore.files import read_json, sha256, write_json
from itrcore.protocols import outcomes_file, ranked
from itrcore.protocols.results import summary
from itrcore.ranking import Ranks, metrics, ranks
from itrcore.runs import inputs
from itrcore.runs.pairs import Pairs, open_pairs
from itrcore.runs.records import Evaluation
from itrcore.runs.scored import Scored, open_scores
from itrcore.settings.load import load
from tests.support.hard_negatives import SAME, write_altered, write_pairs
from tests.support.scores import similarities
from tests.support.tiny_project import PARAMS, project, rewrite, train_in, write_params

_ESL = {
    **PARAMS["methods"]["esa"],
    "model": {**PARAMS["methods"]["esl_bert"]["model"], "text": PARAMS["methods"]["esa"]["model"]["text"]},
}
CHANGES: dict[str, Any] = {
    "methods.esl": _ESL,
    "runs.looks": {"data": "tiny", "method": "esl", "seed": 1},
    "datasets.tiny.benchmark": "coco",
    "datasets.tiny.negatives": "negatives",
    "datasets.tiny.altered": "altered",
}
SCORES, RESULTS = Path("evaluations/tiny"), Path("results/tiny")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three trained and evaluated runs, of which `looks` attends."""
    folder = tmp_path_factory.mktemp("scored")
    params = project(folder, CHANGES)
    write_pairs(folder / "negatives", folder / "data/tiny/captions.parquet")
    write_altered(folder / "altered", folder / "data/tiny/captions.parquet")
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


RECORDED = {"metrics.json", "ranks.parquet", "retrieved.json"}
IMAGE_OF = np.repeat(np.arange(8), 5)


def test_an_evaluation_is_scores_and_what_decided_them_and_judges_nothing(folder: Path) -> None:
    for name, scores in {"one": "vectors.safetensors", "looks": "similarity.npy"}.items():  # `looks` has no vectors
        files = {path.relative_to(SCORES / name).as_posix() for path in (SCORES / name).rglob("*") if path.is_file()}
        further = {"test/negatives.parquet", "test/altered.safetensors"}
        assert files == {"evaluation.json", f"test/{scores}", f"dev/{scores}", *further}
    assert not RESULTS.exists() and not Path("metrics").exists()
    scored = read_json(SCORES / "one" / "evaluation.json")
    assert scored["inputs"] == inputs.evaluation(load(), "one")
    assert scored["files"] == {name: sha256(SCORES / "one" / name) for name in scored["files"]}
    assert scored["dev_rsum"] == read_json(Path("runs/tiny/one/run.json"))["dev_rsum"]
    assert (scored["name"], scored["attends"]) == ("one", False)


@pytest.mark.parametrize("name", ["one", "looks"])
def test_dev_is_scored_as_the_training_saw_it(name: str, folder: Path) -> None:
    found = metrics(ranks(similarities(name, "dev"), IMAGE_OF))
    assert found["rsum"] == pytest.approx(read_json(Path("runs/tiny", name, "run.json"))["dev_rsum"], abs=1e-9)


def test_results_are_those_of_the_stored_scores(folder: Path) -> None:
    evaluation, results = judge(load(), "one"), RESULTS / "one"
    assert names(results) == RECORDED
    found, matrix = read_json(results / "metrics.json"), similarities("one")
    assert Evaluation.model_validate_json((results / "metrics.json").read_bytes()) == evaluation
    assert matrix.shape == (found["n_images"], found["n_captions"]) == (8, 40)
    assert found["metrics"] == metrics(ranks(matrix, IMAGE_OF))
    assert (found["kind"], found["method"], found["profile"], found["seed"]) == ("run", "esa", "published", 1)
    assert not {"inputs", "test_digest", "attends"} & found.keys()
    shown = {"test/rsum": found["metrics"]["rsum"], "dev/rsum": read_json(Path("runs/tiny/one/run.json"))["dev_rsum"]}
    assert read_json(Path("metrics/one.json")) == pytest.approx(shown, abs=6e-4)
    assert summary(evaluation).startswith(f"one: test rsum {found['metrics']['rsum']:.1f}, i2t R@1 ")


def test_vectors_are_stored_as_params_yaml_says_and_give_the_methods_similarities(folder: Path) -> None:
    run = load_run(Path("runs/tiny/one"))
    split = open_split("tiny", "test", run.assets.text.tokeniser, run.method.input)
    encoded = encode(run.method, split, 16, torch.device("cpu"))
    expected = score(run.method, encoded.images, encoded.texts, 16)
    np.testing.assert_allclose(similarities("one"), expected, atol=1e-6)
    size = (SCORES / "one/test/vectors.safetensors").stat().st_size
    write_params(folder, {**CHANGES, "evaluation.vectors": "float16"})
    evaluate(load(), "one")
    np.testing.assert_allclose(similarities("one"), expected, atol=2e-3)
    assert np.abs(similarities("one") - expected).max() > 1e-6
    assert (SCORES / "one/test/vectors.safetensors").stat().st_size < 0.6 * size


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({"images": np.zeros((8, 4), np.float32)}, "not readable .*captions"),
        (
            {"images": np.zeros((8, 4), np.float32), "captions": np.zeros((40, 5), np.float32)},
            "arrays of another shape or type",
        ),
        (
            {"images": np.zeros((8, 4), np.int64), "captions": np.zeros((40, 4), np.int64)},
            "arrays of another shape or type",
        ),
    ],
)
def test_other_arrays_in_the_place_of_vectors_are_refused(
    vectors: dict[str, np.ndarray], said: str, tmp_path: Path
) -> None:
    (tmp_path / "test").mkdir()
    save_file(vectors, path := tmp_path / "test/vectors.safetensors")
    with pytest.raises(DataError, match=rf"vectors\.safetensors: {said}.*Run: dvc repro evaluate@a"):
        open_scores(tmp_path, "test", {"test/vectors.safetensors": sha256(path)}, "evaluate@a")


def test_ranks_are_computed_once_and_kept(folder: Path, monkeypatch: Any) -> None:
    calls: list[int] = []

    def counted(*arguments: Any) -> Ranks:
        calls.append(1)
        return ranks(*arguments)

    monkeypatch.setattr("itrcore.protocols.contract.ranks", counted)
    judge(load(), "one")
    assert len(calls) == 1
    kept, matrix = ranked.read(RESULTS / "one" / "ranks.parquet"), similarities("one")
    expected = ranks(matrix, IMAGE_OF)
    np.testing.assert_array_equal(kept.image_to_text, expected.image_to_text)
    np.testing.assert_array_equal(kept.text_to_image, expected.text_to_image)
    np.testing.assert_array_equal(kept.captions_found, np.argsort(-matrix, axis=1)[:, :10])
    np.testing.assert_array_equal(kept.images_found, np.argsort(-matrix.T, axis=1)[:, :10])  # all eight


def test_ranks_are_a_table_that_says_which_query_each_row_is(folder: Path) -> None:
    judge(load(), "one")
    table, images = (
        pq.read_table(RESULTS / "one" / "ranks.parquet"),
        captions.read(Path("data/tiny/captions.parquet"), "test"),
    )
    rows = table.to_pylist()
    assert [(row["direction"], row["image_id"], row["caption_id"]) for row in rows] == [
        *(("i2t", image.image_id, None) for image in images),
        *(("t2i", image.image_id, caption) for image in images for caption in image.caption_ids),
    ]
    assert {row["best_9"] for row in rows if row["direction"] == "t2i"} == {None}  # there are eight images


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


def test_an_ensemble_is_judged_like_a_run_and_keeps_no_matrix(folder: Path) -> None:
    evaluate_ensemble(load(), "both")
    assert names(RESULTS / "both") == RECORDED
    found, mean = read_json(RESULTS / "both" / "metrics.json"), (similarities("one") + similarities("two")) / 2
    assert found["metrics"] == metrics(ranks(mean, IMAGE_OF))
    assert (found["kind"], found["members"]) == ("ensemble", ["one", "two"])
    assert found["mixing"] == {"weights": [0.5, 0.5], "chosen_on": None, "scale": "none"}
    dev = (similarities("one", "dev") + similarities("two", "dev")) / 2
    assert found["dev_rsum"] == pytest.approx(metrics(ranks(dev, IMAGE_OF))["rsum"])
    assert read_json(Path("metrics/both.json")).keys() == {"dev/rsum", "test/rsum"}


def test_chosen_weights_and_scale_are_stored_and_used(folder: Path) -> None:
    write_params(folder, {**CHANGES, "ensembles.both.weights": "dev", "ensembles.both.scale": "z_score"})
    evaluate_ensemble(load(), "both")
    found = read_json(RESULTS / "both" / "metrics.json")
    mixing = found["mixing"]
    assert (mixing["chosen_on"], mixing["scale"], sum(mixing["weights"])) == ("dev", "z_score", pytest.approx(1))
    pair = [Scored(similarities(name)) for name in ("one", "two")]
    of_images, of_captions = mixed(pair, mixing["weights"], "z_score", ("one", "two"))
    expected = Ranks(ranks(of_images, IMAGE_OF).image_to_text, ranks(of_captions, IMAGE_OF).text_to_image)
    assert found["metrics"] == metrics(expected)


def test_runs_and_ensembles_are_judged_by_every_protocol_of_their_data_set(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(registry.PROTOCOLS, "halves", registry.Listed("tests.support.halves:PROTOCOL"))
    monkeypatch.setitem(registry.PROTOCOLS, "of_vectors", registry.Listed("tests.support.halves:OF_VECTORS"))
    write_params(folder, {**CHANGES, "datasets.tiny.protocols": ["halves", "of_vectors"]})
    judge(load(), "one")
    judge(load(), "looks")
    evaluate_ensemble(load(), "both")
    for name, matrix in {"one": similarities("one"), "both": (similarities("one") + similarities("two")) / 2}.items():
        found = read_json(RESULTS / name / "metrics.json")
        assert found["metrics"] == metrics(ranks(matrix, IMAGE_OF))
        halves = [metrics(ranks(matrix[4 * i : 4 * i + 4, 20 * i : 20 * i + 20], IMAGE_OF[:20])) for i in (0, 1)]
        wanted = {key: (halves[0][key] + halves[1][key]) / 2 for key in halves[0]}
        of_vectors = {} if name == "both" else {"t2i_r1": found["metrics"]["t2i_r1"]}  # an ensemble has none
        assert found["protocols"] == {"halves": pytest.approx(wanted), "of_vectors": of_vectors}
        shown = read_json(Path(f"metrics/{name}.json"))
        assert shown["halves/rsum"] == pytest.approx(wanted["rsum"], abs=6e-4) and "test/rsum" in shown
    assert read_json(RESULTS / "looks" / "metrics.json")["protocols"]["of_vectors"] == {}


@pytest.mark.parametrize("name", ["one", "looks"])
def test_pairs_of_test_pictures_are_scored_as_each_caption_alone(name: str, folder: Path) -> None:
    found = pairs_of(name)
    run = load_run(Path("runs/tiny", name))
    tokeniser, method = run.assets.text.tokeniser, run.method.eval()
    images = encode(method, open_split("tiny", "test", tokeniser, method.input), 16, torch.device("cpu")).images
    asked: dict[tuple[str, int], list[np.ndarray]] = {}
    for category, image_id, scores in zip(found.categories, found.image_ids.tolist(), found.scores, strict=True):
        asked.setdefault((category, image_id), []).append(scores)
    test = captions.read(Path("data/tiny/captions.parquet"), "test")
    place_of = {image.image_id: place for place, image in enumerate(test)}
    for pair in hard_negatives.read(Path("negatives")):
        if pair.image_id not in place_of:
            assert (pair.category, pair.image_id) not in asked  # of train or dev
            continue
        with torch.inference_mode():
            texts = [
                method.encode_texts(TextBatch.pad([np.array(tokeniser.encode(text).ids)]))
                for text in (pair.caption, pair.negative)
            ]
            image = images[place_of[pair.image_id] : place_of[pair.image_id] + 1]
            alone = [float(method.similarity(image, text)) for text in texts]
        scores = asked[pair.category, pair.image_id].pop(0)
        np.testing.assert_allclose(scores, alone, atol=1e-6)
        assert (scores[0] == scores[1]) == (pair.negative == SAME or pair.negative == pair.caption)
    assert not any(asked.values())


def test_sugar_crepe_is_the_share_of_pairs_whose_right_caption_is_strictly_higher(folder: Path) -> None:
    write_params(folder, {**CHANGES, "datasets.tiny.protocols": ["sugar_crepe"]})
    judge(load(), "one")
    evaluate_ensemble(load(), "both")
    scores = {name: pairs_of(name) for name in ("one", "two")}
    scores["both"] = Pairs(
        scores["one"].categories, scores["one"].image_ids, (scores["one"].scores + scores["two"].scores) / 2
    )
    for name in ("one", "both"):
        figures = read_json(RESULTS / name / "metrics.json")["protocols"]["sugar_crepe"]
        kept = outcomes_file.read(RESULTS / name / "outcomes.safetensors", "sugar_crepe")
        assert kept is not None and kept.figures() == pytest.approx({key: figures[key] for key in kept.keys})
        assert {key for key in figures if not key.endswith("_pairs")} == set(kept.keys)
        plain: dict[str, list[bool]] = {}
        for category, (right, wrong) in zip(scores[name].categories, scores[name].scores.tolist(), strict=True):
            plain.setdefault(category, []).append(right > wrong)
        wanted = {category: 100 * sum(hits) / len(hits) for category, hits in plain.items()}
        counts = {f"{category}_pairs": len(hits) for category, hits in plain.items()}
        assert len(wanted) == 7 and 0 < wanted["swap_obj"] < 100  # one of its pairs is a tie
        assert figures == pytest.approx({**wanted, "mean": sum(wanted.values()) / 7, **counts})
    write_params(folder, {**CHANGES, "datasets.tiny.protocols": ["sugar_crepe"], "ensembles.both.scale": "rank"})
    assert evaluate_ensemble(load(), "both").protocols == {"sugar_crepe": {}}


def pairs_of(name: str) -> Pairs:
    return open_pairs(SCORES / name, "test", read_json(SCORES / name / "evaluation.json")["files"], "evaluate")


def test_negatives_decide_an_evaluation_only_where_they_are_given(folder: Path) -> None:
    given, without = load(), write_params(folder, {"methods.esl": _ESL})
    assert "itrcore.data.hard_negatives" not in inputs.evaluation(without, "one")["code"]
    assert inputs.evaluation(without, "one")["data"].keys() == {"dev", "test"}
    before = inputs.evaluation(given, "one")
    assert before["data"].keys() == {"dev", "test", "negatives", "altered"}
    assert inputs.training(given, "one") == inputs.training(without, "one")
    path = Path("negatives/add_att.json")
    path.write_text(path.read_text().replace("}", ', "more": 1}', 1))
    assert list(inputs.differences(before, inputs.evaluation(given, "one"))) == ["negatives: others"]


def test_pictures_that_no_split_has_are_one_error_that_counts_them(folder: Path) -> None:
    path = Path("negatives/add_att.json")
    entries = read_json(path)
    for entry in list(entries.values())[:2]:
        entry["filename"] = "COCO_val2014_000000999999.jpg"
    write_json(path, entries)
    with pytest.raises(
        DataError, match=r"negatives: 2 of \d+ pairs are of pictures in no split of tiny \(the first: id 999999"
    ):
        evaluate(load(), "one")
    write_json(path, {"0": {"filename": "a.jpg", "caption": "a", "negative_caption": "b"}})
    with pytest.raises(
        DataError, match=r"add_att\.json: filename of entry '0' is 'a\.jpg'; expected the name of one of COCO's"
    ):
        evaluate(load(), "one")


@pytest.mark.parametrize("name", ["one", "looks"])
def test_altered_captions_are_wrong_answers_beside_all_others(name: str, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("itrcore.evaluation.altered._TOGETHER", 17)
    write_params(folder, {**CHANGES, "datasets.tiny.protocols": ["rococo"]})
    evaluate(load(), name)
    figures = judge(load(), name).protocols["rococo"]
    kept = outcomes_file.read(RESULTS / name / "outcomes.safetensors", "rococo")
    assert kept is not None and kept.figures() == pytest.approx(figures)
    run = load_run(Path("runs/tiny", name))
    tokeniser, method = run.assets.text.tokeniser, run.method.eval()
    images = encode(method, open_split("tiny", "test", tokeniser, method.input), 16, torch.device("cpu")).images
    matrix, plain = similarities(name), dict[str, float]()
    for kind in KINDS:
        texts = [text for entry in read_json(Path(f"altered/{kind}.json")) for text in entry["caption"][5:]]
        with torch.inference_mode():
            alone = [method.encode_texts(TextBatch.pad([np.array(tokeniser.encode(text).ids)])) for text in texts]
            distractors = np.concatenate([method.similarity(images, text).numpy() for text in alone], axis=1)
        found, false = [], 0
        for image, (own, other) in enumerate(zip(matrix, distractors, strict=True)):
            right = own[5 * image : 5 * image + 5].max()
            wrong = [*own[image != IMAGE_OF], *other]
            found.append(1 + sum(score >= right for score in wrong))
            false += other.max() >= own.max()
        plain |= {f"{kind}_r{k}": 100 * np.mean(np.array(found) <= k) for k in (1, 5, 10)}
        plain[f"{kind}_false"] = 100 * false / len(found)
    assert figures == pytest.approx(plain)
    assert len({tuple(value for key, value in plain.items() if key.startswith(kind)) for kind in KINDS}) > 1


def test_altered_captions_of_other_pictures_are_one_error_that_counts_them(folder: Path) -> None:
    path = Path("altered/danger.json")
    entries = read_json(path)
    write_json(path, [{**entries[0], "image": "COCO_val2014_000000999999.jpg"}, *entries[1:]])
    with pytest.raises(DataError, match=r"altered: 1 of 8 pictures of danger are not in test of tiny .*id 999999"):
        evaluate(load(), "one")
    write_json(path, [{**entries[0], "caption": entries[0]["caption"][:6]}, *entries[1:]])
    with pytest.raises(DataError, match=r"1 of 8 pictures of danger have too few captions"):
        evaluate(load(), "one")


def test_members_change_with_their_scores_and_not_with_how_long_those_took(folder: Path) -> None:
    before = recorded(members(load(), "both"))
    path = SCORES / "one" / "evaluation.json"
    rewrite(path, encode_image_ms=99.0)
    assert recorded(members(load(), "both")) == before
    rewrite(path, files={"test/vectors.safetensors": "0" * 64})
    assert recorded(members(load(), "both")) != before


def test_members_of_another_test_split_are_refused(folder: Path) -> None:
    path = SCORES / "two" / "evaluation.json"
    rewrite(path, test_digest="0" * 64)
    with pytest.raises(DataError, match=r"ensembles\.both: its runs were evaluated on different states of tiny"):
        evaluate_ensemble(load(), "both")
    assert not RESULTS.exists()


@pytest.mark.parametrize("split", ["test", "dev"])
def test_scores_that_are_not_the_evaluated_ones_are_refused(folder: Path, split: str) -> None:
    path = SCORES / "two" / split / "vectors.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + bytes(4))
    with pytest.raises(
        DataError, match=r"vectors\.safetensors: this file is damaged: its bytes have changed; .*Run: itr heal"
    ):
        evaluate_ensemble(load(), "both")
    assert not RESULTS.exists()


def test_the_best_pairs_on_dev_are_measured_on_test_and_added(folder: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["ensemble", "--search", "pairs", "--top", "2", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    best, pairs = told["best_run"], told["ensembles"]
    assert told["added"] == [] and len(pairs) == 2 and len(best["runs"]) == 1
    assert pairs[0]["dev_rsum"] >= pairs[1]["dev_rsum"]
    for pair in pairs:
        for split, key in (("dev", "dev_rsum"), ("test", "metrics")):
            mean = sum(similarities(run, split).astype(np.float64) for run in pair["runs"]) / 2
            found = metrics(ranks(mean.astype(np.float32), IMAGE_OF))
            assert pair[key] == pytest.approx(found["rsum"] if split == "dev" else found)
    shown = runner.invoke(app, ["ensemble", "--search", "pairs", "--top", "2", "--weights", "dev", "--add"])
    assert "best run" in shown.output and "Added to params.yaml: tiny-pairs-1, tiny-pairs-2." in shown.output
    added = load().ensembles
    assert list(added) == ["tiny-pairs-1", "tiny-pairs-2", "both"] and added["tiny-pairs-1"].weights == "dev"
    again = runner.invoke(app, ["ensemble", "--search", "pairs", "--top", "1", "--add"])
    assert again.exit_code == 1 and "tiny-pairs-1 is there already" in again.output
    few = runner.invoke(app, ["ensemble", "--search", "triples", "--data", "nothing"])
    assert few.exit_code == 1 and "--data" in few.output
