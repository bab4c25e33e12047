"""The methods with given weights against what their released code computed with the same weights.

tests/data/parity holds figures only: configuration, inputs and results. Every weight follows from its name by `tensor`.
More fixtures of the same kinds are read from the folder $ITR_PARITY_DIR where it is set.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itrcore.data.batches import ImageBatch, TextBatch
from itrcore.losses import self_expanding_triplet
from itrcore.models import registry
from itrcore.models.base import Method
from itrcore.models.settings import MethodSettings
from tests.helpers import method_settings

OURS = {"esa": "esa_bigru", "vse_infty": "vse_infty_bigru"}  # the fixtures' method names and ours
IMAGE_NAMES = {
    "fc.": "regions.fc.",
    "mlp.layers.0.": "regions.hidden.",
    "mlp.layers.1.": "regions.out.",
    "mlp.bns.0.": "regions.norm.",
    "linear1.": "region_pooling.linear.",
    "gpool.": "region_pooling.",
}
TEXT_NAMES = {
    "embed.": "words.embed.",
    "rnn.": "words.gru.",
    "linear1.": "word_pooling.linear.",
    "gpool.": "word_pooling.",
}
UNUSED = "mlp.bns.1."  # the released MLP owns a second batch normalisation that its forward never uses


def fixtures() -> list[Path]:
    folders = [Path(__file__).parent / "data" / "parity"]
    if os.environ.get("ITR_PARITY_DIR"):
        folders.append(Path(os.environ["ITR_PARITY_DIR"]))
    found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    return [path for path in found if read(path).get("text_encoder") == "bigru" and read(path)["method"] in OURS]


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return value


def tensor(seed: int, part: str, name: str, shape: Any, kind: str = "normal", scale: float | None = None) -> np.ndarray:
    """Standard normal values from a generator seeded with the CRC-32 of "seed/part/name", shaped to what `kind` needs."""
    if kind in ("zeros", "count"):
        return np.zeros(shape, np.int64 if kind == "count" else np.float32)
    generator = np.random.default_rng(zlib.crc32(f"{seed}/{part}/{name}".encode()))
    x = generator.standard_normal(tuple(shape)).astype(np.float32)
    if kind == "positive":
        return np.abs(x) + np.float32(0.5)
    if kind == "gain":
        return (1.0 + 0.1 * x).astype(np.float32)
    if scale is None:
        scale = float(1.0 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 16.0))
    return x * np.float32(scale)


def settings_of(fixture: dict[str, Any]) -> MethodSettings:
    value = method_settings(OURS[fixture["method"]]).model_dump(mode="json")
    value["model"]["dim"] = fixture["opt"]["embed_size"]
    value["model"]["text"]["word_dim"] = fixture["opt"]["word_dim"]
    if "pooling" in value["model"]:
        value["model"]["pooling"] |= {"code_dim": 32, "hidden_dim": 32}
    return MethodSettings.model_validate(value)


def loaded(fixture: dict[str, Any]) -> Method:
    """The method with the fixture's weights: every weight of ours is given, every given one but the unused has a place."""
    settings, n_tokens = settings_of(fixture), fixture["opt"]["vocab_size"]
    n_words = n_tokens - 1 if settings.model.kind == "esa" else n_tokens  # ESA's vocabulary ends with its mask token
    method = registry.build(settings, fixture["opt"]["img_dim"], n_words, 0).eval()
    weights = {}
    for number, (entries, names) in enumerate(zip(fixture["parts"], (IMAGE_NAMES, TEXT_NAMES), strict=True)):
        for entry in entries:
            name = entry["name"]
            if name.startswith(UNUSED):
                continue
            (prefix,) = [prefix for prefix in names if name.startswith(prefix)]
            value = fixture["explicit"].get(f"{number}/{name}")
            if value is None:
                value = tensor(fixture["seed"], str(number), name, entry["shape"], entry["kind"])
            weights[names[prefix] + name.removeprefix(prefix)] = torch.from_numpy(np.asarray(value))
    method.load_state_dict(weights)
    return method


@pytest.mark.parametrize("path", fixtures(), ids=lambda path: path.stem)
def test_vectors_and_similarity_are_the_released_codes(path: Path) -> None:
    fixture = read(path)
    method, inputs, expected = loaded(fixture), fixture["inputs"], fixture["expected"]
    shape = (inputs["n_images"], inputs["n_regions"], fixture["opt"]["img_dim"])
    regions = torch.from_numpy(tensor(fixture["seed"], "in", "images", shape, scale=1.0)).clamp(min=0)
    with torch.no_grad():
        images = method.encode_images(ImageBatch(regions, torch.full(shape[:1], shape[1])))
        texts = method.encode_texts(TextBatch(torch.tensor(inputs["captions"]), torch.tensor(inputs["lengths"])))
        similarity = method.similarity(images, texts)
    for ours, name in ((images.vectors, "image_embeddings"), (texts.vectors, "caption_embeddings")):
        torch.testing.assert_close(ours, torch.tensor(expected[name]), rtol=0, atol=2e-6)
    torch.testing.assert_close(similarity, torch.tensor(expected["similarity"]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize("path", [path for path in fixtures() if "loss" in read(path)], ids=lambda path: path.stem)
def test_the_training_loss_is_the_released_criterions(path: Path, hardest: bool) -> None:
    fixture = read(path)
    sides = []
    for side in ("image", "text"):
        rows = tensor(fixture["seed"], "loss", side, (8, 16), scale=1.0)
        sides.append(torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    loss = self_expanding_triplet(sides[0] @ sides[1].T, 2, fixture["loss"]["margin"], hardest)
    expected = sum(fixture["loss"]["by_max_violation"][str(hardest).lower()].values())
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_both_kinds_of_fixture_are_there() -> None:
    assert {read(path)["method"] for path in fixtures()} == set(OURS)
