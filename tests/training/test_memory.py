"""Where a step runs out of memory it is taken in parts, whose loss and gradients are those of the whole batch."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from itrcore.data.feeding.batches import Batch
from itrcore.errors import TrainingError
from itrcore.files import read_json
from itrcore.layers import together
from itrcore.layers.progress import Progress
from itrcore.layers.text_encoders import BertEncoder
from itrcore.methods import parts
from itrcore.methods.objective import Objective
from itrcore.settings.methods import MethodSettings
from itrcore.training import memory
from itrcore.training.step import Stepper
from tests.support.helpers import CLUSTERS, MOMENTUM, method_of, method_settings, pair_batch, text_batch
from tests.support.killing import Kill
from tests.support.tiny_project import PARAMS, ROOT, project, train_in, weights, write_params
from tests.training.test_together import INFO_NCE, double

PAIRS, WIDTH, N_WORDS, STEPS = 7, 12, 30, 2  # parts of 3, 3 and 1
# One of each family, and which of its functions batch normalisation keeps whole.
METHODS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "vse_infty_bigru, against a queue": ({"loss": MOMENTUM}, {"images"}),
    "coder_bigru, with clusters": ({"loss": {**MOMENTUM, "loss": INFO_NCE, "clusters": CLUSTERS}}, {"images"}),
    "esa_bert": ({}, {"images"}),
    "esl_a_bert": ({}, {"images"}),
    "esl_h_clip": ({}, set()),
    "dual_towers": ({}, set()),
    "scan_t2i_lse_bigru": ({}, set()),
    "sgr_bigru": ({}, {"images"}),
    "saf_bigru": ({}, {"images", "similarity"}),
    "lhsc_bigru, as released": ({"padding": "released"}, {"images", "texts", "similarity"}),
}


def settings_of(name: str, changes: dict[str, Any]) -> MethodSettings:
    settings = method_settings(name.partition(",")[0], learning_rate=1e-3)
    loss = changes.get("loss", settings.loss.model_dump())
    model = {**settings.model.model_dump(), **{key: value for key, value in changes.items() if key != "loss"}}
    return MethodSettings.model_validate({**settings.model_dump(), "model": model, "loss": loss})


def stepper(settings: MethodSettings, dropout: float = 0.0) -> Stepper:
    method = method_of(settings, WIDTH, N_WORDS)
    for layer in method.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    objective = Objective.of(settings, method).double().train()
    return Stepper(objective, settings.recipe, 3, 5, Accelerator(cpu=True))


def trained(name: str, size: int | None, **how: Any) -> tuple[dict[str, Tensor], set[str]]:
    """Loss and gradients of the first step, weights and statistics after the last; what was not divided."""
    settings = settings_of(name, METHODS[name][0])
    of, seen = stepper(settings, **how), dict[str, Tensor]()
    of.objective.parts.size = size
    for step in range(STEPS):
        batch = pair_batch(PAIRS, settings.model.n_views, None if settings.model.reads_pixels else WIDTH, N_WORDS, step)
        taken = of.take(double(batch), Progress(epoch=1, step=step))
        if step == 0:
            seen |= dict(zip(taken.names, taken.values, strict=True))
            seen |= {
                f"gradient of {key}": value.grad.clone()
                for key, value in of.objective.named_parameters()
                if value.grad is not None
            }
    after = {f"{key} after": value for key, value in of.objective.state_dict().items()}
    return seen | after, {part for part, divides in of.objective.parts.divided.items() if not divides}


def check_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        atol = 1e-8 if key.endswith(" after") else 1e-10
        torch.testing.assert_close(value, other[key], rtol=0, atol=atol, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", METHODS)
def test_a_step_in_parts_is_the_step_of_the_whole_batch(name: str) -> None:
    (whole, _), (cut, undivided) = trained(name, None), trained(name, 3)
    check_same(cut, whole)
    assert undivided == METHODS[name][1]


@pytest.mark.parametrize("name", ["esa_bert", "scan_t2i_lse_bigru", "coder_bigru, with clusters"])
def test_the_second_pass_has_the_random_numbers_of_the_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut, _ = trained(name, 3, dropout=0.3)
    monkeypatch.setattr(parts, "_twice", lambda function, device: function())  # the same parts in one pass
    check_same(cut, trained(name, 3, dropout=0.3)[0])
    with pytest.raises(AssertionError):
        check_same(cut, trained(name, 3)[0])  # without dropout


def test_under_mixed_precision_gradients_of_parts_are_summed_in_float32() -> None:
    """In bf16 a sum of ones ends at 256."""
    layer = nn.Linear(4, 1)
    cut = parts.Parts(layer)
    cut.size = 1
    with torch.autocast("cpu", torch.bfloat16):
        rows = cut.of("a layer", layer, torch.ones(400, 4), getitem, 400, torch.device("cpu"))
        torch.cat(rows).float().sum().backward()
    assert torch.equal(layer.weight.grad, torch.full((1, 4), 400.0))


def of_long_captions(limit: int | None) -> tuple[int | None, Tensor, Tensor]:
    """A step whose captions need 150 MB: the pairs of a part, the loss, the weights. limit: bytes that this process still gets"""
    torch.set_num_threads(1)
    settings = method_settings("vse_pp_bigru", dim=256)
    of = stepper(settings)
    of.objective.float()
    of.take(pair_batch(2, 1, WIDTH, N_WORDS), Progress(1, 0))
    pairs = pair_batch(128, 1, WIDTH, N_WORDS)
    batch = Batch(pairs.images, text_batch([30] * 128, N_WORDS), pairs.image_ids, pairs.caption_ids)
    if limit is not None:
        data = re.search(r"VmData:\s*(\d+) kB", Path("/proc/self/status").read_text("ascii"))
        assert data is not None
        limit += int(data[1]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    taken = of.take(batch, Progress(1, 1))
    return of.objective.parts.size, taken.values, torch.cat([p.detach().flatten() for p in of.objective.parameters()])


def test_a_process_that_gets_no_more_memory_takes_the_step_in_parts(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", __name__, str(tmp_path / "out")], cwd=ROOT, check=True)
    size, values, after = torch.load(tmp_path / "out")
    whole, expected, expected_after = of_long_captions(None)
    assert whole is None and size in (64, 32, 16)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
    assert (after - expected_after).abs().mean() < 1e-5  # a step moves most weights by the learning rate, 1e-3


RECIPE = {**PARAMS["methods"]["esl_bert"]["recipe"], "epochs": 2, "schedule": {"kind": "cosine", "warmup": 0.1}}


class Small:
    """Memory for few captions: BERT runs out of it, as on a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, captions: int) -> None:
        self.captions, forward = captions, BertEncoder.forward

        def limited(encoder: BertEncoder, batch: Any) -> Tensor:
            if encoder.training and len(batch.ids) > self.captions:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(encoder, batch)

        monkeypatch.setattr(BertEncoder, "forward", limited)


