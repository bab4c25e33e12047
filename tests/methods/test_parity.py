"""Released checkpoints through the importer: similarities and losses are those that the released codes computed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.layers.basics import l2
from itrcore.layers.encoded import Encoded
from itrcore.layers.losses.triplet import hinge_triplet, self_expanding_triplet
from itrcore.methods.esl.esl import ESL
from itrcore.methods.esl.esl_clip import ESLCLIP
from itrcore.methods.sgraf.lhsc import LHSC
from itrcore.released.layouts import LAYOUTS
from tests.support.parity_fixtures import (
    OWN,
    ROOT,
    built,
    family,
    fixtures,
    import_file,
    load,
    released_parts,
    settings_of,
    stated,
    tensor,
    write_checkpoint,
)


def name_of(path: Path) -> str:
    return f"{'own' if path.parent == OWN else 'given'}-{path.stem}"


@pytest.mark.parametrize("path", fixtures(), ids=name_of)
def test_vectors_and_similarity_are_the_released_codes(path: Path, tmp_path: Path) -> None:
    fixture = load(path)
    if not built(fixture):
        pytest.skip(f"{family(fixture)} is not built yet")
    config = BertConfig(**fixture["bert"]) if fixture.get("bert") else None
    file = write_checkpoint(fixture, tmp_path / "model_best.pth")
    for settings in settings_of(fixture):
        method, _, _ = import_file(file, settings, config)
        with torch.no_grad():
            images, texts, parts = encoded(fixture, method)
            similarity = method.similarity(images, texts)
        for name, ours in parts.items():
            if name in fixture["expected"]:
                torch.testing.assert_close(ours, torch.tensor(fixture["expected"][name]), rtol=0, atol=2e-6)
        torch.testing.assert_close(similarity, torch.tensor(fixture["expected"]["similarity"]), rtol=0, atol=2e-6)


def encoded(fixture: dict[str, Any], method: Any) -> tuple[Encoded, Encoded, dict[str, torch.Tensor]]:
    """Both sides of a fixture's inputs, and what lies before the similarity, by the fixture's names."""
    inputs = fixture["inputs"]
    if isinstance(method, ESLCLIP):  # the fixture begins behind the towers
        features = {
            side: torch.from_numpy(stated(fixture, inputs[f"{side}_features"], f"{side}_features", "in"))
            for side in ("image", "text")
        }
        return method.measured_images(features["image"]), method.measured_texts(features["text"]), {}
    shape = (inputs["n_images"], inputs["n_regions"], fixture["opt"]["img_dim"])
    regions = torch.from_numpy(tensor(fixture["seed"], "in", "images", shape, scale=1.0)).clamp(min=0)
    image_batch = RegionBatch(regions, torch.full(shape[:1], shape[1]))
    text_batch = TextBatch(torch.tensor(inputs["captions"]), torch.tensor(inputs["lengths"]))
    images, texts = method.encode_images(image_batch), method.encode_texts(text_batch)
    if isinstance(method, ESL):
        region, word = method.regions(image_batch)[0][0, 0], method.words(text_batch)[0, 0]
        levels = {"image_levels_first_region": method.region_levels(l2(region))}
        return images, texts, levels | {"text_levels_first_word": method.word_levels(l2(word))}
    if isinstance(method, LHSC):  # an image's whole vector stands before its regions
        return images, texts, {"image_embeddings_first": images.vectors[1]}
    return images, texts, {"image_embeddings": images.vectors, "caption_embeddings": texts.vectors}


@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize("path", [path for path in fixtures() if load(path).get("loss")], ids=name_of)
def test_the_training_loss_is_the_released_criterions(path: Path, hardest: bool) -> None:
    fixture = load(path)
    loss = fixture["loss"]
    expected = loss["by_max_violation"][str(hardest).lower()]
    if "scores" in loss:
        scores = torch.from_numpy(stated(fixture, loss["scores"], "scores"))
        ours = hinge_triplet(scores, loss["margin"], hardest)
    else:
        rows = [stated(fixture, loss["embeddings"], side) for side in ("image", "text")]
        views = re.search(r"views per item=(\d+)", loss["embeddings"])
        assert views is not None
        images, texts = (torch.from_numpy(side / np.linalg.norm(side, axis=1, keepdims=True)) for side in rows)
        ours = self_expanding_triplet(images @ texts.T, int(views[1]), loss["margin"], hardest)
        expected = sum(expected.values())
    assert ours.item() == pytest.approx(expected, abs=1e-5)


def test_every_released_layout_has_a_fixture_here_or_differs_from_one_in_its_image_encoder_alone() -> None:
    assert {family(load(path)) for path in OWN.glob("*.json")} == {name.removesuffix("_grid") for name in LAYOUTS}


def other_fixture() -> dict[str, Any]:
    """ESA with a BERT of 8 heads and a loss of 3 views of 4 items, with what plain restatements make of its weights."""
    fixture: dict[str, Any] = json.loads((OWN / "esa_bert_s7.json").read_text("utf-8"))
    fixture["bert"]["num_attention_heads"] = 8
    texts = restated_captions(fixture)
    fixture["expected"] = {
        "caption_embeddings": texts.tolist(),
        "similarity": (np.array(fixture["expected"]["image_embeddings"]) @ texts.T).tolist(),
    }
    rows = [tensor(fixture["seed"], "loss", side, (12, 16), scale=0.5) for side in ("image", "text")]
    images, texts = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in rows)
    stated_rows = "rows L2-normalised of tensor(seed,'loss','image'|'text',(12,16),scale=0.5)"
    fixture["loss"] = {
        "embeddings": f"{stated_rows}; views per item=3 (consecutive rows)",
        "margin": 0.3,
        "by_max_violation": restated_losses(images @ texts.T, 3, 0.3),
    }
    return fixture


def other_clip_fixture() -> dict[str, Any]:
    """ESL with CLIP on 256 dimensions, 3 images and 5 captions, and what a plain restatement makes of its weights."""
    fixture: dict[str, Any] = json.loads((OWN / "esl_clip_a_s7.json").read_text("utf-8"))
    fixture["opt"]["embed_dim"] = 256
    for entry in fixture["parts"][0]:
        if "masks_" in entry["name"]:
            entry["shape"] = [size // 2 for size in entry["shape"]]
    fixture["inputs"] = {
        f"{side}_features": f"tensor(seed,'in','{side}_features',({n},embed_dim),scale=0.5)"
        for side, n in (("image", 3), ("text", 5))
    }
    start = "pool_frames.cross_attn."
    part = {name: value.double().numpy() for name, value in released_parts(fixture)[0].items()}
    blocks: dict[str, list[np.ndarray]] = {}
    for side in ("image", "text"):
        below = stated(fixture, fixture["inputs"][f"{side}_features"], f"{side}_features", "in").astype(np.float64)
        below /= np.linalg.norm(below, axis=1, keepdims=True)
        blocks[side] = [below]
        for level in range(1, 9):
            mask = part[f"{start}plus_encoder.encoders_1.{side}_levels.masks_{level}.weight"]
            mask = mask / (np.linalg.norm(mask, axis=1, keepdims=True) + 1e-8)
            mask = np.where(mask >= np.sort(mask, axis=1)[:, -min(2, mask.shape[1]), None], mask, 0.0)
            below = below @ mask.T
            unit = below / (np.linalg.norm(below, axis=1, keepdims=True) + 1e-8)
            blocks[side].append(unit)
            below = unit if side == "image" else below
    of_measure = {name.removeprefix(f"{start}sims.calculator_1."): value for name, value in part.items()}
    s, sigma, log_lambda = (of_measure[f"{name}.weight"] for name in ("sim_eval", "temp_scale_1", "temp_scale_2"))
    low, high = np.abs(s).min(), np.abs(s).max()
    weights = np.exp((np.abs(s) - low - (high - low) / (1 + np.exp(-sigma))) * np.exp(log_lambda)) * s
    pairs = zip(weights[0], blocks["image"], blocks["text"], strict=True)
    scores = [w * y @ of_measure[f"masks_{level}.weight"] @ x.T for level, (w, y, x) in enumerate(pairs)]
    fixture["expected"] = {"similarity": (sum(scores) / 9).tolist()}
    return fixture


def fixture_of_scores() -> dict[str, Any]:
    """A loss on scores of another shape and scale, of a method that is not built."""
    scores = tensor(8, "loss", "scores", (5, 5), scale=0.7)
    sums = {key: sum(values.values()) for key, values in restated_losses(scores, 1, 0.1).items()}
    stated_scores = "tensor(seed,'loss','scores',(5,5),scale=0.7)"
    loss = {"scores": stated_scores, "margin": 0.1, "by_max_violation": sums}
    return {"method": "none", "seed": 8, "loss": loss}


def restated_captions(fixture: dict[str, Any]) -> np.ndarray:
    """(m, d): BERT, a linear layer, and per dimension a softmax over the words of another one, caption by caption."""
    part = released_parts(fixture)[1]
    model = BertModel(BertConfig(**fixture["bert"]))
    model.eval()  # type: ignore[no-untyped-call]
    model.load_state_dict({name[5:]: value for name, value in part.items() if name.startswith("bert.")}, strict=True)
    linear, attention = (
        (part[f"{name}.weight"].double().numpy().T, part[f"{name}.bias"].double().numpy())
        for name in ("linear", "linear1")
    )
    rows = []
    for ids, length in zip(fixture["inputs"]["captions"], fixture["inputs"]["lengths"], strict=True):
        with torch.no_grad():
            hidden = model(torch.tensor([ids[:length]])).last_hidden_state[0].double().numpy()
        words = hidden @ linear[0] + linear[1]
        weights = np.exp(words @ attention[0] + attention[1])
        vector = (weights / weights.sum(0) * words).sum(0)
        rows.append(vector / np.linalg.norm(vector))
    return np.array(rows)


def restated_losses(scores: np.ndarray, views: int, margin: float) -> dict[str, dict[str, float]]:
    """The self-expanding loss pair by pair: an item's worst own pair against every other item's; all, or the hardest."""
    result: dict[str, dict[str, float]] = {"false": {}, "true": {}}
    for side, matrix in (("cost_s", scores), ("cost_im", scores.T)):
        costs = []
        for number, row in enumerate(matrix.astype(np.float64)):
            first = number - number % views
            worst = min(row[first : first + views])
            others = [score for at, score in enumerate(row) if not first <= at < first + views]
            costs.append([max(0.0, margin + score - worst) for score in others])
        result["false"][side], result["true"][side] = sum(map(sum, costs)), sum(map(max, costs))
    return result


def test_a_fixture_of_other_shapes_views_and_heads_needs_no_other_code(tmp_path: Path) -> None:
    fixture = other_fixture()
    (tmp_path / "right.json").write_text(json.dumps(fixture), "utf-8")
    fixture["bert"]["num_attention_heads"] = 12  # and what the 8 heads gave
    fixture["loss"]["embeddings"] = fixture["loss"]["embeddings"].replace("item=3", "item=2")
    (tmp_path / "wrong.json").write_text(json.dumps(fixture), "utf-8")
    (tmp_path / "scores.json").write_text(json.dumps(fixture_of_scores()), "utf-8")
    clip = other_clip_fixture()
    (tmp_path / "right_clip.json").write_text(json.dumps(clip), "utf-8")
    clip["expected"]["similarity"][2][4] += 1e-4
    (tmp_path / "wrong_clip.json").write_text(json.dumps(clip), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__)), "-k", "given-"],
        cwd=ROOT,
        env={**os.environ, "ITR_PARITY_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    failed = {line.split("[")[1].split("]")[0] for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {"given-wrong", "given-wrong-False", "given-wrong-True", "given-wrong_clip"}, done.stdout
    assert "4 failed, 6 passed, 1 skipped" in done.stdout
