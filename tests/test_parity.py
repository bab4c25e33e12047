"""Released checkpoints through the importer: similarities and losses are those that the released codes computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from itrcore.data.batches import ImageBatch, TextBatch
from itrcore.losses import hinge_triplet, self_expanding_triplet
from itrcore.released.layouts import LAYOUTS
from tests.parity_fixtures import OWN, built, family, fixtures, import_file, load, published, tensor, write_checkpoint


def name_of(path: Path) -> str:
    return f"{'own' if path.parent == OWN else 'given'}-{path.stem}"


@pytest.mark.parametrize("path", fixtures(), ids=name_of)
def test_vectors_and_similarity_are_the_released_codes(path: Path, tmp_path: Path) -> None:
    fixture = load(path)
    if not built(fixture):
        pytest.skip(f"{family(fixture)} is not built yet")
    method, _, sizes = import_file(write_checkpoint(fixture, tmp_path / "model_best.pth"), published(family(fixture)))
    if fixture["bert"]:
        assert sizes.bert is not None
        assert {key: getattr(sizes.bert, key) for key in fixture["bert"]} == fixture["bert"]
    inputs, expected = fixture["inputs"], fixture["expected"]
    shape = (inputs["n_images"], inputs["n_regions"], fixture["opt"]["img_dim"])
    regions = torch.from_numpy(tensor(fixture["seed"], "in", "images", shape, scale=1.0)).clamp(min=0)
    with torch.no_grad():
        images = method.encode_images(ImageBatch(regions, torch.full(shape[:1], shape[1])))
        texts = method.encode_texts(TextBatch(torch.tensor(inputs["captions"]), torch.tensor(inputs["lengths"])))
        similarity = method.similarity(images, texts)
    for ours, name in ((images.vectors, "image_embeddings"), (texts.vectors, "caption_embeddings")):
        if name in expected:
            torch.testing.assert_close(ours, torch.tensor(expected[name]), rtol=0, atol=2e-6)
    torch.testing.assert_close(similarity, torch.tensor(expected["similarity"]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize("path", [path for path in fixtures() if load(path).get("loss")], ids=name_of)
def test_the_training_loss_is_the_released_criterions(path: Path, hardest: bool) -> None:
    fixture = load(path)
    loss = fixture["loss"]
    expected = loss["by_max_violation"][str(hardest).lower()]
    if "scores" in loss:
        scores = torch.from_numpy(tensor(fixture["seed"], "loss", "scores", (7, 7), scale=0.3))
        ours = hinge_triplet(scores, loss["margin"], hardest)
    else:
        rows = [tensor(fixture["seed"], "loss", side, (8, 16), scale=1.0) for side in ("image", "text")]
        images, texts = (torch.from_numpy(side / np.linalg.norm(side, axis=1, keepdims=True)) for side in rows)
        ours = self_expanding_triplet(images @ texts.T, 2, loss["margin"], hardest)
        expected = sum(expected.values())
    assert ours.item() == pytest.approx(expected, abs=1e-5)


def test_every_released_layout_has_a_fixture_here() -> None:
    assert {family(load(path)) for path in OWN.glob("*.json")} == set(LAYOUTS)
