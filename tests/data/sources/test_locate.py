"""Finding a data set below a folder: SCAN's and VSE∞'s layouts, what lies beside, and a clear word where it is not clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from itrcore.data.sources.locate import Located, locate
from itrcore.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text("x")


def relative_paths(root: Path, located: Located) -> list[str | None]:
    paths = (located.folder, located.id_mapping, located.karpathy, located.pictures, located.vocabulary)
    return [None if path is None else path.resolve().relative_to(root.resolve()).as_posix() for path in paths]


@pytest.mark.parametrize("given", ["", "data", "data/f30k_precomp"])
def test_scans_layout_is_found_from_any_folder_above(tmp_path: Path, given: str) -> None:
    touch(
        tmp_path, "data/f30k_precomp/train_caps.txt", "vocab/f30k_precomp_vocab.json", "vocab/coco_precomp_vocab.json"
    )
    expected = ["data/f30k_precomp", None, None, None, "vocab/f30k_precomp_vocab.json"]
    assert relative_paths(tmp_path, locate(tmp_path / given, "train")) == expected


@pytest.mark.parametrize("given", ["", "data", "data/coco", "data/coco/precomp"])
def test_vse_inftys_layout_is_found_from_any_folder_above(tmp_path: Path, given: str) -> None:
    touch(
        tmp_path,
        "data/coco/precomp/train_caps.txt",
        "data/coco/precomp/testall_caps.txt",
        "data/coco/id_mapping.json",
        "data/coco/images/",
        "data/coco/dataset_coco.json",
        "data/coco/dataset_flickr30k.json",
        "data/vocab/coco_precomp_vocab.json",
    )
    assert relative_paths(tmp_path, locate(tmp_path / given, "train")) == [
        "data/coco/precomp",
        "data/coco/id_mapping.json",
        "data/coco/dataset_coco.json",
        "data/coco/images",
        "data/vocab/coco_precomp_vocab.json",
    ]


def test_flickrs_picture_folder_has_its_own_name_and_captions_may_be_packed(tmp_path: Path) -> None:
    touch(tmp_path, "f30k/precomp/train_caps.txt.gz", "f30k/flickr30k-images/", "f30k/dataset_flickr30k.json")
    expected = ["f30k/precomp", None, "f30k/dataset_flickr30k.json", "f30k/flickr30k-images", None]
    assert relative_paths(tmp_path, locate(tmp_path, "train")) == expected


def test_a_plain_folder_holds_everything_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "toy/train_caps.txt", "toy/id_mapping.json", "toy/dataset_own.json", "toy/images/")
    touch(tmp_path, "id_mapping.json", "images/")  # a neighbour's
    expected = ["toy", "toy/id_mapping.json", "toy/dataset_own.json", "toy/images", None]
    assert relative_paths(tmp_path, locate(tmp_path / "toy", "train")) == expected
    monkeypatch.chdir(tmp_path / "toy")
    assert relative_paths(tmp_path, locate(Path("."), "train")) == expected


def test_of_two_karpathy_files_neither_of_its_name_none_is_guessed_or_silently_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "own/train_caps.txt", "own/dataset_a.json", "own/dataset_b.json")
    with pytest.raises(DataError, match=r"found dataset_a\.json, dataset_b\.json, .* Set source\.karpathy"):
        locate(tmp_path / "own", "train")
    given = tmp_path / "own" / "dataset_b.json"
    assert locate(tmp_path / "own", "train", given).karpathy == given


@pytest.mark.parametrize("name", ["flickr30k", "f30k", "f30k_precomp"])
def test_all_of_karpathys_files_may_lie_there_under_the_names_in_use(tmp_path: Path, name: str) -> None:
    files = [f"{name}/dataset_{data}.json" for data in ("flickr8k", "flickr30k", "coco")]
    touch(tmp_path, f"{name}/train_caps.txt", *files)
    assert locate(tmp_path / name, "train").karpathy == tmp_path / name / "dataset_flickr30k.json"


def test_a_link_goes_by_its_own_name_and_neighbours(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/x/train_caps.txt", "data/f30k/", "data/vocab/f30k_precomp_vocab.json")
    (tmp_path / "data" / "f30k" / "precomp").symlink_to(tmp_path / "elsewhere" / "x")
    located = locate(tmp_path / "data" / "f30k", "train")
    assert located.folder == tmp_path / "data" / "f30k" / "precomp"
    assert located.vocabulary == tmp_path / "data" / "vocab" / "f30k_precomp_vocab.json"


def test_several_data_sets_are_named_and_one_can_be_chosen(tmp_path: Path) -> None:
    touch(tmp_path, "data/f30k_precomp/train_caps.txt", "data/coco_precomp/train_caps.txt")
    with pytest.raises(DataError, match=r"several data sets: data/coco_precomp, data/f30k_precomp; .* source\.folder"):
        locate(tmp_path, "train")
    assert locate(tmp_path / "data/coco_precomp", "train").folder == tmp_path / "data/coco_precomp"


def test_a_folder_without_a_data_set_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder"):
        locate(tmp_path / "none", "train")
    touch(tmp_path, "a/b/c/train_caps.txt")
    with pytest.raises(DataError, match=r"no train_caps\.txt in \., precomp, \*_precomp"):
        locate(tmp_path, "train")
