"""Several processes train as one does: losses, gradients, statistics and weights, in float64, in real processes."""

from __future__ import annotations

from multiprocessing import set_forkserver_preload
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn

from itrcore.data.feeding.batches import Batch, PixelBatch, RegionBatch
from itrcore.layers import together
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.settings.methods import MethodSettings
from itrcore.training.step import make_optimiser
from tests.support.helpers import CLUSTERS, MOMENTUM, method_of, method_settings, pair_batch

INFO_NCE = {"kind": "symmetric", "initial_scale": 9.0, "max_scale": 100.0}
# One of each family; what is random in a step is left out, as it is drawn anew on each device.
METHODS: dict[str, dict[str, Any]] = {
    "vse_infty_bigru": {"region_drop": 0.0},
    "esa_bert": {"region_drop": 0.0},
    "esl_h_clip": {},
    "esl_a_bert, in parts": {"region_drop": 0.0},
    "scan_t2i_lse_bigru": {},
    "sgr_bigru": {},
    "saf_bigru": {},
    "saf_bigru, by caption": {"module": {"kind": "saf", "gate_norm": "caption"}},
    "lhsc_bigru": {},
    "vse_infty_bigru, against a queue": {"region_drop": 0.0, "loss": MOMENTUM},
    "coder_bigru": {"region_drop": 0.0, "loss": {**MOMENTUM, "loss": INFO_NCE, "clusters": CLUSTERS}},
}
PROCESSES, PAIRS, STEPS, WIDTH, N_TOKENS = 3, 7, 10, 12, 30  # pairs that do not divide evenly


def built(name: str) -> tuple[MethodSettings, Objective, list[Batch]]:
    settings = method_settings(name.partition(",")[0], learning_rate=1e-3)
    changes = dict(METHODS[name])
    loss = changes.pop("loss", settings.loss.model_dump())
    model = {**settings.model.model_dump(), **changes}
    settings = MethodSettings.model_validate({**settings.model_dump(), "model": model, "loss": loss})
    objective = Objective.of(settings, method_of(settings, WIDTH, N_TOKENS)).double().train()
    objective.parts.size = 2 if name.endswith("in parts") else None
    torch.manual_seed(1)
    for layer in objective.modules():
        if isinstance(layer, nn.BatchNorm1d):  # LHSC's start as 0
            nn.init.uniform_(layer.weight, 0.2, 0.8)
    width = None if settings.model.reads_pixels else WIDTH
    return (
        settings,
        objective,
        [double(pair_batch(PAIRS, settings.model.n_views, width, N_TOKENS, step)) for step in range(STEPS)],
    )


def double(batch: Batch) -> Batch:
    images = batch.images
    if isinstance(images, RegionBatch):
        images = RegionBatch(images.regions.double(), images.lengths)
    else:
        images = PixelBatch(images.pixels.double())
    return Batch(images, batch.texts, batch.image_ids, batch.caption_ids)


def trained(name: str) -> dict[str, Tensor]:
    """Loss and gradients of the first step, weights and statistics after the last; by the processes that there are."""
    settings, objective, batches = built(name)
    optimiser, _ = make_optimiser(objective, settings.recipe)
    seen: dict[str, Tensor] = {}
    for step, batch in enumerate(batches):
        optimiser.zero_grad()
        loss = objective(batch.share(together.share(PAIRS)), Progress(epoch=1, step=step)).total
        loss.backward()
        together.mean_gradients(objective.parameters())
        if step == 0:
            seen["loss"] = loss.detach()
            seen |= {f"gradient {key}": p.grad.clone() for key, p in objective.named_parameters() if p.grad is not None}
        optimiser.step()
        objective.after_step()
    return seen | {f"after {key}": value for key, value in objective.state_dict().items()}


def one_of(number: int, count: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(init_method=f"file://{folder}/group", rank=number, world_size=count)
    for name in METHODS:
        torch.save(trained(name), f"{folder}/{name}.{number}")
    distributed.destroy_process_group()


def test_processes_with_a_share_of_the_batch_each_train_as_one_does(tmp_path: Path) -> None:
    # Forks of a process that has imported what all need, which takes each longer than its training.
    set_forkserver_preload([__name__, "torch._dynamo", "transformers.models.bert.modeling_bert"])
    multiprocessing.start_processes(one_of, (PROCESSES, str(tmp_path)), PROCESSES, start_method="forkserver")
    for name in METHODS:
        alone = trained(name)
        for number in range(PROCESSES):
            seen = torch.load(tmp_path / f"{name}.{number}")
            assert set(seen) == set(alone)
            for key, value in alone.items():
                atol = 1e-8 if key.startswith("after") else 1e-10
                torch.testing.assert_close(
                    seen[key], value, rtol=0, atol=atol, msg=lambda text, at=(name, number, key): f"{at}: {text}"
                )
