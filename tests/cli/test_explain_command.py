"""`itr explain`: which pair it chooses, what it prints and draws, and one clear error for whatever cannot be explained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from itrcore import layout
from itrcore.cli.app import app
from itrcore.data import captions
from tests.support.tiny_project import PARAMS, prepared, project, train_in

_ESA = PARAMS["methods"]["esa"]
_ESL = {
    "model": {
        **{key: value for key, value in _ESA["model"].items() if key != "views"},
        **{"kind": "esl", "strategy": "heuristic", "levels": 2, "kernel": 2},
    },
    "loss": _ESA["loss"],
    "recipe": _ESA["recipe"],
}
_RUN = {"data": "tiny", "method": "esl", "seed": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run of a method that attends and one of a method that does not; both are trained."""
    folder = tmp_path_factory.mktemp("explained")
    project(folder, {"methods.esl": _ESL, "runs.looks": _RUN, "runs.again": {**_RUN, "seed": 2}})
    pictures = prepared() / layout.raw("tiny") / "images"
    shutil.copytree(pictures, folder / layout.raw("tiny") / "images", dirs_exist_ok=True)
    for name in ("looks", "two"):
        train_in(folder, name)
    return folder


@pytest.fixture
def inside(trained: Path, monkeypatch: Any) -> Iterator[Path]:
    """The working directory; what a test writes there is removed."""
    monkeypatch.chdir(trained)
    yield trained
    shutil.rmtree(trained / "explanations", ignore_errors=True)


def itr(*arguments: str) -> tuple[int, str]:
    """Exit status and output of `itr explain` in a terminal of 80 columns."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["explain", *arguments])
    return result.exit_code, result.output


def images() -> list[captions.Image]:
    return captions.read(layout.captions("tiny"), "test")


def test_a_run_alone_shows_the_first_caption_of_test_with_its_own_picture(inside: Path) -> None:
    first = images()[0]
    status, output = itr("looks")
    assert status == 0, output
    lines = [line.strip() for line in output.splitlines()]
    assert lines[0] == first.captions[0]
    path = Path("explanations/looks") / f"{first.image_id}-{first.caption_ids[0]}.png"
    assert lines[-1] == str(path)
    assert max(map(len, output.splitlines()[1:-1])) <= 80
    words = [line.split()[0] for line in lines[4:-2]]
    assert " ".join(words).replace(" ,", ",").replace(" .", ".").startswith(first.captions[0].lower()[:12])
    assert all(line.count(" %)") == 3 for line in lines[4:-2])
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG" and picture.width > 900


@pytest.mark.parametrize("which", ["image", "caption", "both"])
def test_image_and_caption_are_chosen_by_their_ids(inside: Path, which: str) -> None:
    one, other = images()[2], images()[5]
    chosen = {
        "image": (["--image", str(one.image_id)], one.captions[0], f"{one.image_id}-{one.caption_ids[0]}.png"),
        "caption": (["--caption-id", str(one.caption_ids[3])], one.captions[3], f"{one.image_id}-{one.caption_ids[3]}.png"),
        "both": (
            ["--image", str(other.image_id), "--caption-id", str(one.caption_ids[3])],
            one.captions[3],
            f"{other.image_id}-{one.caption_ids[3]}.png",
        ),
    }  # fmt: skip
    arguments, caption, name = chosen[which]
    status, output = itr("looks", *arguments)
    assert status == 0, output
    assert output.splitlines()[0] == caption
    assert output.splitlines()[-1] == f"explanations/looks/{name}"


def test_a_caption_of_ones_own_is_explained_with_the_words_that_the_run_knows(inside: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "own.png"
    status, output = itr("looks", "--text", "A red zebra [bold]", "--out", str(out))
    assert status == 0, output
    assert output.splitlines()[0] == "A red zebra [bold]"
    words = [line.split()[0] for line in output.splitlines()[4:-2] if line.strip()]
    assert words == ["a", "red", "<unk>", "<unk>", "<unk>", "<unk>"]
    assert out.is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch"], "nosuch"),
        (["two"], "two: in vse_infty_bigru no word looks at regions"),
        (["two"], "expected a run of a method whose words do (esl, esl_bert, esl_grid, saf)"),
        (["again"], "dvc repro train@again"),
        (["looks", "--image", "99999"], "no image 99999 in test; expected the id of one of its images (8 from"),
        (["looks", "--caption-id", "99999"], "no caption 99999 in test; expected the id of one of its captions (40 from"),
        (["looks", "--caption-id", "1", "--text", "a dog"], "--text and --caption-id both give a caption"),
        (["looks", "--text", "  "], "--text is empty"),
        (["looks", "--out", "a.jpg"], "a file that ends in .png"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_one_clear_error(inside: Path, arguments: list[str], says: str) -> None:
    status, output = itr(*arguments)
    assert status == 1
    assert says in output and output.startswith("error: ") and len(output.splitlines()) == 1
    assert not Path("explanations").exists()


def test_without_the_picture_the_table_is_shown_and_the_error_says_what_is_missing(inside: Path) -> None:
    image = images()[0]
    assert image.file_name is not None
    path = layout.raw("tiny") / "images" / image.file_name
    kept = path.read_bytes()
    path.unlink()
    try:
        status, output = itr("looks")
    finally:
        path.write_bytes(kept)
    assert status == 1
    assert output.splitlines()[0] == image.captions[0] and "strongest regions" in output
    assert f"{image.file_name}: no such file" in output
    assert not Path("explanations").exists()


@pytest.mark.parametrize("text", ["\x1b[31m\x1b]0;T\x07 a dog\x9b", "a \u202ered\udcff zebra"])
def test_no_terminal_obeys_a_caption(inside: Path, text: str) -> None:
    status, output = itr("looks", "--text", text, "--out", "a.png")
    assert not set(output) & set("\x1b\x07\x9b\u202e\udcff") and "Traceback" not in output
    assert (status == 0 and (inside / "a.png").exists()) or output.startswith("error: --text")
    (inside / "a.png").unlink(missing_ok=True)
