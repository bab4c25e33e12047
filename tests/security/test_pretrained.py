"""Folders of published models that are not what they say: transformers reads them, and whatever it raises is one error."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from itrcore.data.text.clip_tokens import CLIPTokens
from itrcore.data.text.published_tokens import PublishedTokens
from itrcore.data.text.wordpieces import SPECIAL, WordPieces
from itrcore.errors import ITRError
from itrcore.pretrained import bert, processors
from tests.security import hostile
from tests.security.test_readers import bounded
from tests.support.helpers import bert_folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    bert_folder(folder, [*SPECIAL, *"abc"])
    bert.pretrained(str(folder))  # imports what it needs, which counts for no reader
    return folder


def _json() -> Mapping[str, bytes]:
    # transformers reads JSON by itself: what it takes in another way than we do is none of our concern.
    own = ("a key twice", "half a character", "NaN", "infinity", "1e999", "more than 64 bits")
    return {name: data for name, data in hostile.json_files() if not name.startswith(own)}


def _weights() -> Mapping[str, bytes]:
    return {name: data for name, data in hostile.torch_files().items() if name != "one weight very often"}


@pytest.mark.parametrize(
    ("file", "files", "read"),
    [
        ("config.json", _json, lambda folder: bert.pretrained(str(folder))),
        ("pytorch_model.bin", _weights, lambda folder: bert.pretrained(str(folder))),
        ("model.safetensors", hostile.safetensors_files, lambda folder: bert.pretrained(str(folder))),
        ("tokenizer.json", _json, WordPieces.pretrained),
        ("tokenizer.json", _json, CLIPTokens.pretrained),
        ("tokenizer.json", _json, lambda folder: PublishedTokens.pretrained(folder, None, 8, False, False)),
        ("tokenizer.json", _json, lambda folder: PublishedTokens.read(folder, 8, False, False)),
        ("preprocessor_config.json", _json, lambda folder: processors.pixel_input(str(folder))),
    ],
)
def test_a_hostile_folder_is_one_error(
    written: Path, tmp_path: Path, file: str, files: Callable[[], Mapping[str, bytes]], read: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "model"
    shutil.copytree(written, folder)
    monkeypatch.chdir(tmp_path)
    if file.endswith(".bin"):
        (folder / "model.safetensors").unlink()
    wrong = []
    for name, data in files().items():
        (folder / file).write_bytes(data)
        try:
            with bounded():
                read(folder)
            wrong.append(f"{name}: taken")
        except ITRError as error:
            if "\n" in str(error) or "eights_only" in str(error) or "Weights only" in str(error):
                wrong.append(f"{name}: {error}")
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
        assert not Path("ran").exists()
    assert not wrong, "\n".join(wrong)
