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


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (["image,caption", 'a.jpg,"go home', "b.jpg,a red bus", 'c.jpg,a screen of 42"', "d.jpg,a dog"], 2),
        (["image,caption", "z.jpg,x", 'a.jpg,"go home', 'b.png,a screen of 42"'], 3),
        (["image,caption", 'a.jpg,"go home', 'b.jpg,"'], 2),
        (["image,caption", "01,x", '02,"go home', '03,a screen of 42"'], 3),
        (["caption,image", '"go home,a.jpg', 'a screen of 42",b.jpg'], 2),
        (["image,caption,id", 'a.jpg,"go home,1', "b.jpg,x,2", 'c.jpg,42",3'], 2),
        (["image,caption,note", "z.jpg,x,", 'a.jpg,"one', 'two","no', 'b.jpg,x,42"'], 4),
        (["image,caption,note", 'a.jpg,x,"no', 'b.jpg,x,42"'], 2),
        (["note,image,caption", '"no,a.jpg,x', '42",b.jpg,x'], 2),
        (['image,caption,"note', 'a.jpg,x,42"', "b.jpg,x,"], 1),
        (["image,caption", '"a.jpg', 'b.jpg",x'], 2),
    ],
)
def test_a_quotation_mark_that_swallows_rows_is_named_with_its_line(
    rows: list[str], line: int, ending: str, tmp_path: Path
) -> None:
    for name, delimiter in (("c.csv", ","), ("c.tsv", "\t")):
        text = "".join(row.replace(",", delimiter) + ending for row in rows)
        (tmp_path / name).write_bytes(text.encode())
        with pytest.raises(DataError, match=rf"{name}, line {line}: a cell that begins with a quotation mark"):
            read(tmp_path / name)


def test_a_caption_may_span_lines_that_hold_commas(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('image,caption\na.jpg,"A cat, grey\nTwo dogs, brown,\non a mat in the U.S., 3.5 m long"\nb.jpg,x\n')
    assert [image.name for image in read(path)] == ["a.jpg", "b.jpg"]


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DataError, match=f"{path}: cannot be read"):
            read(path)
