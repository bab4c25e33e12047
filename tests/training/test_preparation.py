"""What a training prepares, a later training and an evaluation need not prepare again; their results are the same bits."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from itrcore.data.shards import verified
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.evaluation.evaluate import evaluate
from itrcore.files import sha256
from itrcore.runs import inputs
from itrcore.settings.load import load
from tests.support.scores import similarities
from tests.support.tiny_project import project, train_in, weights


def similarity(folder: Path) -> bytes:
    with contextlib.chdir(folder):
        inputs.write(params := load(), "tiny")
        evaluate(params, "one")
        return similarities("one").tobytes()


def test_a_second_training_and_evaluation_tokenise_nothing_and_read_no_shard_for_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path)
    done: list[str] = []
    encode = Vocabulary.encode
    monkeypatch.setattr(verified, "SETTLED", 0.0)
    monkeypatch.setattr(verified, "sha256", lambda path: done.append(path.name) or sha256(path))
    monkeypatch.setattr(Vocabulary, "encode", lambda self, caption: done.append(caption) or encode(self, caption))
    first, scores = weights(train_in(tmp_path)), similarity(tmp_path)
    assert {"train-00000.tar", "dev-00000.tar", "test-00000.tar"} <= set(done) and len(done) > 40 * 5
    kept = sorted(path.relative_to(tmp_path / "cache").as_posix() for path in tmp_path.rglob("cache/**/*.*"))
    assert kept == [
        *(f"tokens/tiny/{split}-words.safetensors" for split in ("dev", "test", "train")),
        *(f"verified/tiny/regions/{split}.json" for split in ("dev", "test", "train")),
    ]
    done.clear()
    assert (weights(train_in(tmp_path)), similarity(tmp_path)) == (first, scores) and done == []
    assert capsys.readouterr().err == ""


def test_a_run_with_word_pieces_takes_them_from_the_file_too(tmp_path: Path) -> None:
    project(tmp_path, {"runs.one.method": "esa_bert"})
    first, scores = weights(train_in(tmp_path)), similarity(tmp_path)
    assert len(list(tmp_path.glob("cache/tokens/tiny/*-pieces.safetensors"))) == 3
    assert (weights(train_in(tmp_path)), similarity(tmp_path)) == (first, scores)
