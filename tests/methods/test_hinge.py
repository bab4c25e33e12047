"""Methods with the hinge loss on grid features: the encoder is told of epochs, and its weight is on the loss."""

from __future__ import annotations

import pytest
import torch
from itrcore.methods.hinge import HingeMethod

from itrcore.assets.grid import Grid
from itrcore.layers.grid import GridEncoder
from itrcore.layers.progress import Progress
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from tests.pretrained.test_backbone import grid
from tests.support.helpers import method_settings, pair_batch, text_inputs

ON_GRIDS = pytest.mark.parametrize("name", ["vse_infty_bigru", "esa_bigru", "esl_h_bert"])


def on_grid(name: str) -> HingeMethod:
    """A method on a small ResNet whose warm-up, with all of it frozen, ends before epoch 2."""
    settings = method_settings(name)
    method: Method = build(settings, Grid.prepare(grid()).inputs, text_inputs(settings, 30), 0)
    assert isinstance(method, HingeMethod)
    return method


@ON_GRIDS
def test_the_backbone_is_opened_as_epochs_begin(name: str) -> None:
    method = on_grid(name)
    assert isinstance(method.regions, GridEncoder)
    opened = []
    for epoch in (0, 1, 2):
        method.begin_epoch(epoch)
        opened.append(any(weight.requires_grad for weight in method.regions.backbone.parameters()))
    assert opened == [False, False, True]


@ON_GRIDS
def test_the_loss_rises_with_its_weight_while_the_backbone_begins_to_train(name: str) -> None:
    method = on_grid(name).eval()
    batch = pair_batch(5, method.views.captions, None, 30)

    def total(epoch: int, share: float) -> float:
        torch.manual_seed(0)  # ESA's masks
        return method.loss(batch, Progress(epoch, 0, share)).total.item()

    whole = total(3, 0.25)
    assert whole > 0
    assert total(2, 0.25) == pytest.approx(whole / 4)
    assert total(2, 0.0) == 0
