"""Image shards: the files' bytes as they are, read at random or streamed; what cannot be used is named and counted."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from PIL import Image

from itrcore.data import captions, pictures
from itrcore.data.shards import image_writer, writing
from itrcore.data.shards.cache import ShardCache
from itrcore.data.shards.image_writer import UnusablePictures
from itrcore.data.shards.images import ImageShardInfo, ImageStore
from itrcore.errors import DataError
from itrcore.files import read_json, sha256
from itrcore.settings.datasets import ImageShardSettings
from tests.support.picture_data import SETTINGS, PictureFolder, content, encoded, photo, png_header, write_table


@pytest.fixture
def picture_folder(tmp_path: Path) -> PictureFolder:
    return PictureFolder(tmp_path)


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# What is written


def test_every_picture_is_read_back_as_the_bytes_of_its_file(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = picture_folder.write(tmp_path / "out")
    for split, files in picture_folder.files.items():
        store = ImageStore(out, split)
        assert len(store) == len(files)
        for row in reversed(range(len(files))):  # at random, not as they lie
            assert store.bytes(row) == files[row]
            assert np.array_equal(store.image(row), pictures.decode(files[row], Path("x")))
        store.verify()
    assert ImageStore(out, "train").image_ids == list(range(100, 107))


def test_webdataset_streams_files_and_captions(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = picture_folder.write(tmp_path / "out")
    streamed = []
    for number in range(3):
        shard = webdataset.WebDataset(str(out / f"train-{number:05d}.tar"), shardshuffle=False)
        streamed += list(shard)
    images = captions.read(picture_folder.table, "train")
    assert [sample["__key__"] for sample in streamed] == [f"{row:07d}" for row in range(7)]
    for row, (sample, image) in enumerate(zip(streamed, images, strict=True)):
        ending = ["jpg", "jpg", "jpg", "png", "webp", "jpg", "gif"][row]
        assert sample[ending] == picture_folder.files["train"][row]
        assert json.loads(sample["json"]) == {
            "image_id": image.image_id,
            "file_name": image.file_name,
            "caption_ids": image.caption_ids,
            "captions": image.captions,
        }


def test_the_index_says_what_each_picture_is(picture_folder: PictureFolder, tmp_path: Path) -> None:
    picture_folder.put("f.jpg", encoded(photo(0, (40, 80)).convert("L"), "PNG"))  # named .jpg all the same
    out = picture_folder.write(tmp_path / "out")
    with pa.memory_map(str(out / "train.arrow")) as source:
        rows = pa.ipc.open_file(source).read_all().to_pylist()
    assert [row["format"] for row in rows] == ["JPEG", "JPEG", "JPEG", "PNG", "WEBP", "PNG", "GIF"]
    assert {key: rows[5][key] for key in ("width", "height", "mode")} == {"width": 40, "height": 80, "mode": "L"}
    assert ImageStore(out, "train").image(5).size == (40, 80)


def test_the_description_counts_and_names_what_is_converted(picture_folder: PictureFolder, tmp_path: Path) -> None:
    for name in ("a.jpg", "h.jpg"):
        picture_folder.put(name, encoded(photo().convert("L")))
    picture_folder.put("i.jpg", encoded(photo().convert("CMYK")))
    out = picture_folder.write(tmp_path / "out")
    info = ImageShardInfo.read(out)
    assert info.pictures == 10
    assert info.converted == {"CMYK": (1, ["i.jpg"]), "L": (2, ["a.jpg", "h.jpg"]), "P": (1, ["g.gif"])}
    assert "of these greyscale, converted to RGB when read: 2 (a.jpg, h.jpg)" in info.lines()
    described = read_json(out / "shards.json")
    for split in described["splits"].values():
        for file in split["shards"]:
            assert (os.path.getsize(out / file["file"]), sha256(out / file["file"])) == (file["bytes"], file["sha256"])
    assert ImageStore(out, "test").image(0).mode == ImageStore(out, "dev").image(0).mode == "RGB"


def test_of_many_converted_pictures_the_first_few_are_named(tmp_path: Path) -> None:
    picture_folder = PictureFolder(
        tmp_path, {"train": [f"{n}.jpg" for n in range(7)], "dev": ["x.jpg"], "test": ["y.jpg"]}
    )
    for n in range(7):
        picture_folder.put(f"{n}.jpg", encoded(photo().convert("L")))
    lines = ImageShardInfo.read(picture_folder.write(tmp_path / "out")).lines()
    assert lines[1] == "of these greyscale, converted to RGB when read: 7 (0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, …)"


def test_two_processes_write_the_bytes_of_one_without_loading_torch(
    picture_folder: PictureFolder, tmp_path: Path
) -> None:
    one, two = picture_folder.write(tmp_path / "one"), picture_folder.write(tmp_path / "two", processes=2)
    assert written(one) == written(two)
    command = "import itrcore.data.shards.image_writer, sys; sys.exit('torch' in sys.modules)"
    assert os.spawnlp(os.P_WAIT, sys.executable, sys.executable, "-c", command) == 0


# What cannot be used


def test_all_unusable_pictures_are_counted_the_first_named_and_nothing_is_left(
    picture_folder: PictureFolder, tmp_path: Path
) -> None:
    (picture_folder.folder / "a.jpg").unlink()
    picture_folder.put("b.JPG", picture_folder.files["train"][1][:-200])
    picture_folder.put("zebras/d.png", encoded(photo(), "PNG", save_all=True, append_images=[photo(1)]))
    picture_folder.put("f.jpg", png_header(2000, 1000))
    picture_folder.put("h.jpg", b"<!DOCTYPE html>")
    picture_folder.put("i.jpg", b"")
    with pytest.raises(UnusablePictures) as caught:
        picture_folder.write(tmp_path / "out", processes=2)
    first, *lines = str(caught.value).splitlines()
    assert f"{picture_folder.folder}: 6 of 10 pictures cannot be used" in first
    for line, words in zip(
        lines,
        ["a.jpg: no such", "b.JPG: damaged", "an animation", "too large", "no picture", "and 1 more"],
        strict=True,
    ):
        assert words in line
    assert not (tmp_path / "out").exists()
    assert list(picture_folder.work.parent.iterdir()) == []


def test_after_mending_the_shards_are_those_of_a_whole_folder(picture_folder: PictureFolder, tmp_path: Path) -> None:
    picture_folder.put("e.webp", b"")
    with pytest.raises(UnusablePictures, match=r"1 of 10 pictures cannot be used(.|\n)*e\.webp: an empty file"):
        picture_folder.write(tmp_path / "out")
    picture_folder.put("e.webp", picture_folder.files["train"][4])
    assert ImageStore(picture_folder.write(tmp_path / "out"), "train").bytes(4) == picture_folder.files["train"][4]


def test_a_picture_that_changed_is_written_anew_though_shards_were_left(
    picture_folder: PictureFolder, tmp_path: Path
) -> None:
    picture_folder.finished()
    picture_folder.put("a.jpg", content(77, "a.jpg"))
    assert ImageStore(picture_folder.write(tmp_path / "out"), "train").bytes(0) == content(77, "a.jpg")


def test_shards_that_are_finished_are_not_written_again(picture_folder: PictureFolder, tmp_path: Path) -> None:
    finished = picture_folder.finished()
    for path in finished.glob("*.tar"):
        os.utime(path, (1, 1))
    (finished / "train-00001.tar").unlink()
    again = picture_folder.finished()
    assert [path.name for path in again.glob("*.tar") if path.stat().st_mtime > 1] == ["train-00001.tar"]
    writing.move(again, tmp_path / "out")
    assert ImageStore(tmp_path / "out", "train").bytes(3) == picture_folder.files["train"][3]


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    picture_folder = PictureFolder(tmp_path, {"train": ["a.jpg"], "dev": ["../photos/b.jpg"], "test": ["c.jpg"]})
    with pytest.raises(UnusablePictures, match=r"1 of 3 (.|\n)*leads out of this folder"):
        picture_folder.write(tmp_path / "out")


def test_images_without_file_names_are_an_error_that_says_what_to_add(tmp_path: Path) -> None:
    picture_folder = PictureFolder(tmp_path, {"train": ["a.jpg", None], "dev": ["b.jpg"], "test": ["c.jpg"]})
    with pytest.raises(DataError, match=r"1 images of train have no file name.*id_mapping\.json"):
        picture_folder.write(tmp_path / "out")


def test_a_missing_folder_is_named(picture_folder: PictureFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        image_writer.write(picture_folder.table, tmp_path / "elsewhere", SETTINGS, picture_folder.work)


# Damage


def test_a_shard_that_is_missing_cut_or_changed_is_named(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = picture_folder.write(tmp_path / "out")
    shard = out / "train-00001.tar"
    data = shard.read_bytes()
    changed = bytearray(data)
    changed[5000] ^= 1
    shard.write_bytes(changed)
    with pytest.raises(DataError, match=r"train-00001\.tar.*damaged"):
        ImageStore(out, "train").verify()
    shard.write_bytes(data[:-512])
    with pytest.raises(DataError, match=r"train-00001\.tar.*damaged"):
        ImageStore(out, "train")
    shard.unlink()
    with pytest.raises(DataError, match=r"train-00001\.tar.*damaged"):
        ImageStore(out, "train")
    ImageStore(out, "dev")


def test_a_shard_that_is_cut_short_while_in_use_is_named(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = picture_folder.write(tmp_path / "out")
    store = ImageStore(out, "train")
    os.truncate(out / "train-00000.tar", 600)
    with pytest.raises(DataError, match=r"train-00000\.tar.*damaged"):
        store.bytes(2)


def test_a_changed_index_or_description_is_named(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = picture_folder.write(tmp_path / "out")
    index = out / "train.arrow"
    index.write_bytes(index.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"train\.arrow.*damaged"):
        ImageStore(out, "train")
    description = out / "shards.json"
    description.write_text(description.read_text("utf-8").replace('"converted"', '"other"'), "utf-8")
    with pytest.raises(DataError, match=r"shards\.json.*damaged"):
        ImageStore(out, "dev")


# Shards that someone has published


def test_pictures_are_read_from_published_shards(picture_folder: PictureFolder, tmp_path: Path) -> None:
    published, here = picture_folder.write(tmp_path / "published"), tmp_path / "here"
    here.mkdir()
    for name in ("shards.json", "train.arrow"):
        shutil.copy(published / name, here / name)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(published))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        ShardCache(f"http://127.0.0.1:{server.server_port}", tmp_path / "cache").record(here)
        store = ImageStore(here, "train")
        assert [store.bytes(row) for row in range(len(store))] == picture_folder.files["train"]
    finally:
        server.shutdown()
        server.server_close()


# Real photos


def test_real_photos_are_written_and_read_back(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "f30k_photos" / "images_orig"
    names = sorted(path.name for path in folder.iterdir())
    table = write_table(tmp_path / "captions.parquet", {"train": names[:20], "dev": names[20:22], "test": names[22:]})
    settings = ImageShardSettings(samples_per_shard=8, max_megapixels=50.0)
    out = image_writer.write(table, folder, settings, tmp_path / "state" / "images", processes=1)
    store = ImageStore(out, "train")
    for row, name in enumerate(names[:20]):
        assert store.bytes(row) == (folder / name).read_bytes()
        with Image.open(folder / name) as picture:
            assert np.array_equal(store.image(row), picture.convert("RGB"))
