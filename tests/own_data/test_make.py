"""`itr data new`: a user's captions, features and pictures become a data set."""

from __future__ import annotations

import difflib
import random
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from itrcore.data import scan
from itrcore.own_data.make import make
from itrcore.settings.load import load
from tests.support.own_table import (
    NAMES,
    REGIONS,
    WIDTH,
    N,
    new_dataset,
    two_each,
    write_array,
    write_csv,
    write_pictures,
)
from tests.support.scan_data import image as image_of
from tests.support.tiny_project import ROOT


def opened(split: str) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """Captions and features of each image, by name, through the pipeline's own reader."""
    folder = Path("datasets/mine")
    names = scan.read_id_mapping(folder / "id_mapping.json")
    opened_split = scan.open_split(folder, split)
    images = [names[i] for i in opened_split.image_ids]
    return dict(zip(images, opened_split.captions, strict=True)), {
        name: image_of(opened_split, i) for i, name in enumerate(images)
    }


def split_of() -> dict[str, str]:
    return {name: split for split in ("train", "dev", "test") for name in opened(split)[0]}


def test_every_image_keeps_its_captions_and_its_features(project: Path) -> None:
    """The rows of the array are in the order of first appearance, though an image's captions lie apart."""
    array = write_array()
    rows = two_each()
    dataset = new_dataset(write_csv([*rows[::2], *rows[:0:-2]]), features=Path("f.npy"), dev=3, test=0.2)
    assert dataset.counts == {"train": (13, 26), "dev": (3, 6), "test": (4, 8)}
    for split in ("train", "dev", "test"):
        captions, features = opened(split)
        for name, group in captions.items():
            assert sorted(group) == sorted(caption for image, caption in rows if image == name)
            np.testing.assert_array_equal(features[name], array[NAMES.index(name)])


def test_the_entry_is_all_that_changes_in_params_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = (ROOT / "params.yaml").read_text("utf-8")
    (tmp_path / "kept.yaml").write_text(before, "utf-8")
    (tmp_path / "params.yaml").symlink_to("kept.yaml")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    write_array()
    new_dataset(write_csv(two_each()), features=Path("f.npy"), kind="bottom-up attention", images=write_pictures())
    after = (tmp_path / "kept.yaml").read_text("utf-8")
    changes = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-?"]
    assert "".join(f"{line[2:]}\n" for line in changes) == (
        "  mine:\n"
        "    reads: datasets/mine\n"
        "    source:\n"
        "      kind: scan\n"
        "      folder: datasets/mine\n"
        "      features: bottom-up attention\n"
        "      splits: {train: train, dev: dev, test: test}\n"
        "      pictures: pictures\n"
        "    vocabulary: {min_count: 4}\n"
        "    shards:\n"
        "      regions: {dtype: float16, samples_per_shard: 1000}\n"
        "      images: {samples_per_shard: 1000, max_megapixels: 50}\n"
    )
    assert all(line[0] == "+" for line in changes)
    assert (tmp_path / "params.yaml").is_symlink() and "mine" in load().datasets


def test_the_split_depends_on_seed_and_names_alone(project: Path) -> None:
    folder = Path("features")
    folder.mkdir()
    for name, row in zip(NAMES, np.random.default_rng(0).normal(size=(N, REGIONS, WIDTH)), strict=True):
        np.save(folder / f"{name}.npy", row)
    splits = []
    for number, seed in enumerate((1, 1, 2)):
        rows = two_each()
        random.Random(number).shuffle(rows)
        make(f"mine{number}", write_csv(rows), features=folder, kind="synthetic", seed=seed)
        Path(f"datasets/mine{number}").rename("datasets/mine")
        splits.append(split_of())
        Path("datasets/mine").rename(f"datasets/mine{number}")
    assert splits[0] == splits[1] != splits[2]


def test_a_split_column_is_kept_with_val_as_dev(project: Path) -> None:
    array = write_array()
    wanted = dict(zip(NAMES, ["test", "val", "train", " Train"] * 5, strict=True))
    rows = [(caption, wanted[name], name) for name, caption in two_each()]
    new_dataset(write_csv(rows, ("caption", "split", "image")), features=Path("f.npy"))
    assert split_of() == {name: {"val": "dev", " Train": "train"}.get(split, split) for name, split in wanted.items()}
    np.testing.assert_array_equal(opened("dev")[1][NAMES[5]], array[5])


