"""`itr data new`: captions, features and pictures of one's own become a data set, or one clear error and nothing else."""

from __future__ import annotations

import csv
import difflib
import random
import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.data import scan
from itrcore.errors import DataError, ITRError
from itrcore.own_data.make import Made, make
from itrcore.settings.load import load
from tests.support.scan_data import image as image_of
from tests.support.tiny_project import ROOT, write_params

N, REGIONS, WIDTH = 20, 3, 4
NAMES = [f"{number:03}.jpg" for number in range(N)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    return tmp_path


def write_csv(rows: Sequence[Sequence[str]], header: Sequence[str] = ("image", "caption"), name: str = "c.csv") -> Path:
    with open(name, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter="\t" if name.endswith(".tsv") else ",").writerows([header, *rows])
    return Path(name)


def two_each(names: Sequence[str] = NAMES) -> list[tuple[str, str]]:
    return [(name, f"the picture {name}, said {how}") for name in names for how in ("so", 'or "so"')]


def write_array(n: int = N, name: str = "f.npy") -> np.ndarray:
    array = np.random.default_rng(3).normal(size=(n, REGIONS, WIDTH)).astype(np.float32)
    np.save(name, array)
    return array


def write_pictures(names: Sequence[str] = NAMES) -> Path:
    folder = Path("pictures")
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 2 * number, 90)).save(folder / name, quality=95)
    return folder


def made_of(captions: Path, **settings: Any) -> Made:
    if "features" in settings:
        settings.setdefault("kind", "synthetic")
    return make("mine", captions, **settings)


def opened(split: str) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """Captions and features of each image, by name, through the pipeline's own reader."""
    folder = Path("datasets/mine")
    names = scan.read_id_mapping(folder / "id_mapping.json")
    found = scan.open_split(folder, split)
    images = [names[i] for i in found.image_ids]
    return dict(zip(images, found.captions, strict=True)), {name: image_of(found, i) for i, name in enumerate(images)}


def split_of() -> dict[str, str]:
    return {name: split for split in ("train", "dev", "test") for name in opened(split)[0]}


def test_every_image_keeps_its_captions_and_its_features(project: Path) -> None:
    """The rows of the array are in the order of first appearance, though an image's captions lie apart."""
    array = write_array()
    rows = two_each()
    made = made_of(write_csv([*rows[::2], *rows[:0:-2]]), features=Path("f.npy"), dev=3, test=0.2)
    assert made.counts == {"train": (13, 26), "dev": (3, 6), "test": (4, 8)}
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
    made_of(write_csv(two_each()), features=Path("f.npy"), kind="bottom-up attention", images=write_pictures())
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
    found = []
    for number, seed in enumerate((1, 1, 2)):
        rows = two_each()
        random.Random(number).shuffle(rows)
        make(f"mine{number}", write_csv(rows), features=folder, kind="synthetic", seed=seed)
        Path(f"datasets/mine{number}").rename("datasets/mine")
        found.append(split_of())
        Path("datasets/mine").rename(f"datasets/mine{number}")
    assert found[0] == found[1] != found[2]


def test_a_split_column_is_kept_with_val_as_dev(project: Path) -> None:
    array = write_array()
    wanted = dict(zip(NAMES, ["test", "val", "train", " Train"] * 5, strict=True))
    rows = [(caption, wanted[name], name) for name, caption in two_each()]
    made_of(write_csv(rows, ("caption", "split", "image")), features=Path("f.npy"))
    assert split_of() == {name: {"val": "dev", " Train": "train"}.get(split, split) for name, split in wanted.items()}
    np.testing.assert_array_equal(opened("dev")[1][NAMES[5]], array[5])


def test_images_of_different_numbers_of_regions_are_padded_and_counted(project: Path) -> None:
    arrays = {f"a/{name}": np.full((1 + i % 5, WIDTH), i, np.float64) for i, name in enumerate(NAMES)}
    for name, array in arrays.items():
        path = Path("features", name if name < "a/010" else name.removesuffix(".jpg"))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(f"{path}.npy", array[0] if len(array) == 1 else array)
    made = made_of(write_csv(two_each(list(arrays))), features=Path("features"))
    assert made.notes == []
    for split in ("train", "dev", "test"):
        for name, features in opened(split)[1].items():
            np.testing.assert_array_equal(features, arrays[name])
    assert np.load("datasets/mine/train_ims.npy", mmap_mode="r").shape[1:] == (5, WIDTH)


def test_pictures_alone_make_a_data_set_without_features(project: Path) -> None:
    made = made_of(write_csv(two_each()), images=write_pictures())
    settings = load().dataset("mine").model_dump(exclude_none=True)
    assert settings["source"]["features"] == "none" and list(settings["shards"]) == ["images"]
    assert not list(made.folder.glob("*_ims.npy"))
    assert sum(len(scan.read_captions(made.folder, split)[0]) for split in made.counts) == N


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
        made = make(f"mine{seed}", write_csv(two_each()), features=Path("f.npy"), kind="synthetic", images=pictures,
                    seed=seed, dev=4, test=4)  # fmt: skip
        assert {split: n for split, (n, _) in made.counts.items()} == {"train": 12, "dev": 4, "test": 4}
        assert made.notes == [
            f"1 groups of images are the same and were kept in one split each: {' = '.join(NAMES[:4])}"
        ]
        Path(f"datasets/mine{seed}").rename("datasets/mine")
        assert len({split_of()[name] for name in NAMES[:4]}) == 1
        Path("datasets/mine").rename(f"datasets/mine{seed}")


