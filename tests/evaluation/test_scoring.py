"""Encoding a split once and scoring it in tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import PixelBatch, RegionBatch, TextBatch
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.image_inputs import PixelInput
from itrcore.evaluation.scoring import encode, score
from itrcore.layers.encoded import Sets
from itrcore.methods.contract import EmbeddingMethod, Method
from tests.support.helpers import METHODS, method_of, method_settings, pixel_batch, regions_of, words

WIDTH, N_WORDS, CPU = 6, 20, torch.device("cpu")
LENGTHS = np.array([3, 5, 1, 4, 5, 2, 3])


class Store:
    """Region features in memory, with what a `Split` asks of the shards."""

    folder = Path("memory")

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.image_ids = [100 + row for row in range(len(LENGTHS))]
        self.features = [rng.standard_normal((length, WIDTH)).astype(np.float32) for length in LENGTHS]

    def __len__(self) -> int:
        return len(self.features)

    def gather(self, rows: Any, keep: None = None, stored: bool = False) -> tuple[np.ndarray, np.ndarray]:
        lengths = LENGTHS[list(rows)]
        out = np.zeros((len(rows), int(lengths.max()), WIDTH), np.float32)
        for i, row in enumerate(rows):
            out[i, : lengths[i]] = self.features[row]
        return out, lengths


class Pictures:
    """Pictures in memory."""

    folder, threads = Path("memory"), 2

    def __init__(self) -> None:
        self.image_ids = [100 + row for row in range(len(LENGTHS))]
        self.pixels = pixel_batch(len(LENGTHS)).pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, rows: Any) -> PixelBatch:
        return PixelBatch(self.pixels[list(rows)])

    def feeding(self, *_: object, hold: bool) -> Pictures:
        return self


def split(of: Method | None = None) -> Split:
    """Of what a method reads; region features without one."""
    images: Any = Pictures() if of is not None and isinstance(of.input, PixelInput) else RegionImages(Store())  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    image_of = np.repeat(np.arange(len(LENGTHS)), [1, 3, 2, 5, 1, 2, 3])
    captions = [rng.integers(4, N_WORDS, int(rng.integers(2, 9))).tolist() for _ in image_of]
    return Split(images, range(len(image_of)), TokenTable.of(words(captions)), image_of)


def built(name: str) -> Method:
    settings = method_settings(name)
    return method_of(settings, WIDTH, N_WORDS, 0)


class LateInteraction(Method[RegionBatch, Sets]):
    """Late interaction: each side stays a set, the score is the sum over words of the best region. Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(N_WORDS, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)  # it would change in training mode
        self.seen: list[tuple[str, int, bool]] = []

    def encode_images(self, batch: RegionBatch) -> Sets:
        self.seen.append(("images", len(batch.regions), self.training))
        return Sets.pack(batch.regions, batch.lengths)

    def encode_texts(self, batch: TextBatch) -> Sets:
        self.seen.append(("texts", len(batch.ids), self.training))
        return Sets.pack(self.words(batch.ids), batch.lengths)

    def similarity(self, images: Sets, texts: Sets) -> Tensor:
        self.seen.append(("tile", len(images) * 100 + len(texts), self.training))
        rows = torch.split(images.vectors @ texts.vectors.T, images.lengths.tolist())
        best = torch.stack([row.amax(0) for row in rows])
        return torch.stack([words.sum(1) for words in torch.split(best, texts.lengths.tolist(), dim=1)], dim=1)


def naive_sets(method: LateInteraction, data: Split) -> np.ndarray:
    words = method.words.weight.detach().numpy()
    features = [regions_of(data.images.batch([row])).regions[0].numpy() for row in range(data.n_images)]
    captions = [data.tokens.ids_of(row) for row in range(data.n_captions)]
    return np.array([[sum((f @ words[w]).max() for w in ids) for ids in captions] for f in features])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("tile", [1, 4, 100])
def test_sets_of_any_length_score_the_same_in_any_batches_and_tiles(batch_size: int, tile: int) -> None:
    torch.manual_seed(0)
    method, data = LateInteraction(), split()
    encoded = encode(method, data, batch_size, CPU)
    matrix = score(method, encoded.images, encoded.texts, tile)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, naive_sets(method, data), rtol=1e-5, atol=1e-5)


def test_each_image_and_caption_is_encoded_exactly_once_in_evaluation_mode() -> None:
    method, data = LateInteraction().train(), split()
    encoded = encode(method, data, 4, CPU)
    assert method.seen == [
        *(("images", size, False) for size in (4, 3)),
        *(("texts", size, False) for size in (4, 4, 4, 4, 1)),
    ]
    method.seen.clear()
    score(method, encoded.images, encoded.texts, 5)
    tiles = [rows * 100 + columns for rows in (5, 2) for columns in (5, 5, 5, 2)]
    assert method.seen == [("tile", tile, False) for tile in tiles]
    assert encoded.image_seconds > 0
    assert encoded.text_seconds > 0


