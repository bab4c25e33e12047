"""An index of pictures: what a search finds is what the run itself finds, whatever was added, changed, killed or damaged before."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import itrcore
from itrcore import layout
from itrcore.cli.app import app
from itrcore.data import captions
from itrcore.data.shards.images import ImageStore
from itrcore.errors import DataError
from itrcore.index import build, gallery, neighbours
from itrcore.index.opened import PictureIndex, open_index
from itrcore.index.rescoring import Rescorer, lost
from itrcore.index.unfinished import Unfinished
from itrcore.ranking import metrics, ranks
from itrcore.retriever.retriever import Retriever
from tests.support.picture_data import encoded, photo
from tests.support.tiny_project import PIXELS, prepare, rewrite, train_in

VECTORS, SETS = "runs/tiny/one", "runs/tiny/two"  # with a vector for each picture; on regions, without
TEXTS = ["a dog on a beach", "two people", "a red circle"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    recipes = {
        "methods.esl_clip.recipe.epochs": 1,
        "methods.saf.recipe.epochs": 2,
        "methods.saf.recipe.schedule.epochs": [1],
    }
    prepare(folder, {**PIXELS, **recipes, "runs.two.method": "saf", "ensembles": {}})
    for name in ("one", "two"):
        train_in(folder, name)
    return folder


@pytest.fixture
def inside(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos in a folder of their own, and the project as the working folder."""
    (tmp_path / "photos/below").mkdir(parents=True)
    for number in range(6):
        put(tmp_path / "photos", f"{'below/' * (number > 3)}{number}.jpg", number)
    monkeypatch.chdir(project)
    return tmp_path


@pytest.fixture(scope="module")
def run(project: Path) -> Retriever:
    return itrcore.load(project / VECTORS, "cpu")


def put(folder: Path, name: str, number: int) -> None:
    (folder / name).write_bytes(encoded(photo(number)))


def index(run: Retriever, inside: Path, out: str = "index", **options: Any) -> build.Built:
    return build.build(run, str(Path(VECTORS).resolve()), inside / out, inside / "photos", **options)


def opened(run: Retriever, inside: Path, out: str = "index") -> PictureIndex:
    return open_index(inside / out, run=run)


def test_a_flat_index_finds_what_the_run_finds(run: Retriever, inside: Path) -> None:
    index(run, inside)
    pictures = opened(run, inside)
    paths = sorted((inside / "photos").rglob("*.jpg"))
    encoded_once = run.encode_images(paths)
    for text in TEXTS:
        found = pictures.search(text, 4)
        expected = run.search(text, encoded_once, 4)
        assert [match.name for match in found] == [
            paths[match.item].relative_to(inside / "photos").as_posix() for match in expected
        ]
        np.testing.assert_allclose([m.score for m in found], [m.score for m in expected], rtol=0, atol=1e-6)
        assert pictures.picture(found[0].item) == paths[expected[0].item].read_bytes()
    itself = pictures.search(inside / "photos/below/5.jpg", 2)[0]
    assert itself.name == "below/5.jpg" and itself.score == pytest.approx(1)
    assert open_index(inside / "index", "cpu").retriever.weights == run.weights


def test_an_index_of_a_data_set_finds_what_evaluate_compares(run: Retriever, inside: Path) -> None:
    build.build(run, VECTORS, inside / "index", data="tiny", split="test")
    pictures, table = opened(run, inside), captions.read(layout.captions("tiny"), "test")
    store = ImageStore(layout.image_shards("tiny"), "test")
    scores = run.similarity([store.image(row) for row in range(len(store))], [table[0].captions[0]])[:, 0]
    found = pictures.search(table[0].captions[0], 3)
    assert [match.name for match in found] == [
        str(table[row].image_id) for row in np.argsort(-scores, kind="stable")[:3]
    ]
    assert pictures.captions(0) == table[0].captions and pictures.picture(1) == store.bytes(1)