def test_images_of_different_numbers_of_regions_are_padded_and_counted(project: Path) -> None:
    arrays = {f"a/{name}": np.full((1 + i % 5, WIDTH), i, np.float64) for i, name in enumerate(NAMES)}
    for name, array in arrays.items():
        path = Path("features", name if name < "a/010" else name.removesuffix(".jpg"))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(f"{path}.npy", array[0] if len(array) == 1 else array)
    dataset = new_dataset(write_csv(two_each(list(arrays))), features=Path("features"))
    assert dataset.notes == []
    for split in ("train", "dev", "test"):
        for name, features in opened(split)[1].items():
            np.testing.assert_array_equal(features, arrays[name])
    assert np.load("datasets/mine/train_ims.npy", mmap_mode="r").shape[1:] == (5, WIDTH)


def test_pictures_alone_make_a_data_set_without_features(project: Path) -> None:
    dataset = new_dataset(write_csv(two_each()), images=write_pictures())
    settings = load().dataset("mine").model_dump(exclude_none=True)
    assert settings["source"]["features"] == "none" and list(settings["shards"]) == ["images"]
    assert not list(dataset.folder.glob("*_ims.npy"))
    assert sum(len(scan.read_captions(dataset.folder, split)[0]) for split in dataset.counts) == N


@pytest.mark.parametrize("what", ["features", "images"])
def test_images_that_are_the_same_stay_in_one_split_and_are_reported(project: Path, what: str) -> None:
    array, pictures = write_array(), write_pictures()
    for i in (1, 2, 3):
        if what == "features":
            array[i] = array[0]
        else:
            (pictures / NAMES[i]).write_bytes((pictures / NAMES[0]).read_bytes())
    np.save("f.npy", array)
    for seed in range(1, 9):
        dataset = make(f"mine{seed}", write_csv(two_each()), features=Path("f.npy"), kind="synthetic", images=pictures,
                       seed=seed, dev=4, test=4)  # fmt: skip
        assert {split: n for split, (n, _) in dataset.counts.items()} == {"train": 12, "dev": 4, "test": 4}
        assert dataset.notes == [
            f"1 groups of images are the same and were kept in one split each: {' = '.join(NAMES[:4])}"
        ]
        Path(f"datasets/mine{seed}").rename("datasets/mine")
        assert len({split_of()[name] for name in NAMES[:4]}) == 1
        Path("datasets/mine").rename(f"datasets/mine{seed}")


def test_shared_captions_and_features_without_captions_are_reported(project: Path) -> None:
    folder = Path("features")
    folder.mkdir()
    for i, name in enumerate([*NAMES, "more.jpg"]):
        np.save(folder / f"{name}.npy", np.full((1, 2), i, np.float32))
    dataset = new_dataset(write_csv([*two_each(), (NAMES[0], "a cat"), (NAMES[1], "a  cat ")]), features=folder)
    assert dataset.notes == [
        "1 captions are those of several images: “a cat”",
        "1 files have no captions and were left out: more.jpg.npy",
    ]


def test_features_beyond_float16_get_float32_shards(project: Path) -> None:
    array = write_array()
    array[4, 1, 2] = -70_000
    np.save("f.npy", array)
    dataset = new_dataset(write_csv(two_each()), features=Path("f.npy"))
    regions = load().dataset("mine").shards.regions
    assert regions is not None and regions.dtype == "float32"
    assert dataset.notes == ["features reach 70000, more than float16 can hold: shards are written in float32"]


def test_memory_stays_flat_whatever_the_features_size(project: Path) -> None:
    array = np.lib.format.open_memmap("f.npy", "w+", np.float32, (N, 36, 2048))
    array[:] = np.arange(N)[:, None, None]
    table = write_csv(two_each())
    tracemalloc.start()
    new_dataset(table, features=Path("f.npy"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 2
