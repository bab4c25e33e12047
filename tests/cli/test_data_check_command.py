"""`itr data check` as a command, on whatever the stages have made so far, and the page that it writes."""

from __future__ import annotations

import contextlib
import io
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from itrcore.cli.data import data
from itrcore.data.examine.examination import SAMPLES
from itrcore.data.shards import image_writer, verified, writing
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import DataError
from itrcore.files import read_json, sealed, write_sealed
from tests.support.checked_data import IDS, REGIONS, SIZES, check, clean, only, picture, prepare, write


def run(folder: Path, *options: str, columns: int = 100) -> Any:
    with contextlib.chdir(folder):
        return CliRunner(env={"COLUMNS": str(columns)}).invoke(data, ["check", "toy", *options])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checked data set with markup in captions and names of pictures, boxes of its own for each region, and an error."""
    folder = tmp_path_factory.mktemp("hostile")
    toy = clean()
    for split, boxes in toy.boxes.items():
        for row in range(len(boxes)):
            boxes[row] = [[row + r, 2, row + r + 4.5, 20 + r] for r in range(REGIONS)]
        for texts in toy.captions[split]:
            texts[0] = f"<b>bold</b> & <script>alert(1)</script> {texts[0]}"
    toy.boxes["test"][:, 1, 2] = np.inf
    prepare(toy, folder)
    result = run(folder)
    assert result.exit_code == 1, result.output
    return folder / "checks" / "toy"


class Page(HTMLParser):
    """Elements with their attributes, and the text, of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_every_link_resolves_inside_the_page_and_nothing_runs(hostile: Path) -> None:
    page = Page(hostile / "index.html")
    names = ("href", "src", "srcset", "action", "data", "xlink:href")
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in names]
    assert (
        len([link for link in links if link.endswith(".png")]) == 2 * 2 + 3 + SAMPLES * 2
    )  # plots, samples: dev has 3
    for link in links:
        if not link.startswith("#"):
            target = (hostile / link).resolve()
            assert target.is_file() and target.is_relative_to(hostile.resolve()), link
    assert not page.of("script") and not page.of("b")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<b>bold</b> & <script>alert(1)</script>" in page.text
    assert not re.search(r"https?://", (hostile / "index.html").read_text().replace("http://www.w3.org", ""))