def test_only_what_is_new_is_encoded_and_the_index_is_as_if_built_anew(
    run: Retriever, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index(run, inside).encoded == 6
    with monkeypatch.context() as patch:
        patch.setattr(gallery, "sha256", None)  # unchanged ones are not read
        assert (again := index(run, inside)).encoded == 0 and again.kept == 6
    photos = inside / "photos"
    put(photos, "1.jpg", 11)
    put(photos, "new.png", 12)
    (photos / "2.jpg").rename(photos / "below/renamed.jpg")
    (photos / "3.jpg").unlink()
    (photos / "0.jpg").touch()
    (photos / "cut.jpg").write_bytes(encoded(photo(13))[:-300])
    changed = index(run, inside)
    assert (changed.encoded, changed.kept, changed.dropped) == (2, 4, 2)
    assert list(changed.skipped) == ["cut.jpg"] and "damaged or cut short" in changed.skipped["cut.jpg"]
    index(run, inside, "anew")
    assert (inside / "index/items.parquet").read_bytes() == (inside / "anew/items.parquet").read_bytes()
    ours, anew = opened(run, inside).vectors, opened(run, inside, "anew").vectors
    np.testing.assert_allclose(ours, anew, rtol=0, atol=1e-6)  # of batches of other sizes


def test_what_cannot_be_opened_or_built_is_one_line(project: Path, run: Retriever, inside: Path) -> None:
    index(run, inside)
    for file in ("vectors.npy", "items.parquet", "index.json"):
        shutil.copytree(inside / "index", inside / "damaged", dirs_exist_ok=True)
        path = inside / "damaged" / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"damaged/{file}: .*damaged.*Run itr index again") as refused:
            opened(run, inside, "damaged")
        assert "\n" not in str(refused.value)
    rewrite(inside / "index/index.json", weights="0" * 64)
    with pytest.raises(DataError, match=r"other weights of one encoded its pictures .* Run itr index again"):
        opened(run, inside)
    assert index(run, inside).encoded == 6  # other weights: all of them
    with pytest.raises(DataError, match=r"^two: its items have no vector each, as it compares sets"):
        build.build(itrcore.load(SETS, "cpu"), SETS, inside / "sets", data="tiny", split="test")
    with pytest.raises(DataError, match=r"it is an index of .*/photos; expected one of the same pictures"):
        build.build(run, VECTORS, inside / "index", data="tiny", split="test")
    with pytest.raises(DataError, match=r"it holds something else; expected an index, or nothing"):
        build.build(run, VECTORS, inside / "photos", inside / "photos")
    assert not [name for name in os.listdir(inside) if name.endswith(".tmp")]


def test_a_kill_loses_no_picture_that_was_encoded(
    run: Retriever, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(run, inside)
    before = {path.name: path.read_bytes() for path in (inside / "index").iterdir()}
    monkeypatch.setattr(build, "_BLOCK", 2)
    for number in range(6, 11):
        put(inside / "photos", f"{number}.jpg", number)
    add, kept = Unfinished.add, list[int]()

    def killed(blocks: Unfinished, *given: Any) -> None:
        add(blocks, *given)
        kept.append(len(given[0]))
        if len(kept) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        torch.set_num_threads(1)
        monkeypatch.setattr(Unfinished, "add", killed)
        index(run, inside)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert {path.name: path.read_bytes() for path in (inside / "index").iterdir()} == before
    assert opened(run, inside).search(TEXTS[0], 1)
    assert index(run, inside).encoded == 1
    index(run, inside, "anew")
    ours, anew = opened(run, inside).vectors, opened(run, inside, "anew").vectors
    np.testing.assert_allclose(ours, anew, rtol=0, atol=1e-6)
    assert not (inside / ".index.unfinished").exists()


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
def test_an_approximate_index_says_how_much_it_finds_and_gives_exact_scores(kind: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2500, 24), dtype=np.float32)
    queries = rng.standard_normal((40, 24), dtype=np.float32) + 0.5
    built = neighbours.Approximate.build(vectors, kind)
    tuned = built.tune(queries, 0.8)
    built.write(tmp_path / "i.faiss")
    read = neighbours.Approximate.read(tmp_path / "i.faiss", vectors, tuned.effort)
    scores, items = read.search(queries, 10)
    products = queries @ vectors.T
    nearest = np.argsort(-products, axis=1, kind="stable")[:, :10]
    shares = [len(set(ours) & set(right)) / 10 for ours, right in zip(items.tolist(), nearest.tolist(), strict=True)]
    assert 0.8 <= tuned.recall == pytest.approx(np.mean(shares))
    np.testing.assert_allclose(scores, np.take_along_axis(products, items, axis=1), rtol=0, atol=1e-4)
    assert read.measure(queries, nearest, 1).recall < tuned.recall  # less effort finds less
    own = np.arange(40)  # queries that are in the index: the other ten nearest count
    tuned = read.tune(vectors[own], 0.5, own)
    _, items = read.search(vectors[own], 11)
    others = np.argsort(-(vectors[own] @ vectors.T - 1e9 * np.eye(40, 2500)), axis=1)[:, :10]
    assert tuned.recall == pytest.approx(np.mean([np.isin(*pair).mean() for pair in zip(others, items, strict=True)]))
    with pytest.raises(DataError, match=r"an index of 2,500 vectors of width 24; expected one of 2,499"):
        neighbours.Approximate.read(tmp_path / "i.faiss", vectors[1:], 1)


