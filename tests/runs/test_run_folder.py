"""A run's folder is enough: its weights, settings and text give the method back, whatever became of what it came from."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from itrcore.assets.assets import Assets
from itrcore.assets.clip import CLIPText
from itrcore.assets.pictures import Pictures
from itrcore.assets.pieces import Pieces, prepare
from itrcore.assets.regions import Regions
from itrcore.assets.words import Words
from itrcore.data.feeding.prepared import open_split
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.data.text.vocabulary import SPECIAL as WORD_SPECIAL
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.data.text.wordpieces import SPECIAL, WordPieces
from itrcore.errors import DataError
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.load import load_run
from itrcore.files import read_json, sha256_of_all
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.pretrained import bert, clip
from itrcore.runs import inputs
from itrcore.runs.folder import write
from itrcore.runs.records import Run
from itrcore.settings.encoders import BertSettings, BiGRUSettings, CLIPSettings
from itrcore.settings.load import load
from tests.support.helpers import (
    METHODS,
    bert_folder,
    concepts_of,
    image_batch,
    method_settings,
    pixel_batch,
    text_batch,
)
from tests.support.scores import similarities
from tests.support.tiny_project import project, stage, train_in

WIDTH, N_WORDS = 12, 30


def text_of(name: str) -> Words | Pieces | CLIPText:
    """The text side of one of `METHODS`, of N_WORDS ids in all."""
    model = method_settings(name).model
    settings, words = model.text, [f"w{i}" for i in range(N_WORDS - 5)]
    if isinstance(settings, BiGRUSettings):
        return Words(settings, Vocabulary([*WORD_SPECIAL, *words], WordSplitter(None)))
    pieces = WordPieces([*SPECIAL, *words])
    assert settings.shape is not None
    if isinstance(settings, CLIPSettings):
        return CLIPText(settings, pieces, clip.config_of(settings.shape, N_WORDS, model.dim))
    return Pieces(settings, pieces, bert.config_of(settings.shape, N_WORDS))


def vectors(method: Method) -> list[torch.Tensor]:
    method.eval()
    with torch.no_grad():
        pictures = isinstance(method.input, PixelInput)
        images = method.encode_images(pixel_batch(2) if pictures else image_batch([5, 2], WIDTH))
        return [images.vectors, method.encode_texts(text_batch([4, 6], N_WORDS)).vectors]


def stored(name: str, folder: Path) -> Method:
    """A method written as a run's folder."""
    settings = method_settings(name)
    image = Pictures() if settings.model.reads_pixels else Regions(WIDTH)
    assets = Assets(image, text_of(name), concepts_of(settings))
    method = build(settings, image, assets.text.source, 3, assets.concepts)
    assets.save(folder)
    save_file(method.state_dict(), folder / "model.safetensors")
    run = Run(
        name="a-run",
        data="some",
        method=name,
        seed=3,
        profile="published",
        family=settings.family,
        origin="trained",
        selected_on="dev",
        settings=settings,
        training=None,
        checkpoint=None,
        features="synthetic",
        width=image.width,
        parameters=0,
        data_digest="",
        text_digest="",
        image_digest=None,
        code_version="",
        inputs={},
        files=sha256_of_all(folder),
        best_epoch=1,
    )
    write(folder / "run.json", run)
    return method


# Dual encoders have no tokens but published ones: tests/methods/dual/test_dual.py
@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("dual")])
def test_stored_weights_settings_and_text_give_the_same_method_back(name: str, tmp_path: Path) -> None:
    method = stored(name, tmp_path)
    run = load_run(tmp_path)
    assert all(torch.equal(*pair) for pair in zip(vectors(method), vectors(run.method), strict=True))
    assert run.assets.text.tokeniser.encode("w1 w3 w2") == text_of(name).tokeniser.encode("w1 w3 w2")
    assert run.record.settings == method_settings(name)


@pytest.mark.parametrize("name", ["esa_bigru", "vse_infty_bert"])
def test_damaged_weights_are_one_error_that_names_the_file(name: str, tmp_path: Path) -> None:
    stored(name, tmp_path)
    path = tmp_path / "model.safetensors"
    for damaged in (path.read_bytes()[:-10], save({"x": torch.zeros(2)}), None):
        path.write_bytes(damaged) if damaged is not None else path.unlink()
        with pytest.raises(
            DataError,
            match=r"model\.safetensors: this file is damaged: .*itr heal",
        ):
            load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "file"), [("esa_bigru", "vocab.json"), ("esa_bert", "tokenizer.json"), ("esa_bert", "bert.json")]
)
@pytest.mark.parametrize("content", [None, "{"], ids=["missing", "damaged"])
def test_a_text_folder_that_lost_a_file_is_one_error_that_names_it(
    name: str, file: str, content: str | None, tmp_path: Path
) -> None:
    stored(name, tmp_path)
    path = tmp_path / "text" / file
    path.write_text(content) if content else path.unlink()
    with pytest.raises(DataError, match=file.replace(".", r"\.")):
        load_run(tmp_path)