def test_a_training_that_runs_out_of_memory_goes_on_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    esl = {"runs.one.method": "esl_bert", "methods.esl_bert.recipe": RECIPE}
    project(tmp_path, {**esl, "training.micro_batch": 4})
    asked = train_in(tmp_path)
    expected = weights(asked)
    assert read_json(asked / "run.json")["micro_batch"] == 4
    assert capsys.readouterr().out.count("4 pairs are encoded at a time, with the loss and gradients of the whole") == 1
    write_params(tmp_path, esl)
    small, kill = Small(monkeypatch, 4), Kill(monkeypatch)
    kill.after(1, tmp_path)
    out = capsys.readouterr().out
    assert (
        out.count("Out of memory at 8 pairs a step: going on with 4 encoded at a time, and the loss and gradients") == 1
    )
    small.captions = 100
    found = train_in(tmp_path)
    out = capsys.readouterr().out
    assert "Going on at epoch 1, step 5 of 15." in out and "4 pairs are encoded at a time" in out
    assert read_json(found / "run.json")["micro_batch"] == 4
    assert weights(found) == expected  # attempts that failed have changed nothing


def test_where_nothing_helps_one_error_says_what_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, {"runs.one.method": "esl_bert"})
    Small(monkeypatch, 0)
    with pytest.raises(
        TrainingError, match=r"^out of memory at 8 pairs a step, even with one pair .*recipe\.batch_size"
    ):
        train_in(tmp_path)
    monkeypatch.setattr(together, "count", lambda: 2)
    with pytest.raises(TrainingError, match=r"in each of 2 processes \(said\)\. Set training\.micro_batch: 4, or less"):
        memory.half(8, None, "said")


if __name__ == "__main__":
    torch.save(of_long_captions(100_000_000), sys.argv[1])
