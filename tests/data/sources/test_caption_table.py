"""Splits: Karpathy's JSON alone, SCAN's files alone, and how far the two agree where both are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import stages.splits
from itrcore import layout
from itrcore.data import captions, karpathy, scan, scan_writing
from itrcore.data.captions import Image
from itrcore.data.karpathy import KarpathyImage
from itrcore.data.sources import caption_table
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.settings.datasets import SPLITS
from tests.support.data_stages import STAGES, write_params
from tests.support.scan_data import table_of, write_scan_folder

WHERE = Path("train_caps.txt")


def coco(number: int, split: str, n_captions: int = 5) -> KarpathyImage:
    name = f"COCO_val2014_{number + 900:012}.jpg"
    texts = [f"Image {number}\n caption {k}." for k in range(n_captions)]
    sentids = [100 * number + k for k in range(n_captions)]
    return KarpathyImage(number, name, split, sentids, texts, "val2014", number + 900)


COCO = [coco(0, "restval"), coco(1, "test"), coco(2, "train", 7), coco(3, "val"), coco(4, "train"), coco(5, "restval")]


def scan_images(described: Sequence[KarpathyImage]) -> list[Image]:
    """SCAN's side of the same images: the words are equal, case and punctuation are not."""
    return [Image(i.image_id, i.path, i.sentids, [text.upper() + " !" for text in i.captions]) for i in described]


def test_karpathys_json_alone_makes_the_table_with_restval_after_train() -> None:
    table = caption_table.from_karpathy(Path("dataset_coco.json"), COCO, 5)
    train = captions.images_of(table, "train")
    assert [image.image_id for image in train] == [902, 904, 900, 905]
    assert [image.image_id for image in captions.images_of(table, "dev")] == [903]
    assert train[0].file_name == "val2014/COCO_val2014_000000000902.jpg"
    assert train[0].caption_ids == [200, 201, 202, 203, 204]
    assert train[0].captions[4] == "Image 2 caption 4."


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (COCO[2:], "no image in split test"),
        ([*COCO, coco(6, "val", 4)], r"has 4 captions \(imgid 6\); expected 5 for each image"),
        ([*COCO, replace(coco(7, "val"), captions=["a", "b", " ", "d", "e"])], r"an empty caption \(imgid 7\)"),
    ],
    ids=["no test images", "too few captions", "an empty caption"],
)
def test_what_karpathys_json_lacks_is_refused(images: list[KarpathyImage], message: str) -> None:
    with pytest.raises(DataError, match=message):
        caption_table.from_karpathy(Path("dataset_coco.json"), images, 5)


def test_one_picture_under_two_ids_is_refused(tmp_path: Path) -> None:
    scan_folder = write_scan_folder(tmp_path / "scan")
    names = {i: f"{i}.jpg" for ids in scan_folder.ids.values() for i in ids}
    scan_writing.write_id_mapping(scan_folder.path, {**names, 112: "103.jpg"})
    with pytest.raises(DataError, match=r"image 103 of train and image 112 of test have the same file name, 103\.jpg"):
        table_of(scan_folder.path)


def test_the_same_words_agree_whatever_case_and_punctuation() -> None:
    agreement = caption_table.compare(scan_images([COCO[2], COCO[4], COCO[0]]), COCO, "train", WHERE)
    assert agreement == caption_table.Agreement(described=4, in_order=True, equal=17, differing=[])
    assert "in its order" in str(caption_table.Counts(3, 17, agreement))


def test_images_out_of_the_jsons_order_are_reported() -> None:
    agreement = caption_table.compare(scan_images([COCO[0], COCO[2]]), COCO, "train", WHERE)
    assert not agreement.in_order and "NOT in its order" in str(caption_table.Counts(2, 12, agreement))


def test_other_words_are_counted_and_the_first_rows_named() -> None:
    images = scan_images([COCO[2], COCO[4]])
    for row in (1, 3, 4, 6):
        images[0].captions[row] = f"other {row}"
    agreement = caption_table.compare(images, COCO, "train", WHERE)
    assert agreement.equal == 8
    assert agreement.differing == [f'row {k}: "other {k}" / "Image 2 caption {k}."' for k in (1, 3, 4)]


