"""Karpathy's split files: read back as written, COCO's extra split understood, damage named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from itrcore.data import karpathy
from itrcore.data.karpathy import KarpathyImage
from itrcore.errors import DataError


def entry(imgid: int, split: str = "train", /, **changes: Any) -> dict[str, Any]:
    sentids = [imgid * 2, imgid * 2 + 1]
    return {
        "imgid": imgid,
        "filename": f"{imgid}.jpg",
        "split": split,
        "sentids": sentids,
        "sentences": [
            {"raw": f"Caption {s}.", "tokens": ["caption"], "imgid": imgid, "sentid": s} for s in sentids
        ],
        **changes,
    }  # fmt: skip


def written(folder: Path, *entries: Any) -> Path:
    path = folder / "dataset_toy.json"
    path.write_text(json.dumps({"images": entries, "dataset": "toy"}))
    return path


def test_reads_every_field_in_the_files_order(tmp_path: Path) -> None:
    images = karpathy.read(written(tmp_path, entry(4, "test"), entry(0, "val")))
    assert images[0] == KarpathyImage(4, "4.jpg", "test", [8, 9], ["Caption 8.", "Caption 9."])
    assert [image.imgid for image in images] == [4, 0]


def test_restval_is_trained_on_and_val_is_dev(tmp_path: Path) -> None:
    splits = ("train", "restval", "val", "test")
    images = karpathy.read(written(tmp_path, *(entry(i, split) for i, split in enumerate(splits))))
    assert [image.our_split for image in images] == ["train", "train", "dev", "test"]


def test_reads_back_what_it_wrote(tmp_path: Path) -> None:
    images = [
        KarpathyImage(0, "a.jpg", "train", [0, 1], ["A café, re-opened!", 'He said "hi".']),
        KarpathyImage(1, "b.jpg", "test", [2], ["Two dogs."]),
    ]
    karpathy.write(tmp_path / "dataset_toy.json", "toy", images)
    assert karpathy.read(tmp_path / "dataset_toy.json") == images
    first = json.loads((tmp_path / "dataset_toy.json").read_text("utf-8"))["images"][0]
    assert first["sentences"][0]["tokens"] == ["a", "café", "re-opened"]
    assert {"imgid": 0, "sentid": 1}.items() <= first["sentences"][1].items()


def test_fields_of_the_real_files_that_we_do_not_use_are_allowed(tmp_path: Path) -> None:
    assert len(karpathy.read(written(tmp_path, entry(0, filepath="val2014", cocoid=391895)))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "validation"}, r"row 1: split 'validation'; expected one of train, restval, val, test"),
        ({"sentids": [2, 4]}, "row 1: `sentids` disagrees"),
        ({"sentids": ["x", 3]}, "row 1: sentids, number 0, is 'x'; expected a whole number"),
        ({"sentids": None}, "row 1: image entry lacks or garbles"),
        ({"sentences": [{"sentid": 2}]}, "row 1: image entry lacks or garbles 'raw'"),
        ({"sentences": 5}, "row 1: image entry lacks or garbles"),
        ({"imgid": "one"}, "row 1: imgid is 'one'; expected a whole number"),
        ({"imgid": None}, "row 1: imgid is null; expected a whole number"),
        ({"imgid": 1.5}, r"row 1: imgid is 1\.5; expected a whole number"),
        ({"imgid": True}, "row 1: imgid is true; expected a whole number"),
        ({"imgid": 2**63}, "row 1: imgid is 9223372036854775808; expected a whole number"),
        ({"cocoid": None}, "row 1: cocoid is null; expected a whole number"),
        ({"filename": None}, "row 1: filename is null; expected text. Correct the entry"),
        ({"filename": ["1.jpg"]}, "row 1: filename is a list; expected text"),
        ({"filepath": None}, "row 1: filepath is null; expected text"),
        ({"filepath": 2014}, "row 1: filepath is 2014; expected text"),
        ({"split": None}, "row 1: split is null; expected text"),
        ({"sentences": [{"sentid": 2, "raw": "a"}, {"sentid": 3, "raw": None}]}, "raw of sentence 1 is null; expected"),
        ({"sentences": [{"sentid": 2, "raw": {"text": "a"}}]}, "raw of sentence 0 is an object; expected text"),
        ({"sentences": [{"sentid": None, "raw": "a"}]}, "sentid of sentence 0 is null; expected a whole number"),
        ({"imgid": 0}, "imgid 0 comes twice"),
        ({"filename": "0.jpg"}, "filename 0.jpg comes twice"),
        ({"sentids": [1, 3], "sentences": [{"raw": "a", "sentid": 1}, {"raw": "b", "sentid": 3}]}, "sentid 1 comes"),
    ],
)
def test_an_image_that_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        karpathy.read(written(tmp_path, entry(0), entry(1, **changes)))
    assert "dataset_toy.json" in str(caught.value)


@pytest.mark.parametrize("item", [None, 3, "text", [1]])
def test_an_entry_that_is_no_object_is_named(tmp_path: Path, item: object) -> None:
    with pytest.raises(DataError, match="row 1: image entry lacks or garbles"):
        karpathy.read(written(tmp_path, entry(0), item))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"images": {}}', b'{"dataset": "toy"}'])
def test_a_file_that_is_not_karpathys_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dataset_toy.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"dataset_toy\.json: (not valid JSON|no list `images`)"):
        karpathy.read(path)
    with pytest.raises(DataError, match="no such file"):
        karpathy.read(tmp_path / "absent.json")
