"""SCAN's layout: both conventions read alike, and every kind of damage named by file and row."""

from __future__ import annotations

import gzip
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from itrcore.arrays import open_array
from itrcore.data import scan, scan_writing
from itrcore.errors import DataError
from tests.support.scan_data import OWN_NAMES, ScanFolder, image, write_scan_folder


@pytest.fixture
def scan_folder(tmp_path: Path) -> ScanFolder:
    return write_scan_folder(tmp_path / "scan")


def write_lines(path: Path, lines: list[object]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def refuses(match: str, folder: Path, split: str = "train") -> str:
    """The message of the error that opening the split raises."""
    with pytest.raises(DataError, match=match) as caught:
        scan.open_split(folder, split)
    return str(caught.value)


# Both conventions


@pytest.mark.parametrize("rows_per", ["image", "caption"])
@pytest.mark.parametrize("ids_per", ["image", "caption"])
def test_both_conventions_give_the_same_split(scan_folder: ScanFolder, rows_per: str, ids_per: str) -> None:
    ids, features, captions = scan_folder.ids["train"], scan_folder.features["train"], scan_folder.captions["train"]
    per = len(captions[0])
    np.save(scan_folder.path / "train_ims.npy", features if rows_per == "image" else np.repeat(features, per, axis=0))
    write_lines(scan_folder.path / "train_ids.txt", [i for i in ids for _ in range(per if ids_per == "caption" else 1)])
    split = scan.open_split(scan_folder.path, "train")
    assert (split.image_ids, split.captions, len(split)) == (ids, captions, len(ids))
    for i in range(len(ids)):
        np.testing.assert_array_equal(image(split, i), features[i])


def test_images_may_have_different_numbers_of_captions_where_ids_say_so(scan_folder: ScanFolder) -> None:
    features = scan_folder.features["dev"]
    write_lines(scan_folder.path / "dev_ids.txt", [5, 5, 5, 9, 7, 7])
    write_lines(scan_folder.path / "dev_caps.txt", ["a", "b", "c", "d", "e", "f"])
    np.save(scan_folder.path / "dev_ims.npy", features[[0, 0, 0, 1, 2, 2]])
    split = scan.open_split(scan_folder.path, "dev")
    assert split.image_ids == [5, 9, 7] and split.captions == [["a", "b", "c"], ["d"], ["e", "f"]]
    for i in range(3):
        np.testing.assert_array_equal(image(split, i), features[i])


def test_repeated_rows_that_differ_are_named(scan_folder: ScanFolder) -> None:
    rows = np.repeat(scan_folder.features["dev"], 2, axis=0)
    rows[3, 1, 2] += 1e-3
    np.save(scan_folder.path / "dev_ims.npy", rows)
    split = scan.open_split(scan_folder.path, "dev")
    image(split, 0)
    with pytest.raises(DataError, match=r"dev_ims\.npy, row 3: .* row 2, though both are of image 108"):
        image(split, 1)


def test_written_splits_read_back(scan_folder: ScanFolder) -> None:
    for name in OWN_NAMES:
        split = scan.open_split(scan_folder.path, name)
        assert (split.image_ids, split.captions) == (scan_folder.ids[name], scan_folder.captions[name])
        np.testing.assert_array_equal(split.features, scan_folder.features[name])


def test_gzipped_captions_read_the_same(scan_folder: ScanFolder) -> None:
    plain = scan_folder.path / "train_caps.txt"
    plain.with_name("train_caps.txt.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert scan.read_captions(scan_folder.path, "train")[1] == scan_folder.captions["train"]


def test_line_ends_of_windows_and_unicode_do_not_split_captions(scan_folder: ScanFolder) -> None:
    (scan_folder.path / "dev_caps.txt").write_bytes("a\u2028b\r\n c\x85d \r\ne\x0bf\ng\r\nh\ni".encode())
    assert scan.read_captions(scan_folder.path, "dev")[1] == [["a\u2028b", "c\x85d"], ["e\x0bf", "g"], ["h", "i"]]


# Captions and ids that are wrong


@pytest.mark.parametrize("keep", [13, 12, 1])
def test_captions_that_are_no_multiple_of_the_images(scan_folder: ScanFolder, keep: int) -> None:
    lines = [caption for group in scan_folder.captions["train"] for caption in group][:keep]
    write_lines(scan_folder.path / "train_caps.txt", list(lines))
    message = refuses("multiple of the images", scan_folder.path)
    assert "train_caps.txt" in message and f"{keep} captions for 7 images in train_ids.txt" in message


def test_an_empty_caption_is_named_by_row(scan_folder: ScanFolder) -> None:
    path = scan_folder.path / "train_caps.txt"
    path.write_text(path.read_text().replace("the train picture 102 says 1", " \t"))
    refuses(r"train_caps\.txt, row 5: found an empty line", scan_folder.path)


@pytest.mark.parametrize("zipped", [False, True])
def test_text_that_is_not_utf8_is_named_by_row(scan_folder: ScanFolder, zipped: bool) -> None:
    path = scan_folder.path / "train_caps.txt"
    data = path.read_bytes().replace(b"picture 103 says 0", "caf\xe9".encode("latin-1"))
    if zipped:
        path.unlink()
        path, data = path.with_name("train_caps.txt.gz"), gzip.compress(data)
    path.write_bytes(data)
    refuses(rf"{re.escape(path.name)}, row 6: bytes that are not UTF-8", scan_folder.path)


@pytest.mark.parametrize("wrong", ["abc", "", "-3", "1.5", "²", "12 13"])
def test_an_id_that_is_not_a_number_is_named_by_row(scan_folder: ScanFolder, wrong: str) -> None:
    write_lines(
        scan_folder.path / "train_ids.txt", [*scan_folder.ids["train"][:4], wrong, *scan_folder.ids["train"][5:]]
    )
    refuses(r"train_ids\.txt, row 4: found .*; expected an image id: digits", scan_folder.path)


@pytest.mark.parametrize("ids", [[1, 2, 3, 4, 2, 6, 7], [1, 1, 2, 2, 1, 1, 3, 3, 4, 4, 5, 5, 6, 6]])
def test_an_id_that_comes_twice_is_named_by_row(scan_folder: ScanFolder, ids: list[object]) -> None:
    write_lines(scan_folder.path / "train_ids.txt", ids)
    message = refuses(r"train_ids\.txt, row 4: found id (1|2) again", scan_folder.path)
    assert "first in row 0" in message or "first in row 1" in message


def test_an_id_in_two_splits_is_named(scan_folder: ScanFolder) -> None:
    write_lines(
        scan_folder.path / "test_ids.txt",
        [110, 110, 111, 111, scan_folder.ids["train"][2], scan_folder.ids["train"][2], 113, 113],
    )
    ids = {name: scan.read_captions(scan_folder.path, name)[0] for name in OWN_NAMES}
    with pytest.raises(DataError, match=r"test_ids\.txt: image id 102 \(image 2\) is in split train as well"):
        scan.check_ids(scan_folder.path, OWN_NAMES, ids)


def test_one_split_given_as_two_is_refused(scan_folder: ScanFolder) -> None:
    names = {"train": "train", "dev": "test", "test": "test"}
    with pytest.raises(DataError, match="in split dev as well"):
        scan.check_ids(scan_folder.path, names, {name: scan_folder.ids[prefix] for name, prefix in names.items()})


@pytest.mark.parametrize("name", ["train_caps.txt", "train_ids.txt", "train_ims.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "folder"])
def test_a_missing_empty_or_wrong_kind_of_file_is_named(scan_folder: ScanFolder, name: str, damage: str) -> None:
    path = scan_folder.path / name
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "empty":
        path.write_bytes(b"")
    refuses(re.escape(name), scan_folder.path)


def test_damaged_gzip_is_named(scan_folder: ScanFolder) -> None:
    plain = scan_folder.path / "train_caps.txt"
    whole = gzip.compress(plain.read_bytes())
    plain.unlink()
    for damaged in (whole[:-9], whole[:20], b"not gzip at all", whole[:30] + b"\xff\xff" + whole[32:]):
        plain.with_name("train_caps.txt.gz").write_bytes(damaged)
        refuses(r"train_caps\.txt\.gz: damaged", scan_folder.path)


# Features that are wrong


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows_per", ["image", "caption"])
def test_a_value_that_is_not_finite_is_named_by_row(scan_folder: ScanFolder, value: float, rows_per: str) -> None:
    features = scan_folder.features["dev"].copy()
    features = features if rows_per == "image" else np.repeat(features, 2, axis=0)
    row = 2 if rows_per == "image" else 5  # the last repetition of the third image
    features[row, 1, 3] = value
    np.save(scan_folder.path / "dev_ims.npy", features)
    split = scan.open_split(scan_folder.path, "dev")
    image(split, 1)
    with pytest.raises(DataError, match=rf"dev_ims\.npy, row {row}: found {value}; expected finite numbers"):
        image(split, 2)


def test_a_truncated_array_names_the_row_where_it_ends(scan_folder: ScanFolder) -> None:
    path = scan_folder.path / "train_ims.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2 * 48 - 7])  # a row has 3 × 4 × 4 = 48 bytes; two and a bit of 7 are missing
    message = refuses("ends inside row 4", scan_folder.path)
    assert "train_ims.npy" in message and f"{len(whole):,} bytes for shape (7, 3, 4)" in message


def test_an_array_with_bytes_too_many_is_refused(scan_folder: ScanFolder) -> None:
    with open(scan_folder.path / "train_ims.npy", "ab") as handle:
        handle.write(b"\0" * 48)
    refuses(r"train_ims\.npy: the file has .* bytes", scan_folder.path)


def test_a_pickled_array_is_refused_without_running_it(scan_folder: ScanFolder) -> None:
    witness = scan_folder.path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(witness),)

    np.save(scan_folder.path / "train_ims.npy", np.array([Evil()] * 7, object), allow_pickle=True)
    refuses("pickled Python objects", scan_folder.path)
    (scan_folder.path / "train_ims.npy").write_bytes(pickle.dumps(Evil()))
    refuses(r"train_ims\.npy: not a readable \.npy", scan_folder.path)
    assert not witness.exists()


@pytest.mark.filterwarnings("ignore")
def test_any_damage_to_the_header_is_an_error_of_ours_or_harmless(scan_folder: ScanFolder) -> None:
    path = scan_folder.path / "train_ims.npy"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in range(128):
        for value in (*b"()'{\n0", *rng.integers(0, 256, 2)):
            damaged = bytearray(whole)
            damaged[position] = value
            path.write_bytes(damaged)
            try:
                open_array(path)
            except DataError as error:
                assert "train_ims.npy" in str(error)


@pytest.mark.parametrize("shape", [(7, 12), (7, 3, 2, 2), (7,)])
def test_features_that_are_not_sets_of_regions_are_refused(scan_folder: ScanFolder, shape: tuple[int, ...]) -> None:
    np.save(scan_folder.path / "train_ims.npy", np.zeros(shape, np.float32))
    refuses(r"train_ims\.npy: found float32 of shape .*; expected floats \(rows, regions, width\)", scan_folder.path)


@pytest.mark.parametrize("dtype", [np.int64, np.complex64, bool, "S4"])
def test_features_that_are_not_floats_are_refused(scan_folder: ScanFolder, dtype: object) -> None:
    np.save(scan_folder.path / "train_ims.npy", np.zeros((7, 3, 4), dtype))  # type: ignore[call-overload]
    refuses("expected floats", scan_folder.path)


@pytest.mark.parametrize("rows", [6, 8, 13, 28])
def test_features_of_other_rows_than_images_or_captions_are_refused(scan_folder: ScanFolder, rows: int) -> None:
    np.save(scan_folder.path / "train_ims.npy", np.zeros((rows, 3, 4), np.float32))
    refuses(rf"found {rows} rows for 7 images and 14 captions; expected 7 rows .* or 14", scan_folder.path)


def test_another_feature_width_between_splits_is_named(scan_folder: ScanFolder) -> None:
    np.save(scan_folder.path / "dev_ims.npy", np.zeros((3, 3, 5), np.float32))
    splits = {name: scan.open_split(scan_folder.path, name) for name in OWN_NAMES}
    with pytest.raises(DataError, match=r"dev_ims\.npy: found feature width 5; expected 4, as in train_ims\.npy"):
        scan.check_splits(splits)


def test_boxes_of_another_shape_are_refused(scan_folder: ScanFolder) -> None:
    np.save(scan_folder.path / "train_boxes.npy", np.zeros((7, 3, 4), np.float32))
    assert scan.open_split(scan_folder.path, "train").boxes is not None
    np.save(scan_folder.path / "train_boxes.npy", np.zeros((7, 2, 4), np.float32))
    refuses(r"train_boxes\.npy: found shape \(7, 2, 4\)", scan_folder.path)


def test_padding_is_left_out_where_counts_say_how_many_regions_are_real(scan_folder: ScanFolder) -> None:
    np.save(scan_folder.path / "train_counts.npy", np.array([3, 1, 2, 3, 3, 3, 1]))
    split = scan.open_split(scan_folder.path, "train")
    assert [len(image(split, i)) for i in range(7)] == [3, 1, 2, 3, 3, 3, 1]
    np.testing.assert_array_equal(image(split, 2), scan_folder.features["train"][2, :2])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([3, 3, 3, 4, 3, 3, 3], "row 3: found 4; expected from 1 to 3 regions"),
        ([0, 3, 3, 3, 3, 3, 3], "row 0: found 0"),
        ([3, 3], r"found int64 of shape \(2,\)"),
        ([1.5] * 7, "found float64"),
    ],
)
def test_wrong_counts_are_named(scan_folder: ScanFolder, counts: list[float], message: str) -> None:
    np.save(scan_folder.path / "train_counts.npy", np.array(counts))
    refuses(rf"train_counts\.npy.*{message}", scan_folder.path)


def test_counts_that_differ_between_the_rows_of_one_image_are_named(scan_folder: ScanFolder) -> None:
    np.save(scan_folder.path / "dev_ims.npy", scan_folder.features["dev"].repeat(2, axis=0))
    np.save(scan_folder.path / "dev_counts.npy", np.array([2, 2, 2, 1, 3, 3]))
    with pytest.raises(DataError, match=r"dev_counts\.npy, row 3: found 1; expected 2, as in the image's first row"):
        scan.open_split(scan_folder.path, "dev")


def test_a_split_of_another_name_says_which_there_are(scan_folder: ScanFolder) -> None:
    refuses(
        r"testall_caps\.txt: no such file.* There are dev_caps\.txt, test_caps\.txt, train_caps\.txt",
        scan_folder.path,
        "testall",
    )


def test_a_byte_order_mark_is_no_part_of_the_first_word(scan_folder: ScanFolder) -> None:
    path = scan_folder.path / "train_caps.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert scan.read_captions(scan_folder.path, "train")[1] == scan_folder.captions["train"]


def test_a_garbled_id_mapping_is_named(scan_folder: ScanFolder) -> None:
    path = scan_folder.path / "id_mapping.json"
    with pytest.raises(DataError, match=r"id_mapping\.json: no such file"):
        scan.read_id_mapping(path)
    scan_writing.write_id_mapping(scan_folder.path, {3: "c.jpg", 100: "é.jpg"})
    assert scan.read_id_mapping(path) == {3: "c.jpg", 100: "é.jpg"}
    for text in ("[1]", "{", "\udcff"):
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(DataError, match=r"id_mapping\.json: cannot be read"):
            scan.read_id_mapping(path)
    for text, found in (
        ('{"a": "b"}', "an image id is 'a'; expected a whole number, as in"),
        ('{"1_0": "b"}', "an image id is '1_0'; expected a whole number, as in"),
        ('{"7": null}', "the file name of image 7 is null; expected text, as in"),
        ('{"7": 5}', "the file name of image 7 is 5; expected text, as in"),
        ('{"7": []}', "the file name of image 7 is a list; expected text, as in"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=rf"id_mapping\.json: {found}"):
            scan.read_id_mapping(path)
