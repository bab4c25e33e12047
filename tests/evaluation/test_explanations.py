"""What words look at: from a method's attention to explained.json, and the boxes that shards hold."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from itrcore import layout
from itrcore.data import captions
from itrcore.data.feeding.prepared import open_split
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import PixelInput
from itrcore.data.shards import regions
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.text.tokens import Tokenised
from itrcore.data.text.vocabulary import SPECIAL, Vocabulary, WordSplitter
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.evaluation import explanations
from itrcore.evaluation.scoring import encode, score
from itrcore.files import read_json
from itrcore.methods.contract import Method
from itrcore.protocols.contract import Judged
from itrcore.protocols.retrieved import retrieved
from itrcore.runs.examples import Explained, Explanation
from itrcore.runs.folder import EXPLAINED, RETRIEVED, write
from tests.support.attending_data import Looking, Single, explanation
from tests.support.scan_data import write_scan_folder, write_shards
from tests.support.tiny_project import prepared

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "##gy", "##s", "#", "run"]
CPU = torch.device("cpu")


def test_a_words_weights_are_the_mean_of_its_pieces_and_special_tokens_are_left_out() -> None:
    tokens = Tokenised([2, 5, 6, 7, 3], [-1, 0, 1, 1, -1])
    attention = np.array([[1, 0, 0, 0], [0.4, 0.3, 0.2, 0.1], [0, 0, 1, 0], [0, 0.5, 0.25, 0.25], [1, 0, 0, 0]])
    first, second = explanations.words(tokens, ["[CLS]", "a", "dog", "gy", "[SEP]"], attention)
    assert (first.text, second.text) == ("a", "doggy")
    assert [(look.region, look.weight) for look in first.looks] == [(0, 0.4), (1, 0.3), (2, 0.2)]
    assert [(look.region, look.weight) for look in second.looks] == [(2, 0.625), (1, 0.25), (3, 0.125)]


def test_only_words_that_may_name_something_are_named() -> None:
    texts = ["The", "dogs", ",", "2", "'s", "behind", "<unk>", "[UNK]", "été", "--"]
    words = explanations.words(Tokenised([0] * 10, list(range(10))), texts, np.full((10, 1), 1.0))
    assert [word.text for word in words if word.named] == ["dogs", "2", "behind", "été"]


def test_attention_of_other_tokens_than_the_captions_is_refused() -> None:
    with pytest.raises(ValueError, match="2 tokens, 2 texts, 3 rows"):
        explanations.words(Tokenised([0, 1], [0, 1]), ["a", "b"], np.ones((3, 1)))


@pytest.mark.parametrize(
    ("tokeniser", "texts"),
    [
        (WordPieces(PIECES), ["[CLS]", "a", "dog", "gy", "#", "#", "s", "[SEP]"]),
        (WordPieces(PIECES).limited(5), ["[CLS]", "a", "dog", "gy", "[SEP]"]),
        (
            Vocabulary([*SPECIAL, "a", "doggy"], WordSplitter(None)),
            ["<start>", "a", "doggy", "<unk>", "<unk>", "<unk>", "<end>"],
        ),
    ],
)
def test_every_token_has_its_text(tokeniser: Any, texts: list[str]) -> None:
    caption = "A doggy ##s"
    found = tokeniser.token_texts(caption)
    assert len(found) == len(tokeniser.encode(caption).ids)
    if "s" in texts:  # "s" alone is no piece of this vocabulary
        texts[texts.index("s")] = "[UNK]"
    assert found == texts


def test_boxes_are_those_that_were_written() -> None:
    folder = prepared() / layout.region_shards("tiny")
    for split in ("train", "test"):  # of train, three shards: the first of a shard has no sample before it
        streamed = [sample for path in sorted(folder.glob(f"{split}-*.tar")) for sample in regions.samples(path)]
        store = FeatureStore(folder, split)
        assert len(streamed) == len(store)
        for row, sample in enumerate(streamed):
            found = store.boxes(row)
            assert found is not None and found.dtype == np.float32
            np.testing.assert_array_equal(found, sample["boxes"])
            assert found.min() >= 0 and 16 < found.max() <= 32  # in pixels of the picture, of 32


def test_boxes_of_a_changed_shard_are_an_error_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "regions"
    folder.mkdir()
    for path in (prepared() / layout.region_shards("tiny")).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    shard = folder / "test-00000.tar"
    shard.write_bytes(b"\1" * shard.stat().st_size)
    with pytest.raises(DataError, match=r"test-00000\.tar, row 0: its bytes have changed"):
        FeatureStore(folder, "test").boxes(0)


@dataclass
class Data:
    """A test split as a method reads it, and the same as the caption table has it."""

    split: Split
    vocabulary: Vocabulary
    images: list[captions.Image]


@pytest.fixture(scope="module")
def scenes() -> Data:
    with contextlib.chdir(prepared()):
        vocabulary = Vocabulary.load(layout.vocabulary("tiny") / layout.WORDS, layout.NLTK)
        return Data(
            open_split("tiny", "test", vocabulary, Looking.input),
            vocabulary,
            captions.read(layout.captions("tiny"), "test"),
        )


def scan_data(folder: Path, boxes: np.ndarray | None) -> Data:
    """Four test images of three regions each, all with the same boxes."""
    made = write_scan_folder(folder / "scan")
    for split, ids in made.ids.items():
        if boxes is not None:
            np.save(made.path / f"{split}_boxes.npy", np.repeat(boxes[None], len(ids), 0))
    store = FeatureStore(write_shards(made, folder / "out"), "test")
    images = captions.read(folder / "out" / "captions.parquet", "test")
    vocabulary = Vocabulary([*SPECIAL, "the", "test", "picture", "says", "0", "1", "110", "111"], WordSplitter(None))
    return Data(Split.open(RegionImages(store), images, vocabulary), vocabulary, images)


def written(method: Method[Any, Any], data: Data, folder: Path) -> Explained | None:
    """The explained.json of a method, and the retrieved.json beside it."""
    encoded = encode(method, data.split, 4, CPU)
    matrix = score(method, encoded.images, encoded.texts, 4)
    write(folder / RETRIEVED, retrieved(Judged("a run", matrix, data.images), 6, 3))
    explanations.write(folder, method, data.split, data.vocabulary)
    path = folder / EXPLAINED
    return Explained.model_validate_json(path.read_bytes()) if path.exists() else None


def test_the_reports_captions_are_explained_with_their_own_picture_and_with_one_found_before_it(
    scenes: Data, tmp_path: Path
) -> None:
    found = written(Looking(), scenes, tmp_path)
    assert found is not None
    queries = read_json(tmp_path / "retrieved.json")["text_to_image"]
    assert len(found.text_to_image) == len(queries) >= 3
    kinds = set()
    for query, made in zip(queries, found.text_to_image, strict=True):
        first = query["retrieved"][0]["image_id"]
        assert [one.image_id for one in made] == [query["image_id"], *([first] if query["rank"] > 1 else [])]
        kinds.add(len(made))
        for one in made:
            check(one, query["caption"], scenes)
    assert kinds == {1, 2}


def check(one: Explanation, caption: str, data: Data) -> None:
    """Each word looks most at the region that its id stands for, and boxes and file name are the picture's."""
    assert one.caption == caption
    assert isinstance(data.split.images, RegionImages)
    row = data.split.images.image_ids.index(one.image_id)
    assert one.file_name == data.images[row].file_name
    boxes = data.split.images.store.boxes(row)
    assert boxes is not None
    np.testing.assert_allclose(np.array(one.boxes), boxes, atol=0.051)
    ids = data.vocabulary.encode(caption).ids[1:-1]
    assert [word.text for word in one.words] == [data.vocabulary.words[i] for i in ids]
    for word, i in zip(one.words, ids, strict=True):
        assert (word.looks[0].region, word.looks[0].weight) == (i % 6, round(0.5 + 0.5 / 6, 4))


