"""The caption table: every caption once with its image, split and id; ids from Karpathy's file where there is one."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itrcore.data import captions, karpathy, scan_writing
from itrcore.data.karpathy import KarpathyImage
from itrcore.errors import DataError
from itrcore.files import read_json, write_json
from itrcore.settings.datasets import SPLITS
from tests.support.scan_data import ScanFolder, table_of, write_scan_folder, write_table

KARPATHY_SPLITS = {"train": "train", "dev": "val", "test": "test"}


@pytest.fixture
def scan_folder(tmp_path: Path) -> ScanFolder:
    return write_scan_folder(tmp_path / "scan")


def described(scan_folder: ScanFolder, extra_captions: int = 0) -> list[KarpathyImage]:
    """A Karpathy file for the folder, images in reverse order; caption ids are 10 × image id and on."""
    images = []
    for split in SPLITS:
        for image_id, texts in zip(scan_folder.ids[split], scan_folder.captions[split], strict=True):
            texts = [*texts, *["one more"] * extra_captions]
            sentids = [10 * image_id + k for k in range(len(texts))]
            images.append(KarpathyImage(image_id, f"{image_id}.jpg", KARPATHY_SPLITS[split], sentids, texts))
    return images[::-1]


def name_images(scan_folder: ScanFolder) -> None:
    scan_writing.write_id_mapping(scan_folder.path, {i: f"{i}.jpg" for ids in scan_folder.ids.values() for i in ids})


def test_holds_every_caption_once_in_order(scan_folder: ScanFolder, tmp_path: Path) -> None:
    path = write_table(scan_folder, tmp_path / "captions.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [row["caption_id"] for row in rows] == list(range(28))
    for split in SPLITS:
        images = captions.read(path, split)
        assert [image.image_id for image in images] == scan_folder.ids[split]
        assert [image.captions for image in images] == scan_folder.captions[split]
        assert {image.file_name for image in images} == {None}
    assert rows[-1] == {
        "image_id": 113, "file_name": None, "split": "test", "position": 3, "caption_id": 27,
        "text": "the test picture 113 says 1",
    }  # fmt: skip


def test_same_folder_same_bytes(scan_folder: ScanFolder, tmp_path: Path) -> None:
    first = write_table(scan_folder, tmp_path / "a.parquet").read_bytes()
    assert first == write_table(scan_folder, tmp_path / "b.parquet").read_bytes()


def test_images_with_different_numbers_of_captions_stay_apart(scan_folder: ScanFolder, tmp_path: Path) -> None:
    (scan_folder.path / "dev_ids.txt").write_text("5\n5\n5\n9\n7\n7\n")
    images = captions.read(write_table(scan_folder, tmp_path / "captions.parquet"), "dev")
    assert [(image.image_id, len(image.captions)) for image in images] == [(5, 3), (9, 1), (7, 2)]


def test_caption_ids_and_names_come_from_karpathys_file(scan_folder: ScanFolder, tmp_path: Path) -> None:
    name_images(scan_folder)
    karpathy.write(scan_folder.path / "dataset_toy.json", "toy", described(scan_folder, extra_captions=1))
    path = write_table(scan_folder, tmp_path / "captions.parquet")
    for split in SPLITS:
        for image in captions.read(path, split):
            assert image.file_name == f"{image.image_id}.jpg"
            assert image.caption_ids == [10 * image.image_id, 10 * image.image_id + 1]


def test_an_image_of_another_split_than_karpathys_is_named(scan_folder: ScanFolder) -> None:
    name_images(scan_folder)
    images = [
        KarpathyImage(i.imgid, i.filename, "test" if i.imgid == 103 else i.split, i.sentids, i.captions)
        for i in described(scan_folder)
    ]
    karpathy.write(scan_folder.path / "dataset_toy.json", "toy", images)
    with pytest.raises(DataError, match=r"train_ids\.txt: image 3, 103\.jpg, in split train .* expected split test"):
        table_of(scan_folder.path)


def test_more_captions_than_karpathys_are_refused(scan_folder: ScanFolder) -> None:
    name_images(scan_folder)
    images = [
        KarpathyImage(i.imgid, i.filename, i.split, i.sentids[:1], i.captions[:1]) if i.imgid == 108 else i
        for i in described(scan_folder)
    ]
    karpathy.write(scan_folder.path / "dataset_toy.json", "toy", images)
    with pytest.raises(
        DataError,
        match=r"dev_ids\.txt: image 1, 108\.jpg, in split dev with 2 captions; expected split dev and at most 1",
    ):
        table_of(scan_folder.path)


def test_an_image_unknown_to_karpathys_file_is_named(scan_folder: ScanFolder) -> None:
    name_images(scan_folder)
    karpathy.write(scan_folder.path / "dataset_toy.json", "toy", [i for i in described(scan_folder) if i.imgid != 110])
    with pytest.raises(DataError, match=r"test_ids\.txt: image 0, 110\.jpg, is not in Karpathy's JSON"):
        table_of(scan_folder.path)


def test_without_id_mapping_karpathys_file_gives_names_and_is_matched_by_id(
    scan_folder: ScanFolder, tmp_path: Path
) -> None:
    coco = [replace(i, imgid=i.imgid - 100, cocoid=i.imgid, filepath="val2014") for i in described(scan_folder)]
    for images, folder in ((described(scan_folder), ""), (coco, "val2014/")):
        karpathy.write(scan_folder.path / "dataset_toy.json", "toy", images)
        if folder:  # our writer leaves COCO's own fields out
            entries = read_json(scan_folder.path / "dataset_toy.json")
            for entry, image in zip(entries["images"], images, strict=True):
                entry |= {"filepath": image.filepath, "cocoid": image.cocoid}
            write_json(scan_folder.path / "dataset_toy.json", entries)
        path = write_table(scan_folder, tmp_path / "captions.parquet")
        for split in SPLITS:
            for image in captions.read(path, split):
                assert image.file_name == f"{folder}{image.image_id}.jpg"
                assert image.caption_ids == [10 * image.image_id, 10 * image.image_id + 1]


def test_an_id_without_a_file_name_is_named(scan_folder: ScanFolder) -> None:
    scan_writing.write_id_mapping(scan_folder.path, {i: f"{i}.jpg" for i in range(100, 109)})
    with pytest.raises(DataError, match=r"id_mapping\.json: no entry for image id 109 of dev"):
        table_of(scan_folder.path)


def test_a_damaged_or_missing_table_is_named(scan_folder: ScanFolder, tmp_path: Path) -> None:
    path = write_table(scan_folder, tmp_path / "captions.parquet")
    whole = path.read_bytes()
    rng = random.Random(0)
    for damaged in (b"", whole[: len(whole) // 2], whole + b"x", *(flipped(whole, rng) for _ in range(50))):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"captions\.parquet: this file is damaged: its bytes .* Run: itr heal"):
            captions.read(path, "train")
    path.write_bytes(whole)
    record = path.with_name("splits.json")
    for content in (record.read_text("utf-8").replace("0", "1"), "{}", "[", None):
        record.write_text(content, "utf-8") if content is not None else record.unlink()
        with pytest.raises(DataError, match=r"splits\.json: this file is damaged"):
            captions.read(path, "train")
    path.unlink()
    with pytest.raises(DataError, match=r"captions\.parquet: no such file"):
        captions.read(path, "train")


def flipped(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def test_a_bit_of_a_table_without_a_record_changes_no_caption(scan_folder: ScanFolder, tmp_path: Path) -> None:
    path = write_table(scan_folder, tmp_path / "captions.parquet")
    whole, table, rng = path.read_bytes(), captions.read_published(path), random.Random(0)
    refused = 0
    for _ in range(300):
        path.write_bytes(flipped(whole, rng))
        try:
            assert captions.read_published(path).equals(
                table
            )  # the flipped bit says nothing, such as who wrote the file
        except DataError:
            refused += 1
    assert refused > 150


ROWS = {"image_id": [1, 1, 2, 3, 4], "file_name": [None] * 5, "split": ["train", "train", "train", "dev", "test"],
        "position": [0, 0, 1, 0, 0], "caption_id": [0, 1, 2, 3, 4], "text": list("abcde")}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"caption_id": None}, r"cannot be read \(no column caption_id of int64"),
        ({"text": [1, 2, 3, 4, 5]}, r"cannot be read \(no column text of string"),
        ({"text": ["a", None, "c", "d", "e"]}, "text is missing in 1 rows"),
        ({"split": ["train", "train", "train", "val", "test"]}, "it has rows of other splits than train, dev, test"),
        ({"split": ["train", "train", "train", "test", "test"], "position": [0, 0, 1, 0, 1]}, "the images of dev"),
        ({"position": [0, 0, 2, 0, 0]}, "the images of train are not in the order"),
        ({"position": [0, 1, 0, 0, 0]}, "the images of train are not in the order"),
        ({"image_id": [1, 9, 2, 3, 4]}, "two images of train have one position"),
    ],
)
def test_what_is_no_caption_table_is_refused(changes: dict[str, Any], found: str, tmp_path: Path) -> None:
    rows = {name: values for name, values in {**ROWS, **changes}.items() if values is not None}
    fields = {field.name: field.type for field in captions.SCHEMA} | (
        {"text": pa.int64()} if rows["text"][0] == 1 else {}
    )
    table = pa.table({name: pa.array(values, fields[name]) for name, values in rows.items()})
    path = tmp_path / "captions.parquet"
    captions.write(table, path)
    with pytest.raises(DataError, match=rf"captions\.parquet: {found}"):
        captions.read(path, "train")