def test_it_tells_how_far_it_is() -> None:
    method, data = LateInteraction(), split()
    told: list[tuple[str, int, int | None]] = []
    encoded = encode(method, data, 4, CPU, lambda *given: told.append(given))
    score(method, encoded.images, encoded.texts, 5, show=lambda *given: told.append(given))
    pairs = (25, 50, 75, 85, 95, 105, 115, 119)  # five images with five, ten, … of 17 captions; then the other two
    assert told == [
        *(("images encoded", done, 7) for done in (4, 7)),
        *(("captions encoded", done, 17) for done in (4, 8, 12, 16, 17)),
        *(("pairs scored", done, 119) for done in pairs),
    ]


@pytest.mark.parametrize("training", [True, False])
def test_the_methods_mode_is_put_back_also_after_an_error(training: bool) -> None:
    method, data = LateInteraction().train(training), split()
    encoded = encode(method, data, 4, CPU)
    score(method, encoded.images, encoded.texts, 4)
    assert method.training is training
    assert method.norm.training is training
    data.tokens.ids[0] = N_WORDS + 5
    with pytest.raises(IndexError):
        encode(method, data, 4, CPU)
    assert method.training is training
    narrow = Sets(encoded.texts.vectors[:, :-1], encoded.texts.lengths)
    with pytest.raises(RuntimeError):
        score(method, encoded.images, narrow, 4)
    assert method.training is training


@pytest.mark.parametrize("name", METHODS)
def test_tiles_of_a_method_make_one_matrix_and_leave_no_trace_in_it(name: str) -> None:
    method = built(name).train()
    data = split(method)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    encoded = encode(method, data, 3, CPU)
    if isinstance(method, EmbeddingMethod):
        images, texts = method.image_vectors(encoded.images), method.text_vectors(encoded.texts)
        whole = (images @ texts.T).numpy()
    else:
        with torch.no_grad():
            whole = method.eval().similarity(encoded.images, encoded.texts).numpy()
        method.train()
    assert not encoded.images.vectors.requires_grad and np.ptp(whole) > 1e-3
    for tile in (1, 2, 5, 1000):
        np.testing.assert_allclose(score(method, encoded.images, encoded.texts, tile), whole, rtol=0, atol=1e-6)
    again = encode(method, data, 100, CPU)
    torch.testing.assert_close(again.images.vectors, encoded.images.vectors, rtol=0, atol=5e-6)
    torch.testing.assert_close(again.texts.vectors, encoded.texts.vectors, rtol=0, atol=5e-6)
    after = method.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)  # batch statistics too


def test_scores_fill_the_array_that_is_given(tmp_path: Path) -> None:
    method, data = built("vse_pp_bigru"), split()
    encoded = encode(method, data, 3, CPU)
    out = np.lib.format.open_memmap(tmp_path / "s.npy", "w+", np.float32, (data.n_images, data.n_captions))
    out[:] = np.nan
    assert score(method, encoded.images, encoded.texts, 3, out) is out
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), score(method, encoded.images, encoded.texts, 3))


class BatchDependent(LateInteraction):
    """A caption's vectors hold the length of the longest caption of its batch, which also notes which ones it has."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[list[int]] = []

    def encode_texts(self, batch: TextBatch) -> Sets:
        self.lengths.append(batch.lengths.tolist())
        longest = torch.full((len(batch.ids), batch.ids.shape[1], 1), float(batch.lengths.max()))
        return Sets.pack(torch.cat([batch.ids[..., None], longest], dim=-1), batch.lengths)


def test_captions_are_encoded_as_they_stand_where_their_vectors_depend_on_the_batch() -> None:
    data = split()
    lengths = data.tokens.lengths.tolist()
    method = BatchDependent()
    method.captions_together = 4
    texts = encode(method, data, 7, CPU).texts
    assert method.lengths == [lengths[i : i + 4] for i in range(0, len(lengths), 4)]
    for row, length in enumerate(lengths):
        first = row - row % 4
        vectors = texts[row : row + 1].vectors.numpy()
        np.testing.assert_array_equal(vectors[:, 0], data.tokens.ids_of(row))
        np.testing.assert_array_equal(vectors[:, 1], [max(lengths[first : first + 4])] * length)
    by_length = BatchDependent()
    encode(by_length, data, 4, CPU)
    assert [length for batch in by_length.lengths for length in batch] == sorted(lengths) != lengths
