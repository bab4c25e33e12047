"""What decides a training: a killed one goes on after a change of anything else, and starts anew after a change of that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from itrcore import code, intact
from itrcore.data import captions
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.data.text.wordpieces import WordPieces
from itrcore.files import read_json
from itrcore.runs import inputs
from itrcore.settings.load import load
from tests.support.killing import Kill, saved
from tests.support.tiny_project import freeze_code, project, train_in, weights, write_params


@pytest.fixture
def kill(monkeypatch: Any) -> Kill:
    return Kill(monkeypatch)


class Code:
    """A copy of the code, of which records are made from now on, as if it was this that runs."""

    def __init__(self, folder: Path, monkeypatch: Any) -> None:
        self.folder = freeze_code(folder)
        monkeypatch.setattr(code, "_HOME", self.folder)
        forget_code()

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")
        forget_code()


def forget_code() -> None:
    """A process reads the code once, as it does not change while it runs."""
    for known in (code._read, code._path, code._beside):
        known.cache_clear()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: Any) -> Iterator[Code]:
    yield Code(tmp_path / "code", monkeypatch)
    monkeypatch.undo()
    forget_code()


def caption_changed(folder: Path, split: str) -> None:
    """The first caption of a split says something else; as many words as before, in a table that is written anew."""
    path = folder / "data" / "tiny" / "captions.parquet"
    table = captions.read_table(path)
    texts = table["text"].to_pylist()
    row = table["split"].to_pylist().index(split)
    texts[row] = " ".join(reversed(texts[row].split()))
    at = table.schema.get_field_index("text")
    captions.write(table.set_column(at, table.schema.field(at), pa.array(texts, table.schema.field(at).type)), path)


def region_changed(folder: Path) -> None:
    """One value of one training image's features is another one, in shards that are written anew."""
    from stages import shards

    path = folder / "data" / "tiny" / "raw" / "train_ims.npy"
    features = np.load(path)
    features[0, 0, 0] += 1
    np.save(path, features)
    intact.seal(path.parent)
    with contextlib.chdir(folder):
        shards.main(load(), "tiny")


def vocabulary_changed(folder: Path) -> None:
    vocab = folder / "data" / "tiny" / "vocab"
    vocabulary = Vocabulary.load(vocab / "vocab.json", folder / "data" / "nltk")
    Vocabulary([*vocabulary.words[:-1], "unheard-of"], vocabulary.splitter).save(vocab / "vocab.json")
    intact.seal(vocab)


def pieces_changed(folder: Path) -> None:
    path = folder / "data" / "tiny" / "vocab" / "wordpieces.txt"
    WordPieces([*WordPieces.read(path).pieces[:-1], "unheard"]).save_vocabulary(path)
    intact.seal(path.parent)


# What a change is: entries of params.yaml or of a recipe, or a change of the data, or an edit of the code.
Change = dict[str, Any] | Callable[[Path], None] | tuple[str, str, str]
ESA_CODE, IMPORTS = "itrcore/methods/vse/esa.py", "from __future__ import annotations\n"
DECIDING: dict[str, Change] = {
    "learning rate": {"methods.esa.recipe.learning_rate": 1e-3},
    "seed": {"runs.one.seed": 2},
    "profile": {"profiles.dry": {"model": {"text": {"dropout": 0.0}}}, "runs.one.profile": "dry"},
    "selection": {"training.selection.captions": 10},
    "threads": {"training.threads": 2},
    "regions": region_changed,
    "vocabulary": vocabulary_changed,
    "captions of train": partial(caption_changed, split="train"),
    "captions of dev": partial(caption_changed, split="dev"),
    "method's code": (ESA_CODE, IMPORTS, f"{IMPORTS}NEW = 1\n"),
    "loop's code": ("itrcore/training/loop.py", IMPORTS, f"{IMPORTS}NEW = 1\n"),
}
OTHER: dict[str, Change] = {
    "how often it is saved": {"training.save_every_steps": 2},
    "evaluation": {"evaluation": {"batch_size": 7, "tile": 9, "vectors": "float16", "retrieved": 1, "queries": 4}},
    "another run": {"runs.two.seed": 5},
    "another method's recipe": {"methods.saf.recipe.learning_rate": 1e-3},
    "title": {"report.title": "another"},
    "captions of test": partial(caption_changed, split="test"),
    "word pieces": pieces_changed,  # this run's captions are of words
    "comment": (ESA_CODE, IMPORTS, f"# A word.\n{IMPORTS}"),
    "docstring": (ESA_CODE, '"""', '"""Said otherwise. '),
    "another method's code": ("itrcore/methods/vse/vse.py", IMPORTS, f"{IMPORTS}NEW = 1\n"),
    "the report's code": ("itrcore/report/html.py", IMPORTS, f"{IMPORTS}NEW = 1\n"),
    "code that only says what goes on": ("itrcore/training/display.py", IMPORTS, f"{IMPORTS}NEW = 1\n"),
}


def apply(change: Change, folder: Path, copied: Code) -> None:
    if isinstance(change, dict):
        write_params(folder, change)
    elif isinstance(change, tuple):
        copied.edit(*change)
    else:
        change(folder)


@pytest.mark.parametrize("change", DECIDING)
def test_a_state_of_other_settings_data_or_code_is_not_continued(
    change: str, tmp_path: Path, kill: Kill, copied: Code, capsys: Any
) -> None:
    project(tmp_path)
    kill.after(2, tmp_path)
    assert saved(tmp_path).global_step == 8
    apply(DECIDING[change], tmp_path, copied)
    capsys.readouterr()
    kill.after(1, tmp_path)
    assert "step-00000008 is of other settings, data or code: not continued." in capsys.readouterr().out
    assert saved(tmp_path).global_step == 4


@pytest.mark.parametrize("change", OTHER)
def test_a_training_goes_on_after_a_change_of_what_does_not_decide_it(
    change: str, tmp_path: Path, kill: Kill, copied: Code, capsys: Any
) -> None:
    """An afternoon's comment must not cost a night's training."""
    project(tmp_path)
    whole = weights(train_in(tmp_path))
    kill.after(2, tmp_path)
    assert saved(tmp_path).global_step == 8
    apply(OTHER[change], tmp_path, copied)
    kill.after(1, tmp_path)
    assert saved(tmp_path).global_step in (10, 12)
    run = train_in(tmp_path)
    assert "not continued" not in capsys.readouterr().out
    assert weights(run) == whole


def test_what_decides_a_training_stands_in_run_json(tmp_path: Path, kill: Kill) -> None:
    params = project(tmp_path)
    run = train_in(tmp_path)
    with contextlib.chdir(tmp_path):
        record = inputs.training(params, "one")
    assert read_json(run / "run.json")["inputs"] == record
    assert record["data"].keys() == {"train", "dev", "vocabulary"}
    assert record["settings"]["seed"] == 1 and record["settings"]["recipe"]["epochs"] == 3
    assert "itrcore.methods.vse.esa" in record["code"] and "itrcore.methods.vse.vse" not in record["code"]


def test_a_changed_code_version_alone_does_not_throw_a_training_away(
    tmp_path: Path, kill: Kill, monkeypatch: Any
) -> None:
    """A commit of the README must not cost a night's training."""
    project(tmp_path)
    kill.after(2, tmp_path)
    monkeypatch.setattr("itrcore.methods.describe.code_version", lambda: "abc-dirty")
    kill.after(1, tmp_path)
    assert saved(tmp_path).global_step == 12
