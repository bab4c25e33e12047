"""The training loop: clipping, the checkpoint chosen on dev, what it reads, and that it learns from true pairs only."""

from __future__ import annotations

import contextlib
import csv
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from ruamel.yaml import YAML
from safetensors.torch import load_file
from torch import Tensor, nn

from itrcore import intact
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.prepared import open_split
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import RegionInput
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError, TrainingError
from itrcore.evaluation.load import load_run
from itrcore.evaluation.scoring import encode, score
from itrcore.files import read_json
from itrcore.layers.encoded import Vectors
from itrcore.layers.losses.contract import Loss
from itrcore.layers.progress import Progress
from itrcore.methods.contract import EmbeddingMethod
from itrcore.methods.objective import Objective
from itrcore.ranking import metrics, ranks
from itrcore.runs import inputs
from itrcore.training.loop import OnDev, Trainer
from itrcore.training.state import StateFolder
from itrcore.training.step import Recent, Taken
from tests.support.tiny_project import ROOT, prepare, project, rewrite, train_in, weights


def dev_split(folder: Path, name: str = "dev") -> Split:
    with contextlib.chdir(folder):
        vocabulary = Vocabulary.load(Path("data/tiny/vocab/vocab.json"), Path("data/nltk"))
        return open_split("tiny", name, vocabulary, RegionInput())


def rsums(run: Path) -> list[float]:
    return [record["dev"]["rsum"] for record in read_json(run / "history.json")["evaluations"]]


@pytest.fixture
def steps(monkeypatch: Any) -> list[tuple[float, float]]:
    """(learning rate, norm of the gradient that is applied) of each optimiser step."""
    seen: list[tuple[float, float]] = []
    original = torch.optim.AdamW.step

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        (group,) = self.param_groups
        norms = [p.grad.norm() for p in group["params"] if p.grad is not None]
        seen.append((group["lr"], float(torch.stack(norms).norm())))
        return original(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    return seen


def test_every_step_has_its_epochs_learning_rate_and_a_clipped_gradient(tmp_path: Path, steps: Any) -> None:
    project(tmp_path, {"methods.esa.recipe.clip_norm": 0.5})
    run = train_in(tmp_path)
    assert [rate for rate, _ in steps] == pytest.approx([2e-3] * 30 + [2e-4] * 15)
    recorded = [record["learning_rate"] for record in read_json(run / "history.json")["evaluations"]]
    assert recorded == [2e-3, 2e-3, 2e-4]
    norms = [norm for _, norm in steps]
    assert max(norms) == pytest.approx(0.5, rel=1e-3)


def test_without_a_tight_limit_gradients_are_left_alone(tmp_path: Path, steps: Any) -> None:
    project(tmp_path, {"methods.esa.recipe.clip_norm": 1e6})
    train_in(tmp_path)
    assert max(norm for _, norm in steps) > 5  # the limit of the other test does cut


def test_the_checkpoint_is_the_epoch_of_highest_dev_rsum_and_gives_its_metrics_again(tmp_path: Path) -> None:
    project(tmp_path)
    run = train_in(tmp_path)
    loaded, history = load_run(run), read_json(run / "history.json")
    best = loaded.record.best_epoch
    assert best == history["best_epoch"] == 1 + max(range(3), key=lambda epoch: rsums(run)[epoch])
    dev = dev_split(tmp_path)
    encoded = encode(loaded.method, dev, 16, torch.device("cpu"))
    figures = metrics(ranks(score(loaded.method, encoded.images, encoded.texts, 16), dev.image_of))
    assert figures == history["evaluations"][int(best) - 1]["dev"]
    assert loaded.record.dev_rsum == figures["rsum"]


@pytest.mark.parametrize(("values", "best"), [([5, 7, 7], 2), ([7, 5, 6], 1), ([5, 6, 7], 3)])
def test_of_equal_epochs_the_first_is_kept_with_its_own_weights(
    values: list[float], best: int, tmp_path: Path, monkeypatch: Any
) -> None:
    project(tmp_path)
    seen: list[dict[str, Any]] = []
    original = Trainer.evaluate_dev

    def evaluate(self: Trainer, *arguments: Any) -> OnDev:
        seen.append({name: tensor.clone() for name, tensor in self.method.state_dict().items()})
        found = original(self, *arguments)
        return replace(found, dev=found.dev.model_copy(update={"rsum": values[len(seen) - 1]}))

    monkeypatch.setattr(Trainer, "evaluate_dev", evaluate)
    run = train_in(tmp_path)
    assert read_json(run / "run.json")["best_epoch"] == best
    kept = load_file(run / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen[best - 1].items())


def test_only_the_first_captions_of_dev_select_as_many_as_stated(tmp_path: Path) -> None:
    project(tmp_path, {"training.selection.captions": 12})
    run = train_in(tmp_path)
    dev = dev_split(tmp_path).first(12)
    assert (dev.n_images, dev.n_captions) == (2, 10)
    for record in read_json(run / "history.json")["evaluations"]:
        assert record["dev"]["i2t_r5"] == 100.0  # of two images
        assert record["dev"]["t2i_r1"] % 10 == 0  # ten captions


def test_training_never_opens_the_test_split(tmp_path: Path) -> None:
    project(tmp_path)
    with_test = weights(train_in(tmp_path))
    for path in (tmp_path / "data" / "tiny" / "shards" / "regions").glob("test*"):
        path.unlink()
    assert weights(train_in(tmp_path)) == with_test
    with pytest.raises(DataError):  # they were what `test` is read from
        dev_split(tmp_path, "test")


def test_a_damaged_shard_stops_a_training_before_it_begins(tmp_path: Path, steps: Any) -> None:
    project(tmp_path)
    path = tmp_path / "data" / "tiny" / "shards" / "regions" / "dev-00000.tar"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"dev-00000\.tar: this file is damaged"):
        train_in(tmp_path)
    assert not steps


