"""`itr data check`: its figures against plain numpy, and each problem planted alone into a clean data set."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itrcore.data.examine.features import BOTTOM_UP
from itrcore.data.examine.texts import misread
from itrcore.report.data_tables import verdict
from tests.support.checked_data import IDS, SIZES, Toy, check, check_with, clean, only, picture, prepare, write


def test_a_clean_data_set_has_no_problems(tmp_path: Path) -> None:
    examined = check(tmp_path, prepare(clean(), tmp_path))
    assert examined.problems == [] and examined.missing == {}
    assert verdict(examined) == "toy: no problems"


def test_figures_of_captions_are_those_of_a_plain_count(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.captions["test"][0] += ["A zebra and a zebra meet a cat cat.", "A dog bird dog stands still."]

    examined = check_with(tmp_path, plant)
    assert examined.texts
    test = examined.texts.splits["test"]
    assert (test.images, test.captions, test.per_image) == (4, 10, (2, 4))
    assert test.words
    assert test.words.lengths.tolist() == [5, 6, 10, 7, 5, 6, 5, 6, 5, 6]
    # zebra twice, and, meet, stands, still once each
    assert (test.words.unknown, test.words.unknown_types) == (6, 5)
    assert test.words.types == len({"a", "zebra", "and", "meet", "cat", ".", "dog", "bird", "stands", "still"} | {
        word for texts in clean().captions["test"] for text in texts for word in text.lower().rstrip(".").split()
    })  # fmt: skip


def test_figures_of_features_are_numpys(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.features["train"][2, 1, :3] = 0

    toy = clean()
    plant(toy)
    examined = check_with(tmp_path, plant)
    assert examined.features
    for split, values in toy.features.items():
        figures = examined.features.splits[split]
        assert (figures.dtype, figures.images, figures.width, figures.regions) == ("float32", SIZES[split], 5, (3, 3))
        assert figures.minimum == values.min() and figures.maximum == values.max()
        assert figures.mean == pytest.approx(values.astype(np.float64).mean())
        assert figures.zeros == pytest.approx((values == 0).mean())
        np.testing.assert_allclose(figures.norms, np.linalg.norm(values, axis=2).ravel(), rtol=1e-5)


def test_padding_does_not_count_as_features_or_boxes(tmp_path: Path) -> None:
    toy = clean()
    toy.features["train"][1, 2:] = 0  # the padding of an image with two regions
    toy.boxes["train"][1, 2:] = 0
    params = write(toy, tmp_path)
    counts = np.full(SIZES["train"], 3)
    counts[1] = 2
    np.save(tmp_path / "scan" / "train_counts.npy", counts)
    from stages import raw, shards, splits, vocab

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for stage in (raw, splits, vocab, shards):
            stage.main(params, "toy")
    examined = check(tmp_path, params)
    assert examined.problems == []
    assert examined.features and examined.boxes
    assert examined.features.splits["train"].regions == (2, 3) and examined.features.splits["train"].zeros == 0
    assert examined.boxes.splits["train"].count == 3 * SIZES["train"] - 1


def test_figures_of_boxes_and_pictures(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        grey = Image.new("L", (80, 20))
        buffer = io.BytesIO()
        grey.save(buffer, "JPEG")
        toy.pictures["100.png"] = buffer.getvalue()

    examined = check_with(tmp_path, plant)
    assert examined.pictures and examined.boxes
    train = examined.pictures.splits["train"]
    assert train.formats == {"PNG": 7, "JPEG": 1} and train.modes == {"RGB": 7, "L": 1} and train.missing == 0
    assert train.sizes[0] == (80, 20) and train.sizes[1] == (40, 30)
    assert examined.boxes.splits["dev"].count == 9
    assert examined.boxes.splits["dev"].area == pytest.approx(18 * 12 / (40 * 30))


def test_a_caption_twice_on_one_image_is_a_warning(tmp_path: Path) -> None:
    # Case and spaces do not tell two captions apart.
    examined = check_with(
        tmp_path, lambda toy: toy.captions["dev"][1].__setitem__(1, toy.captions["dev"][1][0].upper())
    )
    problem = only(examined)
    assert (problem.severity, problem.what, problem.count) == ("warning", "captions that one image has twice", 1)
    assert "dev, image 109 (109.png)" in problem.examples[0]
    assert examined.texts and examined.texts.duplicates.image == 1 and examined.texts.duplicates.split == 0


def test_captions_shared_by_images_are_notes_and_no_problems(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.captions["train"][1][0] = toy.captions["train"][4][0]
        toy.captions["test"][3][1] = toy.captions["train"][0][1]

    examined = check_with(tmp_path, plant)
    assert [(problem.severity, problem.count) for problem in examined.problems] == [("note", 1), ("note", 1)]
    across, within = examined.problems
    assert "several splits" in across.what and "train, image 100" in across.examples[0]
    assert "test, image 114" in across.examples[0]
    assert "of a split" in within.what and "train, image 101" in within.examples[0]
    assert verdict(examined) == "toy: no problems"


@pytest.mark.parametrize(
    ("caption", "what"),
    [
        (". . .", "without a word"),
        ("cat " * 101, "more than 100 words"),
        ("A cafÃ© cat.", "wrong encoding"),
        ("A caf\ufffd cat.", "wrong encoding"),
    ],
)
def test_an_odd_caption_is_a_warning(tmp_path: Path, caption: str, what: str) -> None:
    problem = only(check_with(tmp_path, lambda toy: toy.captions["train"][3].__setitem__(0, caption)))
    assert (problem.severity, problem.count) == ("warning", 1)
    assert what in problem.what and "train, image 103 (103.png)" in problem.examples[0]


def test_text_of_other_scripts_is_not_taken_for_a_wrong_encoding() -> None:
    right = [
        "café",
        "un garçon près d'une fenêtre",
        "naïve – “quoted” … €5",
        "犬が走る",
        "собака",
        "😀 dog",
        "Ångström",
    ]
    assert not any(map(misread, right))
    assert all(misread(text.encode().decode("latin-1")) for text in right)
    assert misread("it’s".encode().decode("cp1252"))


def test_an_image_with_fewer_captions_than_the_others(tmp_path: Path) -> None:
    problem = only(check_with(tmp_path, lambda toy: toy.captions["test"][2].pop()))
    assert problem.severity == "warning" and problem.examples == ("test, image 113 (113.png): 1",)


def test_many_unknown_words_are_named_the_most_frequent_first(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.captions["test"][0][0] = "A quokka and quokka."
        toy.captions["test"][1][0] = "A quokka."

    problem = only(check_with(tmp_path, plant))
    assert problem.severity == "warning" and problem.count == 4 and "test" in problem.what
    assert problem.examples == ("“quokka”: 3", "“and”: 1")


def test_identical_features_in_two_splits_are_an_error(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.features["test"][3] = toy.features["train"][6]

    examined = check_with(tmp_path, plant)
    problem = only(examined)
    assert (problem.severity, problem.count) == ("error", 1)
    assert problem.examples == ("train, image 106 (106.png) = test, image 114 (114.png)",)
    assert verdict(examined) == "toy: 1 error"


def test_identical_features_in_one_split_are_a_warning(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.features["train"][[1, 2, 5]] = toy.features["train"][1]

    problem = only(check_with(tmp_path, plant))
    assert (problem.severity, problem.count) == ("warning", 1)
    assert all(f"image {i}" in problem.examples[0] for i in (101, 102, 105))


def test_identical_pictures_in_two_splits_are_an_error_and_in_one_a_warning(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.pictures["108.png"] = toy.pictures["113.png"]
        toy.pictures["102.png"] = toy.pictures["103.png"]

    error, warning = check_with(tmp_path, plant).problems
    assert (
        error.severity == "error" and "dev, image 108" in error.examples[0] and "test, image 113" in error.examples[0]
    )
    assert warning.severity == "warning" and "image 102" in warning.examples[0]


def test_regions_of_zeros_are_counted_and_no_duplicates(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        toy.features["train"][0, 2] = 0
        toy.features["train"][4:6] = 0

    problem = only(check_with(tmp_path, plant))
    assert (problem.severity, problem.count) == ("warning", 7)
    assert problem.examples[0] == "train, image 100 (100.png): 1 of 3"


def test_features_that_are_not_what_their_label_says(tmp_path: Path) -> None:
    problem = only(check_with(tmp_path / "a", lambda toy: _relabel(toy, ("train",))))
    assert problem.severity == "warning" and "train" in problem.what and problem.count == 3
    assert check_with(tmp_path / "b", lambda toy: _relabel(toy, ())).problems == []


def _relabel(toy: Toy, unlike: tuple[str, ...]) -> None:
    """Call the features bottom-up attention's, and make them so but in the splits named."""
    toy.label = BOTTOM_UP
    for split, values in toy.features.items():
        if split not in unlike:
            values *= 70 / np.linalg.norm(values, axis=2, keepdims=True)
            values[:] = np.maximum(values, 0)
            values[:, :, 0] = 0
            values[:, 0, 1] = 0
        else:
            values[0, 0, 0] = -1