def test_boxes_are_drawn_where_they_are(hostile: Path) -> None:
    page = Page(hostile / "index.html")
    text = (hostile / "index.html").read_text()
    drawn = re.findall(r'<img src="pictures/\d+/(\d+)\.png".*?</div>', text, re.S)
    parts = re.split(r'<img src="pictures/', text)[1:]
    assert len(drawn) == len(parts) == len(page.of("svg")) == 2 * SAMPLES + SIZES["dev"]
    assert {svg["viewbox"] for svg in page.of("svg")} == {"0 0 40 30"}
    for name, part in zip(drawn, parts, strict=True):
        split, row = next((split, int(name) - ids[0]) for split, ids in IDS.items() if int(name) in ids)
        boxes = re.findall(r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', part)
        regions = [0, 2] if split == "test" else [0, 1, 2]  # one box of test is not finite
        assert [tuple(map(float, box)) for box in boxes] == [(row + r, 2, 4.5, 18 + r) for r in regions]


def test_captions_alone_are_shown_without_pictures(tmp_path: Path) -> None:
    toy = clean()
    toy.pictures.clear()
    params = write(toy, tmp_path)
    (tmp_path / "scan" / "images").rmdir()
    from stages import raw, shards, splits, vocab

    with contextlib.chdir(tmp_path):
        for stage in (raw, splits, vocab, shards):
            stage.main(params, "toy")
    result = run(tmp_path)
    assert result.exit_code == 0 and "toy: no problems" in result.output
    page = Page(tmp_path / "checks" / "toy" / "index.html")
    assert not page.of("svg") and len(page.of("img")) == 2  # the plots
    assert page.text.count("runs.") == 2 * SAMPLES + SIZES["dev"]


def test_what_is_not_made_yet_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    params = write(clean(), tmp_path)
    result = run(tmp_path)
    assert result.exit_code == 0
    for stage in ("raw", "splits", "vocab", "shards"):
        assert f"run: dvc repro {stage}@toy" in result.output
    assert "toy: no problems in what has been made; not all has" in result.output

    from stages import raw, splits

    with contextlib.chdir(tmp_path):
        raw.main(params, "toy")
        splits.main(params, "toy")
    result = run(tmp_path)
    assert "dvc repro vocab@toy" in result.output and "dvc repro shards@toy" in result.output
    assert "dvc repro raw@toy" not in result.output and "dvc repro splits@toy" not in result.output
    assert re.search(r"captions +16 +6 +8", result.output) and re.search(r"pictures +8 +3 +4", result.output)
    assert "mean L2 norm" not in result.output


def test_features_that_are_not_finite_and_shards_that_changed_are_errors(tmp_path: Path) -> None:
    params = prepare(clean(), tmp_path)
    folder = tmp_path / "data" / "toy" / "shards" / "regions"
    store = FeatureStore(folder, "train")
    shard = folder / "train-00001.tar"
    content = shard.read_bytes()
    values = store.gather([6])[0].tobytes()
    assert content.count(values) == 1
    shard.chmod(0o644)
    shard.write_bytes(content.replace(values, np.float32([np.nan]).tobytes() + values[4:]))
    damaged, broken = check(tmp_path, params).problems
    assert damaged.severity == broken.severity == "error"
    assert "train-00001.tar" in damaged.examples[0] and "its bytes have changed" in damaged.examples[0]
    assert "not finite" in broken.what and broken.examples == ("train, image 106 (106.png)",)
    result = run(tmp_path)
    assert result.exit_code == 1 and "toy: 2 errors" in result.output and "Traceback" not in result.output


def test_a_damaged_image_shard_is_an_error(tmp_path: Path) -> None:
    params = prepare(clean(), tmp_path)
    params = write(clean(), tmp_path / "b", images={"samples_per_shard": 5, "max_megapixels": 1.0})
    shards = params.dataset("toy").shards
    assert shards.images
    folder = tmp_path / "data" / "toy" / "shards" / "images"
    finished = image_writer.write(
        tmp_path / "data" / "toy" / "captions.parquet", tmp_path / "scan" / "images", shards.images, tmp_path / "work",
        processes=1,
    )  # fmt: skip
    writing.move(finished, folder)
    assert check(tmp_path, params).problems == []
    shard = folder / "test-00000.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    assert "test-00000.tar" in only(check(tmp_path, params)).examples[0]


def test_shards_of_other_images_than_the_captions_are_an_error(tmp_path: Path) -> None:
    from itrcore.data import captions

    params = prepare(clean(), tmp_path)
    table = captions.read_table(tmp_path / "data" / "toy" / "captions.parquet")
    position = table.schema.get_field_index("image_id")
    moved = table.set_column(position, "image_id", [[i + 1000 for i in table["image_id"].to_pylist()]])
    captions.write(moved, tmp_path / "data" / "toy" / "captions.parquet")
    examined = check(tmp_path, params)
    errors = [problem for problem in examined.problems if problem.severity == "error"]
    assert len(errors) == 3 and "other images than the caption table's" in errors[0].examples[0]


def test_source_files_that_are_gone_are_a_warning(tmp_path: Path) -> None:
    params = prepare(clean(), tmp_path)
    (tmp_path / "scan" / "dev_ims.npy").unlink()
    examined = check(tmp_path, params)
    assert only(examined).severity == "warning" and "dev_ims.npy" in only(examined).examples[0]
    assert examined.boxes and set(examined.boxes.splits) == {"train", "test"}


def test_the_page_is_replaced_as_a_whole(tmp_path: Path) -> None:
    prepare(clean(), tmp_path)
    assert run(tmp_path).exit_code == 0
    page = tmp_path / "checks" / "toy"
    (page / "left.txt").write_text("from another check")
    first = (page / "index.html").read_bytes()
    assert run(tmp_path).exit_code == 0
    assert not (page / "left.txt").exists() and (page / "index.html").read_bytes() == first
    assert [path.name for path in page.parent.iterdir()] == ["toy"]


def test_the_tables_stay_whole_in_a_narrow_terminal(tmp_path: Path) -> None:
    toy = clean()
    buffer = io.BytesIO()
    Image.new("L", (8000, 7)).save(buffer, "PNG")
    toy.pictures |= {"100.png": buffer.getvalue(), "101.png": picture(1)}
    prepare(toy, tmp_path)
    result = run(tmp_path, columns=80)
    assert "…" not in result.output
    assert "8000" in result.output and "median share of the picture" in result.output


def test_an_unknown_name_is_one_line(tmp_path: Path) -> None:
    write(clean(), tmp_path)
    with contextlib.chdir(tmp_path):
        result = CliRunner().invoke(data, ["check", "toi"])
    assert result.exit_code == 1 and "did you mean 'toy'?" in result.output and "Traceback" not in result.output


@pytest.mark.parametrize(("kind", "options"), [("regions", []), ("images", ["--verify"])])
def test_shards_that_were_verified_are_read_again_and_what_a_disk_did_to_them_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: list[str]
) -> None:
    prepare(clean(), tmp_path, images={"samples_per_shard": 5, "max_megapixels": 1})
    monkeypatch.setattr(verified, "SETTLED", 0.0)
    time.sleep(0.02)
    result = run(tmp_path, *options)
    assert result.exit_code == 0, result.output
    if options:
        folders = [f"data/toy/shards/{name}" for name in ("regions", "images")]
        assert result.output == "".join(f"{folder}: every shard is as it was written\n" for folder in folders)
        assert not (tmp_path / "checks").exists()
    shards, records = (tmp_path / part / "toy" for part in ("data", "cache/verified"))
    store: Any = {"regions": FeatureStore, "images": ImageStore}[kind](shards / "shards" / kind, "train")
    store.verify(records / kind)

    path = shards / "shards" / kind / "train-00001.tar"
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    state = verified._state
    record = records / kind / "train.json"
    with monkeypatch.context() as rotten:  # as if the disk had done it: it looks untouched
        known = sealed(read_json(record))
        wanted = read_json(shards / "shards" / kind / "shards.json")["splits"]["train"]["shards"][1]["sha256"]
        write_sealed(record, {**known, state(path, wanted)[0]: time.time()})
        rotten.setattr(verified, "sha256", None)
        store.verify(records / kind)  # nothing is read
    result = run(tmp_path, *options)
    assert result.exit_code == 1 and "train-00001.tar" in result.output, result.output
    assert "damaged: its bytes have changed" in " ".join(result.output.split())
    with pytest.raises(DataError, match=r"train-00001\.tar: this file is damaged"):
        store.verify(records / kind)  # from now on, trainings refuse it too


def test_verify_where_there_are_no_shards_says_what_to_do(tmp_path: Path) -> None:
    write(clean(), tmp_path)
    result = run(tmp_path, "--verify")
    assert result.exit_code == 1 and "data/toy/shards: no shards; expected" in result.output
    assert "dvc repro shards@toy" in result.output