def test_captions_of_other_images_are_refused_with_the_first_rows() -> None:
    images = scan_images([COCO[2], COCO[4]])
    swapped = [replace(images[0], captions=[*images[1].captions[:5], "a", "b"]), images[1]]
    swapped[1] = replace(images[1], captions=["x"] * 5)
    with pytest.raises(DataError, match=r'train_caps\.txt: 12 of 12 captions .* row 0: "IMAGE 4') as error:
        caption_table.compare(swapped, COCO, "train", WHERE)
    assert "row 2" in str(error.value) and "row 3" not in str(error.value)


def test_the_stage_reports_per_split_and_leaves_nothing_where_the_files_do_not_belong_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scan_folder = write_scan_folder(Path("scan"))
    names = {"train": "train", "dev": "val", "test": "test"}
    described = [
        KarpathyImage(i, f"{i}.jpg", names[split], [10 * i, 10 * i + 1], texts)
        for split in SPLITS
        for i, texts in zip(scan_folder.ids[split], scan_folder.captions[split], strict=True)
    ]
    karpathy.write(Path("scan/dataset_toy.json"), "toy", described)
    params = write_params()
    STAGES["raw"](params, "toy")
    stages.splits.main(params, "toy")
    assert read_json(layout.splits("toy"))["dev"] == {
        "images": 3, "captions": 6,
        "karpathy": {"described": 3, "in_order": True, "equal": 6, "differing": []},
    }  # fmt: skip
    assert "toy train: 7 images, 14 captions; of 7 images in Karpathy's JSON" in capsys.readouterr().out

    layout.captions("toy").unlink()
    layout.splits("toy").unlink()
    lines = Path("scan/test_caps.txt").read_text().splitlines()
    Path("scan/test_caps.txt").write_text("\n".join([*lines[2:], *lines[:2]]) + "\n")
    STAGES["raw"](params, "toy")
    with pytest.raises(DataError, match=r"test_caps\.txt: 8 of 8 captions have other words"):
        stages.splits.main(params, "toy")
    assert not layout.captions("toy").exists() and not layout.splits("toy").exists()


def test_flickr30ks_real_files_agree_with_a_json_made_of_their_own_captions(shared_data: Path) -> None:
    """Karpathy's own JSON cannot be shipped: it is made anew here from dev and test, in its layout."""
    folder = shared_data / "f30k_scan"
    names = scan.read_id_mapping(folder / "id_mapping.json")
    described = []
    for split, theirs in (("dev", "val"), ("test", "test")):
        for image_id, texts in zip(*scan.read_captions(folder, split), strict=True):
            sentids = [5 * image_id + k for k in range(5)]
            described.append(KarpathyImage(image_id, names[image_id], theirs, sentids, texts))
    for split in ("dev", "test"):
        ids, texts_of = scan.read_captions(folder, split)
        images = [
            Image(i, names[i], [5 * i + k for k in range(5)], texts) for i, texts in zip(ids, texts_of, strict=True)
        ]
        agreement = caption_table.compare(images, described, split, folder / f"{split}_caps.txt")
        assert agreement == caption_table.Agreement(len(images), True, 5 * len(images), [])


def test_scans_coco_training_order_is_karpathys_with_restval_after_train(shared_data: Path) -> None:
    listed = {part: (shared_data / f"coco_karpathy/arctic_coco_{part}.txt").read_text().split() for part in _PARTS}
    described = [
        KarpathyImage(number, name, part, [number], ["x"], name.split("_")[1], int(name[-16:-4]))
        for part in _PARTS
        for number, name in enumerate(listed[part], 10**6 * _PARTS.index(part))
    ]
    for split, file in (("train", "train"), ("dev", "devall"), ("test", "testall")):
        ids = [int(line) for line in (shared_data / f"coco_scan/{file}_ids.txt").read_text().split()]
        # One id per image in train, one per caption elsewhere.
        assert [i.image_id for i in karpathy.in_our_order(described, split)] == ids[:: 1 if split == "train" else 5]


_PARTS = ["restval", "test", "train", "val"]