@pytest.mark.parametrize(
    ("box", "severity", "what"),
    [
        ((-5, 3, 20, 15), "warning", "outside"),
        ((2, 3, 45, 15), "warning", "outside"),
        ((2, 3, 20, 33), "warning", "outside"),
        ((20, 3, 2, 15), "warning", "without an area"),
        ((2, 3, 20, 3), "warning", "without an area"),
        ((2, 3, np.nan, 15), "error", "not finite"),
    ],
)
def test_a_wrong_box_is_named(tmp_path: Path, box: tuple[float, ...], severity: str, what: str) -> None:
    problem = only(check_with(tmp_path, lambda toy: toy.boxes["dev"][2].__setitem__(1, box)))
    assert (problem.severity, problem.count) == (severity, 1)
    assert what in problem.what and "dev, image 110 (110.png)" in problem.examples[0]


def test_a_box_may_reach_one_pixel_beyond_a_rounded_picture(tmp_path: Path) -> None:
    examined = check_with(tmp_path, lambda toy: toy.boxes["dev"].__setitem__((2, 1), (-0.5, -0.5, 40.5, 30.5)))
    assert examined.problems == []


def test_pictures_that_cannot_be_used_are_warnings_where_methods_do_without(tmp_path: Path) -> None:
    def plant(toy: Toy) -> None:
        del toy.pictures["101.png"]
        toy.pictures["104.png"] = picture(104)[:-200]

    examined = check_with(tmp_path, plant)
    problem = only(examined)
    assert (problem.severity, problem.count) == ("warning", 2)
    assert "train, image 101" in problem.examples[0] and "no such file" in problem.examples[0]
    assert "train, image 104" in problem.examples[1] and "damaged or cut short" in problem.examples[1]
    assert examined.pictures and examined.pictures.splits["train"].missing == 2


def test_pictures_that_cannot_be_used_are_errors_where_they_are_part_of_the_data_set(tmp_path: Path) -> None:
    toy = clean()
    del toy.pictures["101.png"]
    params = write(toy, tmp_path, images={"samples_per_shard": 5, "max_megapixels": 0.001})
    from stages import raw, splits

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for stage in (raw, splits):
            stage.main(params, "toy")
    examined = check(tmp_path, params)
    assert {problem.severity for problem in examined.problems} == {"error"}
    assert sum(problem.count for problem in examined.problems) == len([i for ids in IDS.values() for i in ids])
    assert any("too large" in example for problem in examined.problems for example in problem.examples)
