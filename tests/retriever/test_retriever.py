"""`itrcore.load`: a run's folder alone, moved anywhere, encodes, compares and searches as the pipeline does."""

from __future__ import annotations

import doctest
import json
import pathlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import itrcore
from itrcore import layout
from itrcore.data import captions
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import ConfigError, DataError
from itrcore.evaluation import efficiency
from itrcore.evaluation.evaluate import evaluate
from itrcore.extraction.load import load as load_extractor
from itrcore.files import read_json
from itrcore.retriever import load, retriever
from tests.support import extractors
from tests.support.picture_data import encoded, photo
from tests.support.scores import similarities
from tests.support.tiny_project import ROOT, prepare, rewrite, train_in
from tests.support.used_runs import CHANGES, SETS, VECTORS


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained and evaluated runs, and the data that they were evaluated on."""
    folder = tmp_path_factory.mktemp("project")
    params = prepare(folder, CHANGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(efficiency, "SECONDS", 0.0)  # what a search costs is not looked at
        for name in (VECTORS, SETS):
            train_in(folder, name)
            evaluate(params, name)
    return folder


@pytest.fixture
def runs(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing but copies of the runs' folders, in a folder elsewhere; the current folder holds two photos."""
    shutil.copytree(project / "runs/tiny", tmp_path / "moved")
    (tmp_path / "here/photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for number, name in enumerate(("beach", "dog")):
        Path(f"photos/{name}.jpg").write_bytes(encoded(photo(number)))
    return tmp_path / "moved"


def texts_of(project: Path) -> list[str]:
    table = captions.read(project / layout.captions("tiny"), "test")
    return [caption for image in table for caption in image.captions]


def pictures_of(project: Path) -> list[Image.Image]:
    store = ImageStore(project / layout.image_shards("tiny"), "test")
    return [store.image(row) for row in range(len(store))]


def features_of(project: Path) -> list[np.ndarray]:
    store = FeatureStore(project / layout.region_shards("tiny"), "test")
    return [store.gather([row])[0][0] for row in range(len(store))]


@pytest.mark.parametrize("name", [VECTORS, SETS])
def test_scores_are_those_of_evaluate(name: str, project: Path, runs: Path) -> None:
    run = itrcore.load(runs / name, device="cpu")
    given, told = pictures_of(project) if name == VECTORS else features_of(project), list[Any]()
    images = run.encode_images(given, 1, lambda *shown: told.append(shown))
    assert told[-1] == ("images encoded", 8, 8)
    images = run.encode_images(given + given, batch_size=1)[8:]  # more than stay on a device
    texts = run.encode_texts(texts_of(project), batch_size=7)
    stored = similarities(name, root=project)
    assert np.ptp(stored) > 1e-3
    for tile in (3, 512):
        np.testing.assert_allclose(run.similarity(images, texts, tile), stored, rtol=0, atol=2e-6)
    if name == VECTORS:
        np.testing.assert_allclose(images.vectors @ texts.vectors.T, stored, rtol=0, atol=2e-6)
    else:
        with pytest.raises(DataError, match=r"^scenes-saf_bigru-1: its items have no vector each"):
            _ = images.vectors


@pytest.mark.parametrize("name", [VECTORS, SETS])
def test_a_search_finds_the_best_of_the_whole_gallery_in_tiles_too(name: str, project: Path, runs: Path) -> None:
    run = itrcore.load(runs / name, device="cpu")
    images = run.encode_images(pictures_of(project) if name == VECTORS else features_of(project))
    images += images[[0, 3]]  # equal scores, far apart
    texts = run.encode_texts(texts_of(project)[:9])
    scores = run.similarity(images, texts)
    for asked, gallery, matrix in ((texts, images, scores.T), (images, texts, scores)):
        for k, tile in ((1, 4), (5, 2), (100, 3)):
            found = run.search(asked, gallery, k, tile)
            best = np.argsort(-matrix, axis=1, kind="stable")[:, :k]
            np.testing.assert_allclose(
                [[match.score for match in matches] for matches in found],
                np.take_along_axis(matrix, best, axis=1),
                rtol=0,
                atol=2e-6,
            )
            for matches in found:
                ranks = [(-match.score, match.item) for match in matches]
                assert len({item for _, item in ranks}) == len(ranks) == min(k, len(gallery))
                assert ranks == sorted(ranks)


def test_items_are_chosen_joined_and_kept_in_a_file(project: Path, runs: Path, tmp_path: Path) -> None:
    for name, images in ((VECTORS, pictures_of(project)), (SETS, features_of(project))):
        run = itrcore.load(runs / name, device="cpu")
        items, texts = run.encode_images(images), run.encode_texts(texts_of(project)[:3])
        scores = run.similarity(items, texts)
        (items[2:4] + items[[-1, 0]]).save(tmp_path / "items.safetensors")
        again = run.read(tmp_path / "items.safetensors")
        np.testing.assert_allclose(run.similarity(again, texts), scores[[2, 3, 7, 0]], rtol=0, atol=1e-6)
        assert [len(item) for item in items] == [1] * 8 and len(items[np.arange(8) > 5]) == 2
    other = itrcore.load(
        runs / VECTORS / "model.safetensors", device="cpu"
    )  # its checkpoint says as much as its folder
    with pytest.raises(
        DataError, match=r"images encoded by scenes-saf_bigru-1; expected images encoded by scenes-esl_h_clip-1, "
    ):
        other.read(tmp_path / "items.safetensors")
    with pytest.raises(
        DataError, match=r"^images encoded by scenes-saf_bigru-1; expected images encoded by scenes-esl_h_clip-1$"
    ):
        other.search("a text", again)


def test_a_run_on_computed_features_computes_those_of_pictures(project: Path, runs: Path, tmp_path: Path) -> None:
    extractors.write(tmp_path / "resnet", "resnet")
    extractor = load_extractor(extractors.settings_of("resnet", tmp_path / "resnet"))
    record = runs / SETS / "run.json"
    inputs = read_json(record)["inputs"]
    rewrite(record, inputs={**inputs, "data": {**inputs["data"], "extractor": extractor.description}})
    run = itrcore.load(runs / SETS, device="cpu")
    pictures = pictures_of(project)
    Image.fromarray(np.asarray(pictures[1])).save("one.png")
    given: list[Any] = [pictures[0], "one.png", Path("photos/dog.jpg"), *pictures[2:], *pictures, *pictures]
    opened = [*pictures[:2], Image.open("photos/dog.jpg"), *pictures[2:], *pictures, *pictures]
    expected = run.encode_images(np.concatenate([extractor([picture]).features for picture in opened]))
    texts = run.encode_texts(["a circle", "a square"])
    found = run.similarity(given, texts)
    np.testing.assert_allclose(found, run.similarity(expected, texts), rtol=0, atol=1e-5)
    assert np.ptp(found[:, 0]) > 1e-4


def test_what_cannot_be_done_is_one_line_that_says_why(project: Path, runs: Path) -> None:
    pixels, regions = (itrcore.load(runs / name, device="cpu") for name in (VECTORS, SETS))
    Path("photos/cut.jpg").write_bytes(encoded(photo(0))[:-200])
    missing = np.zeros((2, 3, 16), np.float32)
    missing[1, 2, 5] = np.nan
    texts, images = pixels.encode_texts(["one", "two"]), pixels.encode_images(["photos/dog.jpg"])
    for call, wanted in (
        (lambda: pixels.encode_images(["photos/dog.jpg", "photos/cut.jpg"]), "photos/cut.jpg: damaged or cut short"),
        (lambda: pixels.encode_images("photos/none.jpg"), "photos/none.jpg: cannot be read ([Errno 2] No such file"),
        (lambda: pixels.encode_images([Image.open("photos/cut.jpg")]), "photos/cut.jpg, row 0: cannot be decoded"),
        (lambda: pixels.encode_images([]), "no images; expected at least one"),
        (lambda: pixels.encode_images([3]), "the images given, row 0: a int; expected a path or a PIL picture"),
        (lambda: pixels.encode_images(missing), f"{VECTORS} reads pictures, not arrays; expected paths or PIL pictures"),
        (lambda: regions.encode_images("photos/dog.jpg"), f"{SETS} reads region features of width 16, and its record"),
        (lambda: regions.encode_images(missing[:, :, :5]), "the images given, row 0: an array of 3 × 5 float32; expected "),
        (lambda: regions.encode_images([missing[0], "x"]), "the images given, row 1: an array of  <U1; expected numbers, "),
        (lambda: regions.encode_images(missing), "the images given, row 1: features that are not finite"),
        (lambda: pixels.encode_texts(["one", None]), "the texts given, row 1: a NoneType; expected a text"),
        (lambda: pixels.encode_texts([]), "no texts; expected at least one"),
        (lambda: pixels.search("one", texts), "encoded texts; expected encoded images"),
        (lambda: pixels.search("one", images, k=0), "k is 0; expected at least 1"),
        (lambda: pixels.similarity(texts, texts), "encoded texts; expected encoded images"),
        (lambda: pixels.read("photos/dog.jpg"), "photos/dog.jpg: cannot be read ("),
        (lambda: itrcore.load("photos"), "photos: no run.json in it; expected the folder of a run"),
        (lambda: itrcore.load("photos/dog.jpg"), "photos/dog.jpg: a file; expected the folder of a run"),
        (lambda: itrcore.load(runs / SETS, "cuda:99"), "device cuda:99: it cannot be used ("),
        (lambda: itrcore.load("mlflow:tiny/x"), f"{Path.cwd()}/mlflow.db: no such file; expected MLflow's store."),
    ):  # fmt: skip
        with pytest.raises((DataError, ConfigError)) as refused:
            call()
        assert str(refused.value).startswith(wanted) and "\n" not in str(refused.value), refused.value


def test_the_examples_of_docstrings_and_pages_run(runs: Path) -> None:
    shutil.copytree(runs, "runs/scenes")
    known = {"run": itrcore.load(runs / VECTORS, device="cpu"), "Path": Path}
    for module in (load, retriever):
        failed, tried = doctest.testmod(module, extraglobs=known)
        assert tried and not failed
    for page in ("README.md", "docs/python-api.md"):
        [example] = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)
        names: dict[str, Any] = {"itrcore": itrcore, "pathlib": pathlib}
        exec(example, names)
        assert len(names["gallery"]) == 2


def test_the_notebook_runs(project: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a project with data and runs of the embedded experiment's names."""
    shutil.copytree(runs, "runs/scenes")
    Path("data").mkdir()
    Path("data/scenes").symlink_to(project / "data/tiny")
    Path("docs").mkdir()
    monkeypatch.chdir("docs")
    names: dict[str, Any] = {}
    cells = json.loads((ROOT / "docs/search.ipynb").read_text("utf-8"))["cells"]
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        exec(source, names)
    np.testing.assert_allclose(names["scores"], similarities(SETS, root=project), rtol=0, atol=2e-6)
