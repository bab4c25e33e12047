"""One picture file: found where data sets keep it, refused where it is no whole still picture, turned into RGB as others do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itrcore.data import pictures
from itrcore.data.pictures import PictureFacts
from itrcore.errors import DataError
from tests.support.picture_data import encoded, photo, png_header

PATH = Path("photos/x.jpg")


def examine(data: bytes, max_megapixels: float = 50.0) -> PictureFacts:
    return pictures.examine(data, PATH, max_megapixels)


# Where it lies


@pytest.mark.parametrize(
    ("file_name", "lies_at"),
    [
        ("1000092795.jpg", "1000092795.jpg"),
        ("IMG_0001.JPG", "IMG_0001.JPG"),
        ("zebras/b.png", "zebras/b.png"),
        ("COCO_train2014_000000057870.jpg", "COCO_train2014_000000057870.jpg"),
        ("COCO_train2014_000000057870.jpg", "train2014/COCO_train2014_000000057870.jpg"),
        ("COCO_val2014_000000184613.jpg", "val2014/COCO_val2014_000000184613.jpg"),
        ("val2014/COCO_val2014_000000184613.jpg", "val2014/COCO_val2014_000000184613.jpg"),
        ("val2014/COCO_val2014_000000184613.jpg", "COCO_val2014_000000184613.jpg"),
    ],
)
def test_a_picture_is_found_by_the_names_that_data_sets_give(tmp_path: Path, file_name: str, lies_at: str) -> None:
    (tmp_path / lies_at).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / lies_at).write_bytes(b"x")
    assert pictures.find(tmp_path, file_name) == tmp_path / lies_at


def test_a_file_of_the_same_name_in_another_folder_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"zebras/1\.jpg: no such file"):
        pictures.find(tmp_path, "zebras/1.jpg")


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "/etc/passwd", "..\\x.jpg", "C:\\x.jpg", "", "x\0.jpg"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.jpg").write_bytes(b"x")
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="leads out of this folder"):
        pictures.find(tmp_path / "photos", name)


def test_a_folder_that_is_named_like_a_picture_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(DataError, match=r"x\.jpg: no such file"):
        pictures.find(tmp_path, "x.jpg")


def test_a_link_that_stands_in_the_folder_is_followed(tmp_path: Path) -> None:
    # DVC links files into its cache, and users link their photos.
    (tmp_path / "cache").write_bytes(b"x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.jpg").symlink_to(tmp_path / "cache")
    assert pictures.find(tmp_path / "photos", "x.jpg").read_bytes() == b"x"


# What it is


def test_the_facts_are_of_the_content_and_not_of_the_name() -> None:
    assert examine(encoded(photo())) == PictureFacts("JPEG", 64, 48, "RGB")
    assert examine(encoded(photo(), progressive=True)) == PictureFacts("JPEG", 64, 48, "RGB")
    assert examine(encoded(photo(), "PNG")) == PictureFacts("PNG", 64, 48, "RGB")
    assert examine(encoded(photo(), "WEBP")) == PictureFacts("WEBP", 64, 48, "RGB")
    assert examine(encoded(photo().convert("P"), "GIF")) == PictureFacts("GIF", 64, 48, "P")
    assert examine(encoded(photo().convert("L"))).mode == "L"
    assert examine(encoded(photo().convert("CMYK"))).mode == "CMYK"
    assert examine(encoded(photo().convert("RGBA"), "PNG")).mode == "RGBA"


def test_a_jpeg_with_a_preview_behind_it_is_a_jpeg() -> None:
    data = encoded(photo(), "MPO", save_all=True, append_images=[photo(1)])
    assert examine(data) == PictureFacts("JPEG", 64, 48, "RGB")
    assert decoded_close_to(data, photo())


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_cut_short_is_refused_wherever_it_was_cut(kind: str, share: float) -> None:
    data = encoded(photo(), progressive=True) if kind == "progressive" else encoded(photo(), kind)
    examine(data)
    with pytest.raises(DataError, match=r"photos/x\.jpg: (damaged or cut short|no picture of a known format)"):
        examine(data[: int(share * len(data))])


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_a_jpeg_whose_end_is_zeros_is_refused(share: float) -> None:
    # Detailed pictures: decoders take the zeros for grey blocks, find enough of them and are content.
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), quality=95)
    kept = int(share * len(data))
    filled = data[:kept] + bytes(len(data) - kept)
    with pytest.raises(DataError, match="filled with zeros"):
        examine(filled)
    examine(data + bytes(512))


def test_a_byte_that_changed_within_a_png_is_noticed() -> None:
    data = bytearray(encoded(photo(), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(DataError, match="damaged or cut short"):
        examine(bytes(data))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match=r"photos/x\.jpg: an animation"):
        examine(encoded(photo(), kind, save_all=True, append_images=[photo(1)]))


def test_a_large_picture_is_refused_from_its_header() -> None:
    # Decoding would find it cut short: the size comes first.
    with pytest.raises(DataError, match=r"too large: 8,000 × 7,000 pixels; expected at most 50 megapixels"):
        examine(png_header(8000, 7000))
    with pytest.raises(DataError, match="damaged or cut short"):
        examine(png_header(8000, 7000), max_megapixels=60)


def test_a_bomb_is_refused_whatever_the_settings_allow() -> None:
    with pytest.raises(DataError, match=r"photos/x\.jpg: too large: .*2500000000 pixels"):
        examine(png_header(50_000, 50_000), max_megapixels=1e6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>not found</html>", "begins with b'<!DOCTYPE ht'"),
        (encoded(photo(), "TIFF"), "no picture of a known format"),
    ],
)
def test_what_is_no_picture_is_named_with_what_it_begins_with(data: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        examine(data)
    assert str(caught.value).startswith("photos/x.jpg: ")
    assert message in str(caught.value)
    assert "expected JPEG, PNG, WEBP or GIF" in str(caught.value)


# As RGB


def decoded_close_to(data: bytes, expected: Image.Image) -> bool:
    picture = pictures.decode(data, PATH)
    assert picture.mode == "RGB"
    difference = np.asarray(picture).astype(int) - np.asarray(expected.convert("RGB")).astype(int)
    return bool(np.abs(difference).mean() < 6)  # JPEG's loss


def test_every_kind_becomes_the_rgb_it_shows() -> None:
    plain = photo()
    grey = plain.convert("L")
    assert np.array_equal(pictures.decode(encoded(plain, "PNG"), PATH), plain)
    assert np.array_equal(
        pictures.decode(encoded(grey, "PNG"), PATH), np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    )
    assert decoded_close_to(encoded(plain, quality=95), plain)
    assert decoded_close_to(encoded(grey, quality=95), grey)
    assert decoded_close_to(encoded(plain.convert("CMYK"), quality=95), plain)  # Pillow writes them as Adobe does
    assert decoded_close_to(encoded(plain.quantize(256), "PNG"), plain.quantize(256))


@pytest.mark.filterwarnings("error")
def test_the_colours_beneath_transparency_show() -> None:
    clear = photo()
    clear.putalpha(0)
    assert np.array_equal(pictures.decode(encoded(clear, "PNG"), PATH), photo())
    palette = photo().quantize(16)
    data = encoded(palette, "PNG", transparency=bytes(range(16)))
    assert np.array_equal(pictures.decode(data, PATH), palette.convert("RGB"))


def test_16_bit_greyscale_keeps_its_brightness() -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    data = encoded(Image.fromarray(deep), "PNG")
    assert examine(data).mode == "I;16"
    assert np.array_equal(np.asarray(pictures.decode(data, PATH))[..., 1], deep >> 8)


def test_pixels_stay_as_stored_whatever_exif_says() -> None:
    exif = Image.Exif()
    exif[274] = 6  # turn by 90° to show
    data = encoded(photo(), quality=95, exif=exif)
    assert (examine(data).width, examine(data).height) == pictures.decode(data, PATH).size == (64, 48)
    assert decoded_close_to(data, photo())


def test_real_photos_are_whole_and_a_cut_or_zeroed_end_is_found_in_each(shared_data: Path) -> None:
    files = sorted((shared_data / "coco_mini").glob("*2017/*.jpg"))[:20]
    files += sorted((shared_data / "f30k_photos").glob("images_*/*.jpg"))[:20]
    assert files
    for path in files:
        data = path.read_bytes()
        assert pictures.examine(data, path, 50).format == "JPEG"
        for damaged in (data[: len(data) * 9 // 10], data[: len(data) * 9 // 10] + bytes(len(data) // 10)):
            with pytest.raises(DataError, match=path.name):
                pictures.examine(damaged, path, 50)
