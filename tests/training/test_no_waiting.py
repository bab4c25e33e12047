"""No step waits for the device: every recipe's step, at its published size, on a device that has shapes but no values.

Whatever needs a value back on the host fails there. A recurrent kernel of torch, which cannot run there, is replaced. Only
backbones and pretrained towers are smaller than published.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from itrcore.assets.clip import CLIPSource
from itrcore.assets.concepts import untrained
from itrcore.assets.grid import Grid
from itrcore.assets.pictures import Pictures
from itrcore.assets.pieces import BertSource
from itrcore.assets.regions import Regions
from itrcore.assets.words import BiGRUSource
from itrcore.data.feeding.batches import Batch, ImageBatch, PixelBatch
from itrcore.layers.progress import Progress
from itrcore.methods.build import build
from itrcore.methods.objective import Objective
from itrcore.pretrained import backbone, bert, clip
from itrcore.settings.encoders import (
    BertSettings,
    BertShape,
    CLIPSettings,
    CLIPShape,
    GridSettings,
    ResNetShape,
    TowersSettings,
)
from itrcore.settings.methods import MethodSettings
from itrcore.settings.recipes import Recipes
from itrcore.training.step import Recent, Stepper
from tests.support import dual_data
from tests.support.helpers import image_batch, text_batch
from tests.support.project import ROOT

RECIPES = Recipes(ROOT / "recipes")
META, CPU = torch.device("meta"), torch.device("cpu")
N, N_TOKENS, WIDTH, SIDE = 4, 100, 2048, 64
BERT = BertShape(hidden=64, layers=2, heads=2, intermediate=64, positions=64)
CLIP = CLIPShape(
    picture=SIDE, patch=16, positions=64,
    image_hidden=64, image_layers=2, image_heads=2, image_intermediate=64,
    text_hidden=64, text_layers=2, text_heads=2, text_intermediate=64,
)  # fmt: skip
RESNET = ResNetShape(embedding=16, widths=[16, 32, 64, 128], depths=[1, 1, 1, 1])


@pytest.fixture
def kernels_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of torch: what its recurrent kernel does, and autocast, which knows no device without values."""

    def gru(self: nn.GRU, values: Tensor) -> tuple[Tensor, None]:
        ends = [values @ getattr(self, f"weight_ih_l0{way}").T[:, : self.hidden_size] for way in ("", "_reverse")]
        return torch.cat(ends, dim=-1), None

    monkeypatch.setattr(nn.GRU, "forward", gru)
    monkeypatch.setattr(nn.utils.rnn, "pack_padded_sequence", lambda values, lengths, batch_first: values)
    monkeypatch.setattr(nn.utils.rnn, "pad_packed_sequence", lambda values, batch_first, total_length: (values, None))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def objective_of(settings: MethodSettings, device: torch.device = META) -> Objective:
    """With weights drawn at random, on a device."""
    model, text = settings.model, settings.model.text
    source: Any
    if isinstance(text, CLIPSettings):
        source = CLIPSource(text, clip.config_of(CLIP, N_TOKENS, model.dim))
    elif isinstance(text, TowersSettings):
        source = dual_data.source(text, N_TOKENS, model.dim, SIDE)
    elif isinstance(text, BertSettings):
        source = BertSource(text, bert.config_of(BERT, N_TOKENS))
    else:
        source = BiGRUSource(text, N_TOKENS)
    grid = getattr(model, "grid", None)
    image: Any = Pictures() if model.images == "pictures" else Regions(WIDTH)
    if isinstance(grid, GridSettings):
        grid = grid.model_copy(update={"backbone": "detector", "weights": "random", "shape": RESNET})
        image = Grid(grid, backbone.random(grid, RESNET))
    concepts = untrained() if model.concepts else None
    with device:
        return Objective.of(settings, build(settings, image, source, 1, concepts))


def batch_of(settings: MethodSettings, lengths: list[int], device: torch.device = META) -> Batch:
    """N pairs, with the views that the method trains on. lengths: of regions, and of captions"""
    views, images = settings.model.n_views, image_batch(lengths, WIDTH)
    given: ImageBatch = PixelBatch(torch.zeros(N, 3, SIDE, SIDE)) if settings.model.reads_pixels else images
    texts = text_batch([length for length in lengths for _ in range(views)], N_TOKENS)
    return Batch(given, texts, list(range(N)), list(range(N))).to(device)


@pytest.mark.usefixtures("kernels_replaced")
@pytest.mark.parametrize("lengths", [[9, 5, 7, 9], [9, 9, 9, 9]])
@pytest.mark.parametrize("name", RECIPES)
def test_a_training_step_and_a_tile_of_scores_need_no_value_of_the_device(name: str, lengths: list[int]) -> None:
    settings = RECIPES[name].settings
    objective, batch = objective_of(settings), batch_of(settings, lengths)
    objective.method.begin_epoch(30)
    objective.train()
    stepper = Stepper(objective, settings.recipe, 1, 10, Accelerator(cpu=True))
    recent = Recent([stepper.take(batch, Progress(epoch=30, step=step)) for step in (5, 6)])
    with pytest.raises(NotImplementedError, match="meta"):  # only reading waits
        recent.read()
    # Two things learn nothing by definition: ESL-A's sharpness, and the bias of SGR's keys.
    still = {
        name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None and ".gru." not in name
    }
    assert all(name.endswith(("log_lambda", "key.bias")) for name in still), still
    method = objective.method.eval()
    with torch.inference_mode():
        scores = method.similarity(method.encode_images(batch.images), method.encode_texts(batch.texts))
    assert scores.shape == (N, len(batch.texts.lengths)) and scores.device == META