def test_the_same_image_in_two_given_splits_is_an_error(project: Path) -> None:
    array = write_array()
    array[7] = array[0]
    np.save("f.npy", array)
    split = dict(zip(NAMES, ["test", "val", *["train"] * 18], strict=True))
    rows = [(name, caption, split[name]) for name, caption in two_each()]
    with pytest.raises(DataError, match=r"1 images .* the same: 000.jpg \(test, line 2\) = 007.jpg \(train, line 16\)"):
        made_of(write_csv(rows, ("image", "caption", "split")), features=Path("f.npy"))
    assert not Path("datasets/mine").exists()


def test_shared_captions_and_features_without_captions_are_reported(project: Path) -> None:
    folder = Path("features")
    folder.mkdir()
    for i, name in enumerate([*NAMES, "more.jpg"]):
        np.save(folder / f"{name}.npy", np.full((1, 2), i, np.float32))
    made = made_of(write_csv([*two_each(), (NAMES[0], "a cat"), (NAMES[1], "a  cat ")]), features=folder)
    assert made.notes == [
        "1 captions are those of several images: “a cat”",
        "1 files have no captions and were left out: more.jpg.npy",
    ]


def test_features_beyond_float16_get_float32_shards(project: Path) -> None:
    array = write_array()
    array[4, 1, 2] = -70_000
    np.save("f.npy", array)
    made = made_of(write_csv(two_each()), features=Path("f.npy"))
    regions = load().dataset("mine").shards.regions
    assert regions is not None and regions.dtype == "float32"
    assert made.notes == ["features reach 70000, more than float16 can hold: shards are written in float32"]


def test_memory_stays_flat_whatever_the_features_size(project: Path) -> None:
    array = np.lib.format.open_memmap("f.npy", "w+", np.float32, (N, 36, 2048))
    array[:] = np.arange(N)[:, None, None]
    table = write_csv(two_each())
    tracemalloc.start()
    made_of(table, features=Path("f.npy"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 2


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


def refused(message: str, *arguments: Any, **settings: Any) -> None:
    """One error with this message, and everything as it was before."""
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ITRError, match=message) as caught:
        made_of(*arguments, **settings)
    assert "\n" not in str(caught.value)
    assert Path("params.yaml").read_bytes() == before
    assert not Path("datasets").exists() or not list(Path("datasets").iterdir())


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
        made_of(write_csv(two_each()), features=Path("f.npy"))
    assert Path("datasets/mine/notes.txt").read_text() == "mine" and "mine" not in load().datasets


def test_a_params_yaml_that_cannot_be_written_leaves_no_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """params.yaml is broken by someone else while the features are read."""
    write_array()

    def progress(done: int, total: int) -> None:
        Path("params.yaml").write_text("broken: [", "utf-8")

    with pytest.raises(ITRError, match=r"params\.yaml.*not valid YAML"):
        made_of(write_csv(two_each()), features=Path("f.npy"), progress=progress)
    assert not list(Path("datasets").iterdir())
    assert Path("params.yaml").read_text() == "broken: ["


def test_the_command_shows_an_error_as_its_message(project: Path) -> None:
    result = CliRunner().invoke(app, ["data", "new", "mine", "--captions", "absent.csv", "--images", "."])
    assert result.exit_code == 1
    assert (
        result.output
        == "error: absent.csv: cannot be read (No such file or directory); expected a CSV file of captions.\n"
    )


ONE = {"data": "tiny", "method": "esa", "seed": 1, "variant": "wide", "profile": "small"}


@pytest.mark.parametrize(
    ("runs", "proposed"),
    [
        ({"one": ONE}, {"data": "mine", "method": "esa", "seed": 1, "variant": "wide", "profile": "small"}),
        ({}, {"data": "mine", "method": "esa", "seed": 1}),
    ],
    ids=["as there are", "there are none"],
)
def test_the_run_that_the_command_proposes_is_valid_and_like_those_that_are_there(
    project: Path, runs: dict[str, Any], proposed: dict[str, Any]
) -> None:
    changes = {
        "methods.esa.variants": {"wide": {"model": {"dim": 32}}},
        "profiles.small": {"recipe": {"batch_size": 4}},
        "runs": runs,
        "ensembles": {},
    }
    write_params(project, changes)
    write_array()
    write_csv(two_each())
    arguments = ["new", "mine", "--captions", "c.csv", "--features", "f.npy", "--kind", "synthetic"]
    result = CliRunner().invoke(app, ["data", *arguments])
    assert result.exit_code == 0, result.output
    *_, line, _, command = (line.strip() for line in result.output.splitlines())
    yaml = YAML()
    assert yaml.load(line) == {"mine-esa-1": proposed} and command == "dvc repro judge@mine-esa-1"
    params = yaml.load(Path("params.yaml"))
    params["runs"] |= yaml.load(line)
    yaml.dump(params, Path("params.yaml"))
    assert load().method_of("mine-esa-1").family == "esa_bigru"
