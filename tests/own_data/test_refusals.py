"""What `itr data new` refuses: one clear error, and everything is as it was before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itrcore.errors import DataError, ITRError
from itrcore.own_data.make import make
from itrcore.settings.load import load
from tests.support.own_table import NAMES, N, new_dataset, two_each, write_array, write_csv, write_pictures


def refused(message: str, *arguments: Any, **settings: Any) -> None:
    """One error with this message, and everything as it was before."""
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ITRError, match=message) as caught:
        new_dataset(*arguments, **settings)
    assert "\n" not in str(caught.value)
    assert Path("params.yaml").read_bytes() == before
    assert not Path("datasets").exists() or not list(Path("datasets").iterdir())


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([(n, "x", "val") for n in NAMES], ("image", "caption", "split"), r"c\.csv: no image in split train, test"),
        (two_each(NAMES[:2]), ("image", "caption"), r"f\.npy: found 20 rows for 2 images in the captions"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(project: Path, rows: Any, header: Any, message: str) -> None:
    write_array()
    refused(message, write_csv(rows, header), features=Path("f.npy"))


def test_too_few_images_for_three_splits_is_an_error(project: Path) -> None:
    write_array(2)
    refused("2 images, of which dev takes 1 and test 1", write_csv(two_each(NAMES[:2])), features=Path("f.npy"))


def test_the_splits_are_given_once(project: Path) -> None:
    write_array()
    table = write_csv([(name, "x", "val") for name in NAMES], ("image", "caption", "split"))
    refused(r"c\.csv: a column split, and --dev or --test", table, features=Path("f.npy"), dev=3)


def test_all_images_without_features_or_picture_are_in_one_error(project: Path) -> None:
    table = write_csv(two_each())
    folder = Path("features")
    folder.mkdir()
    for name in NAMES[2:]:
        np.save(folder / f"{name}.npy", np.zeros((2, 3), np.float32))
    refused(
        r"line 2: features: no features of 000\.jpg; .* 1 more images have a problem: 001\.jpg", table, features=folder
    )
    for name in NAMES[:2]:
        np.save(folder / f"{name}.npy", np.zeros((2, 4), np.float32))
    refused(r"line 6: features: the features of 002\.jpg have width 3; expected 4, as those of 000\.jpg", table,
            features=folder)  # fmt: skip
    pictures = write_pictures()
    (pictures / NAMES[3]).unlink()
    (pictures / NAMES[5]).write_bytes((pictures / NAMES[5]).read_bytes()[:-40])
    refused(r"line 8: pictures/003\.jpg: no such file.* 1 more images have a problem: 005\.jpg", table, images=pictures)


def test_too_many_equal_images_for_three_splits_is_an_error(project: Path) -> None:
    np.save("f.npy", np.zeros((N, 2, 3), np.float32))
    refused(
        "1 different images; with the same ones together none is left for",
        write_csv(two_each()),
        features=Path("f.npy"),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Neither features nor images"),
        ({"features": Path("f.npy"), "kind": "other", "extract": True}, "--extract: no --images; expected --images alone"),
        ({"features": Path("f.npy"), "kind": "bottom up"}, "--kind: found 'bottom up'; expected .*'bottom-up attention'"),
        ({"images": Path("c.csv")}, r"c\.csv: no such folder"),
        ({"images": Path("."), "kind": "synthetic"}, "expected nothing, as there are no features"),
        ({"features": Path("f.npy"), "dev": 0.0}, "--dev 0: no size of a split"),
        ({"features": Path("f.npy"), "test": 2.5}, r"--test 2\.5: no size of a split"),
        ({"features": Path("f.npy"), "test": 19}, "20 images, of which dev takes 2 and test 19"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(project: Path, settings: dict[str, Any], message: str) -> None:
    write_array()
    refused(message, write_csv(two_each()), **settings)


@pytest.mark.parametrize("name", ["tiny", "TINY", "a b", "../x", "nltk"])
def test_a_name_that_cannot_be_had_is_refused_before_anything_is_read(project: Path, name: str) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ITRError, match=r"^params\.yaml: .*(there already|differ only|cannot be a name|choose another)"):
        make(name, Path("absent.csv"), features=Path("absent.npy"), kind="synthetic")
    assert Path("params.yaml").read_bytes() == before and not Path("datasets").exists()


def test_a_folder_that_is_there_is_not_touched(project: Path) -> None:
    write_array()
    Path("datasets/mine").mkdir(parents=True)
    Path("datasets/mine/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="datasets/mine: it is there already"):
        new_dataset(write_csv(two_each()), features=Path("f.npy"))
    assert Path("datasets/mine/notes.txt").read_text() == "mine" and "mine" not in load().datasets


def test_a_params_yaml_that_cannot_be_written_leaves_no_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """params.yaml is broken by someone else while the features are read."""
    write_array()

    def progress(done: int, total: int) -> None:
        Path("params.yaml").write_text("broken: [", "utf-8")

    with pytest.raises(ITRError, match=r"params\.yaml.*not valid YAML"):
        new_dataset(write_csv(two_each()), features=Path("f.npy"), progress=progress)
    assert not list(Path("datasets").iterdir())
    assert Path("params.yaml").read_text() == "broken: ["


def test_the_same_image_in_two_given_splits_is_an_error(project: Path) -> None:
    array = write_array()
    array[7] = array[0]
    np.save("f.npy", array)
    split = dict(zip(NAMES, ["test", "val", *["train"] * 18], strict=True))
    rows = [(name, caption, split[name]) for name, caption in two_each()]
    with pytest.raises(DataError, match=r"1 images .* the same: 000.jpg \(test, line 2\) = 007.jpg \(train, line 16\)"):
        new_dataset(write_csv(rows, ("image", "caption", "split")), features=Path("f.npy"))
    assert not Path("datasets/mine").exists()
