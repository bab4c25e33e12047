"""Pictures as pixels: framed as OpenCV and CLIP frame them, cropped and mirrored at random, normalised per backbone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from itrcore.data.feeding.batches import PixelBatch
from itrcore.data.feeding.pixels import PixelImages, frame, random_crop
from itrcore.data.image_inputs import PixelInput
from itrcore.data.shards.images import ImageStore
from tests.support.picture_data import PictureFolder, photo

CPU = torch.device("cpu")
PLAIN = PixelInput(
    picture=20, framing="stretch", mean=(0, 0, 0), std=(1, 1, 1), scale=1.0, bgr=False, random_crop=None, flip=False
)
CLIP = replace(
    PLAIN,
    framing="crop",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    scale=255.0,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """Seven pictures of several formats, 64 × 48."""
    path = tmp_path_factory.mktemp("shards")
    return ImageStore(PictureFolder(path).write(path / "out"), "train")


def places(width: int, height: int) -> Image.Image:
    """A picture that says of each pixel where it is: red is x, green is y."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8))


def inter_linear(picture: Image.Image, side: int) -> np.ndarray:
    """OpenCV's INTER_LINEAR, pixel by pixel as its documentation has it: the centres of pixels are at halves, edges repeat."""
    pixels = np.asarray(picture, np.float64)
    height, width, _ = pixels.shape
    out = np.empty((3, side, side))
    for row in range(side):
        for column in range(side):
            y = min(max((row + 0.5) * height / side - 0.5, 0), height - 1)
            x = min(max((column + 0.5) * width / side - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = pixels[top, left] * (1 - x + left) + pixels[top, right] * (x - left)
            under = pixels[below, left] * (1 - x + left) + pixels[below, right] * (x - left)
            out[:, row, column] = above * (1 - y + top) + under * (y - top)
    return out


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (16, 24), (20, 20), (8, 64)])
def test_stretching_is_bilinear_without_antialiasing(size: tuple[int, int]) -> None:
    picture = photo(1, size)
    np.testing.assert_allclose(frame(picture, PLAIN), inter_linear(picture, 20), atol=1e-3)


