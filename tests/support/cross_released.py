"""Small methods of SCAN's kin with weights at random, and what both sides make of an exported file of theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from itrcore.assets.regions import Regions
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.methods.contract import Method
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.exporting import options
from itrcore.released.layouts import layout_of
from itrcore.settings.methods import MethodSettings
from tests.support.helpers import text_source
from tests.support.parity_fixtures import fixture_of, published, released_parts, with_model
from tests.support.released_evaluation import evaluated

CAPTIONS = [[1, 5, 8, 3, 9, 2], [1, 7, 2], [1, 4, 6, 10, 2]]
TEXT = {"kind": "bigru", "word_dim": 6, "dropout": 0.4, "init": "random"}


def checkpoint_of(name: str, **changes: Any) -> Checkpoint:
    """The checkpoint of a family's fixture, options changed."""
    fixture = fixture_of(name)
    return Checkpoint(Path("m.pth"), released_parts(fixture), 25, 512.5, 28300, {**fixture["opt"], **changes})


def small(name: str, **model: Any) -> tuple[Method[Any, Any], Sizes[Any, Any]]:
    """A method of 8 dimensions for 11 words and regions of width 5; batch statistics are at random too."""
    narrow = {} if name.startswith("scan") else {"alignment_dim": 6}
    settings = with_model(published(name), dim=8, text=TEXT, **{**narrow, **model})
    sizes = Sizes(settings, Regions(5), text_source(settings, 12), 12)
    method = convert.empty(sizes).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in method.state_dict().values():
            if value.dim():
                value.copy_(
                    torch.rand(value.shape, generator=generator) + 0.1 * (value.dim() == 1) - 0.5 * (value.dim() > 1)
                )
    return method, sizes


def export(method: Method[Any, Any], sizes: Sizes[Any, Any], path: Path) -> Path:
    layout = layout_of(sizes.settings)
    parts = convert.to_released(method, layout)
    Checkpoint(path, parts, 1, None, None, options(sizes, "f30k")).write(layout.data_parallel)
    return path


def similarity(method: Method[Any, Any], regions: Tensor) -> Tensor:
    """(n, m) by the method, of the captions as one batch."""
    n, k, _ = regions.shape
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in CAPTIONS], batch_first=True)
    lengths = torch.tensor([len(ids) for ids in CAPTIONS])
    with torch.no_grad():
        images = method.encode_images(RegionBatch(regions, torch.full((n,), k)))
        return method.similarity(images, method.encode_texts(TextBatch(ids, lengths)))


def regions(n_regions: int) -> Tensor:
    return torch.rand(3, n_regions, 5, generator=torch.Generator().manual_seed(2)) - 0.3


def check_export(method: Method[Any, Any], sizes: Sizes[Any, Any], folder: Path, n_regions: int = 36) -> None:
    """The released evaluation loads the exported file strictly, and computes what the method computes."""
    images = regions(n_regions)
    theirs = evaluated(export(method, sizes, folder / "m.pth"), sizes, images, CAPTIONS)
    ours = similarity(method, images)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)
    assert ours.std() > 1e-4  # weights at random tell pairs apart


def imported(checkpoint: Checkpoint, settings: MethodSettings) -> tuple[Method[Any, Any], Sizes[Any, Any]]:
    sizes = convert.sizes(checkpoint, settings)
    method = convert.empty(sizes)
    method.load_state_dict(convert.weights(checkpoint, layout_of(settings), method))
    return method.eval(), sizes


def without_options(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, options={})
