"""The user's table of captions: what spreadsheets write is read, and what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from itrcore.errors import DataError
from itrcore.own_data.captions import OwnImage, read


def test_captions_of_an_image_are_put_together_in_the_order_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('caption,image\n"A ""big"" cat, grey",b.jpg\nx,a.jpg\n"two\nlines",b.jpg\ny,a.jpg\n', "utf-8")
    assert read(path) == [
        OwnImage("b.jpg", None, 2, ['A "big" cat, grey', "two lines"]),
        OwnImage("a.jpg", None, 3, ["x", "y"]),
    ]


def test_a_spreadsheets_export_is_read(tmp_path: Path) -> None:
    """Byte order mark, tabs, Windows' line ends, blank lines, other columns, an exotic line end inside a caption."""
    text = "\ufeffImage \tid\tcaption\tSPLIT\r\n\r\na.jpg\t1\tA cat’s\u2028“nap”, really\tVal\r\n\t\t\t\r\n"
    (tmp_path / "c.tsv").write_bytes(text.encode())
    assert read(tmp_path / "c.tsv") == [OwnImage("a.jpg", "dev", 3, ["A cat’s “nap”, really"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image;caption\na.jpg;b\n", r"line 1: found the columns image;caption; expected .* commas"),
        ("image,caption,image\na.jpg,b,c\n", r"line 1: found the columns image, caption, image; expected .* each once"),
        ("", r"line 1: found the columns \(none\)"),
        ("image,caption\n\n", r"c\.csv: no captions"),
        ("image,caption\na.jpg,x\n\nb.jpg,  \n", r"line 4: an empty caption of b\.jpg"),
        ("image,caption\na.jpg,x, y\n", r"line 2: found 3 columns; expected 2"),
        ('image,caption\na.jpg,x\nb.jpg,"x\nc.jpg,y\n', r"line 3: found unexpected end of data"),
        (b"image,caption\na.jpg,caf\xe9\n", r"line 2: bytes that are not UTF-8"),
        ("image,caption\n".encode("utf-16"), r"line 1: bytes that are not UTF-8"),
        ("image,caption\n../a.jpg,x\n", r"line 2: found the image '\.\./a\.jpg'"),
        ("image,caption\n.,x\n", r"line 2: found the image '\.'"),
        ("image,caption,split\na.jpg,x,dve\n", r"line 2: found the split 'dve'; expected one of train, dev, val, test"),
        (
            "image,caption,split\na.jpg,x,dev\nb.jpg,x,test\na.jpg,y,test\n",
            r"line 4: a\.jpg is in split 'test' here and in another one in line 2",
        ),
    ],
)
def test_a_faulty_table_is_one_error_that_names_the_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "c.csv")
    assert str(caught.value).startswith(str(tmp_path / "c.csv"))


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DataError, match=f"{path}: cannot be read"):
            read(path)