def test_a_dev_image_among_the_training_images_is_refused_before_training(tmp_path: Path) -> None:
    from stages import shards, splits

    params = project(tmp_path)
    raw = tmp_path / "data" / "tiny" / "raw"
    train_id = (raw / "train_ids.txt").read_text().split()[0]
    dev_ids = (raw / "dev_ids.txt").read_text().split("\n")
    leaked = [train_id if value == dev_ids[0] else value for value in dev_ids]
    (raw / "dev_ids.txt").write_text("\n".join(leaked))
    with_scans_files_alone(tmp_path)
    with contextlib.chdir(tmp_path), pytest.raises(DataError, match=rf"{train_id} .*is in split train as well"):
        splits.main(params, "tiny")
        shards.main(params, "tiny")


class Unknown(EmbeddingMethod[RegionBatch]):
    """A method that nothing in the project has heard of."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.words = nn.Linear(16, 4), nn.EmbeddingBag(300, 4)

    def encode_images(self, batch: RegionBatch) -> Vectors:
        return Vectors(self.image(batch.regions.mean(1)))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        return Vectors(self.words(batch.ids))

    def loss_weight(self, progress: Progress) -> float:
        return 0.5


class TwoTerms(Loss):
    """Likewise."""

    summed = False

    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        targets = torch.arange(len(scores))
        return {"rows": nn.functional.cross_entropy(scores, targets), "size": 0.25 * scores.square().mean()}


def test_the_loop_trains_any_method_with_any_loss_and_reports_its_terms_by_name(tmp_path: Path) -> None:
    params = project(tmp_path)
    torch.manual_seed(0)
    batches = TrainingBatches(dev_split(tmp_path, "train"), 8, 1, Views())
    objective = Objective(Unknown(), TwoTerms())
    trainer = Trainer(objective, params.method_of("one"), params.training, 1, batches, dev_split(tmp_path), 8, 8)
    epochs: list[int] = []
    trained = trainer.run(
        StateFolder(tmp_path / "state"), "x", lambda state: None, lambda state: epochs.append(state.epoch)
    )
    assert epochs == [1, 2, 3]
    for point in trained.history:
        losses = point.losses
        assert set(losses) == {"total", "rows", "size"}
        assert losses["total"] == pytest.approx(0.5 * (losses["rows"] + losses["size"]), rel=1e-5)
    assert all(point.collapse is not None and point.collapse.loss is None for point in trained.history)
    assert trained.history[-1].losses["rows"] < trained.history[0].losses["rows"]


def test_reading_what_several_steps_computed_at_once_changes_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, histories, readings = project(tmp_path), [], []
    read = Recent.read
    monkeypatch.setattr(Recent, "read", lambda recent: readings.append(len(recent.steps)) or read(recent))
    for every in (1, 3, 1000):
        torch.manual_seed(0)
        batches = TrainingBatches(dev_split(tmp_path, "train"), 8, 1, Views())
        objective = Objective(Unknown(), TwoTerms())
        trainer = Trainer(objective, params.method_of("one"), params.training, 1, batches, dev_split(tmp_path), 8, 8)
        trainer.read_every = every
        trained = trainer.run(StateFolder(tmp_path / f"state-{every}"), "x", lambda state: None, lambda state: None)
        histories.append([(point.losses, point.dev) for point in trained.history])
    assert histories[0] == histories[1] == histories[2]
    assert {1, 3} < set(readings)


def test_a_step_that_is_not_finite_is_named_also_when_it_is_read_with_others() -> None:
    def taken(step: int, *values: float) -> Taken:
        return Taken(("total", "rows", "gradient norm"), torch.tensor(values), Progress(2, step), [step], [10 * step])

    with pytest.raises(TrainingError, match=r"rows became nan in epoch 3, step 7 .*Image ids of the batch: \[7\]"):
        Recent([taken(6, 1.0, 1.0, 1.0), taken(7, 1.0, math.nan, 1.0), taken(8, math.nan, 1.0, 1.0)]).read()
    with pytest.raises(TrainingError, match="gradient norm became inf in epoch 3, step 6 "):
        Recent([taken(6, 1.0, 1.0, math.inf)]).read()


SCALE = {"initial_scale": 1.0, "max_scale": 100.0}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({"kind": "symmetric", **SCALE}, math.log(8)),
        ({"kind": "sigmoid", **SCALE, "initial_bias": 0.0}, 8 * math.log(2)),
        ({"kind": "hinge", "margin": 0.2, "warmup_epochs": 1}, 2 * 0.2 * 7),
    ],
    ids=["symmetric", "sigmoid", "hinge"],
)
def test_the_loss_reported_is_the_mean_of_a_pair_whether_the_loss_sums_or_not(
    loss: dict[str, Any], expected: float, tmp_path: Path
) -> None:
    project(tmp_path, {"methods.gpo.recipe.learning_rate": 1e-9, "methods.gpo.loss": loss})  # batches of 8 pairs
    record, *_ = read_json(train_in(tmp_path, "two") / "history.json")["evaluations"]
    assert record["losses"]["total"] == pytest.approx(expected, rel=0.25)  # of a model that has learned nothing
    assert len(record["losses"]) == 2 and len(set(record["losses"].values())) == 1


LEARNING = {
    "datasets.tiny.source.images": {"train": 200, "dev": 40, "test": 2},
    "datasets.tiny.source.near_duplicates": 1,
    "datasets.tiny.source.width": 64,
    "datasets.tiny.source.noise": 0.05,
    "methods.gpo.model.dim": 64,
    "methods.gpo.model.text": {"kind": "bigru", "word_dim": 32, "dropout": 0.0, "init": "random"},
    "methods.gpo.model.pooling": {"kind": "mean"},
    "methods.gpo.recipe.batch_size": 32,
    "methods.gpo.recipe.learning_rate": 3e-3,
    "methods.gpo.loss.warmup_epochs": 2,
}


@pytest.mark.slow
def test_true_pairs_are_learnt_and_shuffled_ones_end_at_chance(tmp_path: Path) -> None:
    """Were dev or test to leak into training, or the pairs be lost on the way, one of the two would fail."""
    from stages import shards, splits, vocab

    params = prepare(tmp_path, LEARNING)
    chance = 2 * (100 * 1 / 40 + 100 * 5 / 40 + 100 * 10 / 40)  # about; an image's five captions change little
    true = max(rsums(train_in(tmp_path, "two")))
    captions = tmp_path / "data" / "tiny" / "raw" / "train_caps.txt"
    lines = captions.read_text().splitlines()
    random.Random(0).shuffle(lines)
    captions.write_text("\n".join(lines) + "\n")
    with_scans_files_alone(tmp_path)
    with contextlib.chdir(tmp_path):
        for stage in (splits, vocab, shards):
            stage.main(params, "tiny")
    shuffled = rsums(train_in(tmp_path, "two"))[-1]
    assert true > 2.5 * chance, (true, chance)
    assert shuffled < 1.5 * chance, (shuffled, chance)


def with_scans_files_alone(folder: Path) -> None:
    """Captions or ids that are changed after `raw` contradict the JSON files beside, which would be noticed first."""
    path = folder / "data" / "tiny" / "raw" / "source.json"
    rewrite(path, karpathy=None, id_mapping=None)
    intact.seal(path.parent)


def test_on_the_cpu_training_is_in_float32_whatever_was_asked_for_elsewhere(tmp_path: Path) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    project(tmp_path, {"training.device": "cpu", "training.precision": "auto"})
    described = read_json(train_in(tmp_path) / "run.json")
    assert (described["device"], described["precision"]) == ("cpu", "float32")


def test_the_record_that_dvc_watches_is_the_one_that_a_training_is_of(tmp_path: Path) -> None:
    """Else DVC would train anew while an old state is continued, or the other way round."""
    params = project(tmp_path)
    with contextlib.chdir(tmp_path):
        inputs.write(params, "tiny")
    (watched,) = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]["train"]["do"]["deps"]
    path = watched.replace("${item.data}", "tiny").replace("${key}", "one")
    assert read_json(tmp_path / path) == read_json(train_in(tmp_path) / "run.json")["inputs"]


def test_a_training_leaves_its_course_as_a_table(tmp_path: Path) -> None:
    project(tmp_path, {"methods.esa.recipe.evaluations": 2})
    run = train_in(tmp_path)
    with open(tmp_path / "curves" / "one.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    evaluations = read_json(run / "history.json")["evaluations"]
    assert [row["epoch"] for row in table] == ["0.53", "1", "1.53", "2", "2.53", "3"]
    for row, record in zip(table, evaluations, strict=True):
        expected = {f"dev/{key}": record["dev"][key] for key in ("rsum", "i2t_r1", "t2i_r1")}
        expected |= {"loss": record["losses"]["total"], "learning_rate": record["learning_rate"]}
        expected |= {f"collapse/{key}": record["collapse"][key] for key in ("text_rank", "t2i_hub", "loss")}
        assert {key: float(row[key]) for key in expected} == expected