RUN = {"data": "tiny", "seed": 1}
SHORT = {"epochs": 2, "schedule": {"kind": "step", "epochs": [1], "factor": 0.1}}
CHANGES: dict[str, Any] = {
    **{f"methods.{name}.recipe.{key}": value for name in ("esa", "esa_bert") for key, value in SHORT.items()},
    "runs.small": {**RUN, "method": "esa_bert"},
}


def similarity(folder: Path, name: str) -> bytes:
    shutil.rmtree(folder / "evaluations", ignore_errors=True)
    with contextlib.chdir(folder):
        evaluate(load(), name)
    return similarities(name, root=folder).tobytes()


@pytest.mark.parametrize("name", ["one", "small", "published"])
def test_a_run_is_evaluated_to_the_same_bits_when_all_that_its_text_came_from_is_gone(
    name: str, tmp_path: Path
) -> None:
    published = {"kind": "bert", "weights": str(tmp_path / "bert"), "dropout": 0.1}
    changes = {**CHANGES}
    if name == "published":
        bert_folder(tmp_path / "bert", [*SPECIAL, ".", *"abcdefghijklmnopqrstuvwxyz", "a", "##n"][:-2])
        changes |= {"methods.esa_bert.model.text": published, "runs.published": {**RUN, "method": "esa_bert"}}
        del changes["runs.small"]
    project(tmp_path, changes)
    run = train_in(tmp_path, name)
    before = similarity(tmp_path, name)
    for gone in ("data/tiny/vocab", "data/tiny/raw", "bert", "state"):
        shutil.rmtree(tmp_path / gone, ignore_errors=True)
    assert similarity(tmp_path, name) == before
    matrix = similarities(name, root=tmp_path)
    assert np.abs(matrix - matrix.mean()).max() > 1e-4
    expected = {"vocab.json"} if name == "one" else {"tokenizer.json", "bert.json"}
    assert {path.name for path in (run / "text").iterdir()} == expected
    family = "esa_bigru" if name == "one" else "esa_bert"
    scored = read_json(tmp_path / f"evaluations/tiny/{name}/evaluation.json")
    for described in (read_json(run / "run.json"), scored):
        assert (described["family"], described["origin"]) == (family, "trained")
    assert (scored["device"], scored["precision"]) == ("cpu", "float32")


def test_another_process_without_network_evaluates_a_published_bert_from_the_folder(tmp_path: Path) -> None:
    text = {"kind": "bert", "weights": str(tmp_path / "bert"), "dropout": 0.1}
    bert_folder(tmp_path / "bert", [*SPECIAL, *"abcdefghijklmnopqrstuvwxyz"])
    changes = {**CHANGES, "methods.esa_bert.model.text": text}
    project(tmp_path, changes)
    train_in(tmp_path, "small")
    before = similarity(tmp_path, "small")
    with contextlib.chdir(tmp_path):
        inputs.write(load(), "tiny")  # as before it was trained, when the BERT was there
    shutil.rmtree(tmp_path / "bert")
    process = stage(tmp_path, "evaluate", "small", HF_HUB_OFFLINE="1", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/m.db")
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert similarities("small", root=tmp_path).tobytes() == before


def test_captions_longer_than_the_berts_positions_are_cut_in_training_and_in_evaluation(tmp_path: Path) -> None:
    shape = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16, "positions": 8}
    params = project(tmp_path, {**CHANGES, "methods.esa_bert.model.text.shape": shape})
    with contextlib.chdir(tmp_path):
        model = params.method_of("small").model
        assert isinstance(model.text, BertSettings)
        text = prepare(model.text, model.dim, Path("data/tiny/vocab"), Path("data/nltk"))
        split = open_split("tiny", "train", text.tokeniser, RegionInput())
    lengths = np.diff(split.tokens.starts)
    assert lengths.max() == 8 and (lengths == 8).sum() > 20  # most of the captions are longer
    end = text.tokeniser.encode("a").ids[-1]
    assert all(split.tokens.ids_of(row)[-1] == end for row in range(len(split.tokens)))
    run = train_in(tmp_path, "small")
    assert len(read_json(run / "history.json")["evaluations"]) == 2
    assert similarity(tmp_path, "small")