def test_nothing_is_written_for_a_method_that_does_not_attend(scenes: Data, tmp_path: Path) -> None:
    assert written(Single(), scenes, tmp_path) is None


def test_nothing_is_written_where_regions_have_no_boxes(tmp_path: Path) -> None:
    data = scan_data(tmp_path, None)
    assert isinstance(data.split.images, RegionImages)
    assert all(data.split.images.store.boxes(row) is None for row in range(4))
    assert written(Looking(), data, tmp_path) is None


def test_a_box_that_is_not_finite_becomes_empty(tmp_path: Path) -> None:
    boxes = np.array([[1, 2, 3, 4.26], [np.nan, 0, 5, 5], [0, 0, 9, 9]], np.float32)
    found = written(Looking(), scan_data(tmp_path, boxes), tmp_path)
    assert found is not None
    assert found.text_to_image[0][0].boxes == ((1, 2, 3, 4.3), (0, 0, 0, 0), (0, 0, 9, 9))


def test_a_region_without_a_box_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValueError, match="a region that has no box"):
        explanation([("dog", True, [(4, 1.0)])])


class Pictures:
    """As much of an image store as the place of a grid's cells needs."""

    def image(self, row: int) -> Image.Image:
        return Image.new("RGB", (60, 40))


@pytest.mark.parametrize(("framing", "cells"), [("stretch", 4), ("stretch", 5), ("crop", 4)])
def test_cells_of_a_grid_lie_row_by_row_over_the_whole_picture(framing: Any, cells: int) -> None:
    from itrcore.data.feeding.pixels import PixelImages

    given = PixelInput(8, framing, (0, 0, 0), (1, 1, 1), 1, False, None, False)
    found = explanations.boxes_of(PixelImages(Pictures(), given), 0, cells)  # type: ignore[arg-type]
    if (framing, cells) != ("stretch", 4):
        assert found is None  # no square of cells, or a picture of which only the middle was seen
    else:
        assert found is not None
        assert found.tolist() == [[0, 0, 30, 20], [30, 0, 60, 20], [0, 20, 30, 40], [30, 20, 60, 40]]