def centre(resized: torch.Tensor, side: int) -> torch.Tensor:
    """torchvision's CenterCrop: half of what is too much, rounded to the nearest number, halves to the even one."""
    top, left = ((length - side) // 2 + ((length - side) % 4 == 3) for length in resized.shape[-2:])
    return resized[..., top : top + side, left : left + side]


@pytest.mark.parametrize(
    "size", [(64, 48), (48, 64), (16, 24), (20, 20), (20, 45), (333, 500), (8, 64), (20, 47), (23, 20), (640, 427)]
)
def test_cropping_is_transformers_resize_and_torchvisions_crop(size: tuple[int, int]) -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": 20}, do_center_crop=False)
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8))
    theirs = processor(picture, do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values[0]
    assert frame(picture, CLIP).float().equal(centre(theirs.float(), 20))


@pytest.mark.parametrize(
    ("length", "begins"), [(20, 0), (21, 0), (22, 1), (23, 2), (24, 2), (25, 2), (26, 3), (27, 4), (28, 4), (29, 4)]
)
def test_a_crop_of_an_odd_difference_begins_at_the_even_number(length: int, begins: int) -> None:
    assert frame(places(length, 20), CLIP)[0, 0, 0] == begins
    assert frame(places(20, length), CLIP)[1, 0, 0] == begins


def test_real_photos_become_what_clips_processor_makes_of_them_and_torchvisions_crop(shared_data: Path) -> None:
    photos = sorted((shared_data / "f30k_photos" / "images_orig").glob("*.jpg"))[:6]
    assert photos
    for path in photos:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        theirs = centre(CLIPImageProcessorPil(do_center_crop=False)(picture, return_tensors="pt").pixel_values, 224)
        ours = PixelImages(_One(picture), replace(CLIP, picture=224)).batch([0]).pixels  # type: ignore[arg-type]
        torch.testing.assert_close(ours, theirs.float(), atol=1e-5, rtol=0)


class _One:
    """A store of one picture."""

    def __init__(self, picture: Image.Image) -> None:
        self.picture = picture

    def image(self, row: int) -> Image.Image:
        return self.picture


def test_a_batch_is_the_pictures_in_the_order_asked_for(store: ImageStore) -> None:
    images = PixelImages(store, PLAIN)
    batch = images.batch(np.array([3, 0, 3]))
    assert batch.pixels.shape == (3, 3, 20, 20) and batch.pixels.dtype == torch.float32
    for pixels, row in zip(batch.pixels, (3, 0, 3), strict=True):
        assert pixels.equal(frame(store.image(row), PLAIN))
    assert (len(images), images.image_ids, images.folder.name) == (7, store.image_ids, "out")


def test_values_are_scaled_and_normalised_per_channel() -> None:
    picture = Image.new("RGB", (30, 30), (255, 51, 0))
    given = replace(PLAIN, mean=(0.5, 0.4, 0.3), std=(0.5, 0.1, 0.2), scale=255.0)
    pixels = PixelImages(_One(picture), given).batch([0]).pixels[0, :, 0, 0]  # type: ignore[arg-type]
    torch.testing.assert_close(pixels, torch.tensor([1.0, -2.0, -1.5]))


def test_caffes_pixels_are_blue_green_red_less_their_means() -> None:
    picture = Image.new("RGB", (30, 30), (200, 100, 50))
    given = replace(PLAIN, mean=(102.9801, 115.9465, 122.7717), bgr=True)
    pixels = PixelImages(_One(picture), given).batch([0]).pixels[0, :, 0, 0]  # type: ignore[arg-type]
    torch.testing.assert_close(pixels, torch.tensor([50 - 102.9801, 100 - 115.9465, 200 - 122.7717]))


def test_a_random_crop_keeps_the_same_share_of_both_sides_at_any_place() -> None:
    picture, rng = places(200, 100), np.random.default_rng(3)
    crops = [np.asarray(random_crop(picture, 0.6, rng)) for _ in range(500)]
    shares, free = [], []
    for crop in crops:
        height, width, _ = crop.shape
        assert abs(width / 200 - height / 100) < 0.011
        left, top = int(crop[0, 0, 0]), int(crop[0, 0, 1])
        assert (crop == np.asarray(picture)[top : top + height, left : left + width]).all()
        shares.append(width / 200)
        if width < 200 and height < 100:
            free.append((left / (200 - width), top / (100 - height)))
    assert 0.595 <= min(shares) < 0.62 and 0.98 < max(shares) <= 1 and abs(np.mean(shares) - 0.8) < 0.02
    assert (np.min(free, axis=0) == 0).all() and (np.max(free, axis=0) == 1).all()  # the last place is a place too
    assert np.abs(np.mean(free, axis=0) - 0.5).max() < 0.05
    assert abs(np.corrcoef(np.array(free).T)[0, 1]) < 0.15


def test_the_smallest_picture_can_be_cropped() -> None:
    assert random_crop(Image.new("RGB", (1, 1)), 0.6, np.random.default_rng(0)).size == (1, 1)


def test_training_stretches_crops_to_the_square_and_mirrors_half_of_them(store: ImageStore) -> None:
    images = PixelImages(_One(places(200, 100)), replace(PLAIN, random_crop=0.6, flip=True))  # type: ignore[arg-type]
    pixels = images.training_batch([0] * 400, np.random.default_rng(4)).pixels
    red, green = pixels[:, 0, 0], pixels[:, 1, :, 0]
    mirrored = red[:, 0] > red[:, -1]
    assert 160 < int(mirrored.sum()) < 240
    assert (green.diff(dim=1) > 0).all()  # never upside down
    wide = (red[:, -1] - red[:, 0]).abs() / 190  # a square's outermost centres are 95 % of its width apart
    high = (green[:, -1] - green[:, 0]) / 95
    torch.testing.assert_close(wide, high, atol=0.02, rtol=0)


def test_training_without_changes_is_the_picture_itself(store: ImageStore) -> None:
    images = PixelImages(store, CLIP)
    assert images.training_batch([1, 2], np.random.default_rng(5)).pixels.equal(images.batch([1, 2]).pixels)


def test_everything_random_comes_from_the_generator(store: ImageStore) -> None:
    images = PixelImages(store, replace(PLAIN, random_crop=0.6, flip=True))
    torch.manual_seed(6)
    first = images.training_batch(range(7), np.random.default_rng(6)).pixels
    torch.manual_seed(7)
    assert images.training_batch(range(7), np.random.default_rng(6)).pixels.equal(first)
    assert not images.training_batch(range(7), np.random.default_rng(7)).pixels.equal(first)
    assert images.batch(range(7)).pixels.equal(PixelImages(store, PLAIN).batch(range(7)).pixels)


GRID = replace(PLAIN, mean=(102.9801, 115.9465, 122.7717), std=(1, 2, 3), bgr=True, random_crop=0.6, flip=True)


@pytest.mark.parametrize("given", [CLIP, replace(CLIP, bgr=True, flip=True), GRID])
def test_batches_that_the_device_normalises_are_the_same(store: ImageStore, given: PixelInput) -> None:
    read, meta = PixelImages(store, given), torch.device("meta")
    fed = read.feeding(meta, hold=given is not CLIP)  # the others are of a kind that no device holds
    for rows in ([3, 0, 3, 5], np.arange(7)[::-1], [2]):
        pairs = [(images.batch(rows), images.training_batch(rows, np.random.default_rng(1))) for images in (read, fed)]
        for one, other in zip(*pairs, strict=True):
            assert other.pixels.dtype == (torch.uint8 if given.framing == "crop" else torch.float32)
            assert other.to(meta).pixels.dtype == torch.float32
            assert one.pixels.equal(PixelBatch(other.pixels, read.normalise).part(slice(None)).to(CPU).pixels)


def test_a_device_that_holds_them_decodes_each_once(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read, decoded = PixelImages(store, CLIP), list[int]()
    assert read.n_bytes == 7 * 3 * 20 * 20 and PixelImages(store, GRID).n_bytes == 0
    whole = read.batch(range(7)).pixels
    image = store.image
    monkeypatch.setattr(store, "image", lambda row: decoded.append(row) or image(row))  # type: ignore[func-returns-value]
    monkeypatch.setattr("itrcore.data.feeding.pixels._TOGETHER", 3)
    held = read.feeding(CPU, hold=True)
    for rows in ([3, 0, 3, 5], np.arange(7)[::-1]):
        assert held.batch(rows).to(CPU).pixels.equal(whole[np.array(rows)])
        for _ in range(2):  # what is held is not normalised twice
            assert held.training_batch(rows, np.random.default_rng(1)).to(CPU).pixels.equal(whole[np.array(rows)])
    assert sorted(decoded) == list(range(7))
    assert held.feeding(CPU, hold=False) is held


def test_a_gpu_is_fed_by_all_cores_but_one(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itrcore.data.feeding.pixels.all_cores", lambda: 12)
    monkeypatch.setattr("itrcore.data.feeding.images.cores", lambda: 8)
    images = PixelImages(store, GRID)
    assert (images.threads, images.feeding(torch.device("meta"), hold=False).threads) == (4, 11)


def test_threads_may_share_it(store: ImageStore) -> None:
    images = PixelImages(store, replace(PLAIN, random_crop=0.6, flip=True))

    def make(seed: int) -> torch.Tensor:
        return images.training_batch(range(7), np.random.default_rng(seed)).pixels

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(make, range(40)))
    assert all(pixels.equal(make(seed)) for seed, pixels in enumerate(together))