def test_an_hnsw_index_is_used_kept_and_checked(run: Retriever, inside: Path) -> None:
    flat, hnsw = index(run, inside, "flat"), index(run, inside, kind="hnsw")
    assert hnsw.record.kind == "hnsw" and hnsw.record.recall == 1 and flat.record.effort is None
    compared = [opened(run, inside, name).search(TEXTS[0], 6) for name in ("index", "flat")]
    assert [match.item for match in compared[0]] == [match.item for match in compared[1]]
    assert index(run, inside, kind="hnsw").record == hnsw.record
    assert index(run, inside, kind="hnsw", recall=0.5).record.wanted == 0.5
    (inside / "photos/0.jpg").touch()
    index(run, inside, kind="hnsw")
    path = inside / "index/index.faiss"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"index.faiss: this file is damaged"):
        opened(run, inside)


def test_with_all_proposed_a_set_method_ranks_as_it_does_itself(run: Retriever, inside: Path) -> None:
    build.build(run, VECTORS, inside / "index", data="tiny", split="test")
    pictures, sets = opened(run, inside), itrcore.load(SETS, "cpu")
    table = captions.read(layout.captions("tiny"), "test")
    n, text = len(pictures), table[3].captions[1]
    features = pictures.gallery.given([pictures.name(item) for item in range(n)], sets.input)
    encoded_once = sets.encode_images(features)
    ranked, first = Rescorer(pictures, sets).search(text, n, n), Rescorer(pictures, sets).search(text, 2, 3)
    assert [(m.item, pytest.approx(m.score, abs=1e-5)) for m in ranked] == sets.search(text, encoded_once, n)
    proposed = {match.item for match in pictures.search(text, 3)}
    assert [match.item for match in first] == [match.item for match in ranked if match.item in proposed][:2]

    texts, right = zip(*((text, row) for row, image in enumerate(table) for text in image.captions), strict=True)
    found = lost(pictures, sets, texts, right, [1, 3, 50])
    hits = []
    for text, row in zip(texts, right, strict=True):
        first = Rescorer(pictures, sets).search(text, 1, 3)
        hits.append(first[0].item == row)
    assert found["R@1"][3] == pytest.approx(100 * np.mean(hits)) and list(found["R@1"]) == [1, 3, n]
    own = metrics(ranks(sets.similarity(encoded_once, list(texts)), np.array(right)))
    assert found["R@1"][n] == pytest.approx(own["t2i_r1"]) and found["R@5"][n] == pytest.approx(own["t2i_r5"])
    assert found["same first"][n] == 100 > found["same first"][1]


def test_the_commands_answer_and_leave_a_page(run: Retriever, inside: Path) -> None:
    shown = CliRunner(env={"COLUMNS": "100"})
    made = shown.invoke(app, ["index", "one", "--pictures", str(inside / "photos"), "--out", "indexes/photos"])
    assert "6 pictures: 6 encoded now, 0 known before, 0 dropped" in made.output, made.output
    record = json.loads(Path("indexes/photos/index.json").read_text("utf-8"))
    assert record["where"] == "../../runs/tiny/one"  # it goes with the project; the pictures lie elsewhere
    assert record["folder"] == str(inside / "photos")
    picture = str(inside / "photos/2.jpg")
    for arguments, first in ((["A dog / on a beach"], ""), (["--image", picture], "2.jpg")):
        done = shown.invoke(app, ["search", *arguments, "--top", "3", "--out", str(inside / "page")])
        assert done.exit_code == 0 and first in done.output.splitlines()[3], done.output
        page = (inside / "page/index.html").read_text("utf-8")
        assert page.count("<li>") == 3 == len(re.findall(r'class="shown" src="pictures/\d.jpg"', page))
    for arguments, why in (
        (["search"], "expected either a text or --image"),
        (["search", "x", "--index", "none"], "none/index.json: no such file; expected the folder of an index"),
        (["search", "x", "--out", str(inside / "photos")], "photos: it holds something else; expected a page"),
        (["index", "one"], "expected either --pictures or --data"),
        (["index", "one", "--pictures", "none"], "/none: no such folder"),
        (["index", "nobody", "--data", "tiny"], "nobody"),
    ):
        refused = shown.invoke(app, arguments)
        assert refused.exit_code == 1 and why in refused.output.replace("\n", ""), refused.output
