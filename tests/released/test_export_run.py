"""Runs as released checkpoints: what is written, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import ConfigError, DataError
from itrcore.files import read_json, write_json
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.exporting import export_run
from tests.support.tiny_project import rewrite


def test_an_export_takes_its_vocabulary_along_and_overwrites_no_other(folder: Path) -> None:
    exported = export_run(Path("runs/tiny/one"), Path("here/model_best.pth"))
    assert exported.vocabulary == Path("here/tiny_precomp_vocab.json")
    words = Vocabulary.load(exported.vocabulary, Path("data/nltk")).words
    assert words == Vocabulary.load(Path("data/tiny/vocab/vocab.json"), Path("data/nltk")).words
    write_json(exported.vocabulary, {"word2idx": {word: i for i, word in enumerate(words)}, "mine": True})
    export_run(Path("runs/tiny/one"), Path("here/model_best.pth"))
    assert read_json(exported.vocabulary)["mine"]  # of the same words: as good as ours
    write_json(exported.vocabulary, {"word2idx": {}})
    Path("here/model_best.pth").unlink()
    with pytest.raises(DataError, match=r"here/tiny_precomp_vocab\.json: another vocabulary; .*into another folder"):
        export_run(Path("runs/tiny/one"), Path("here/model_best.pth"))
    assert {path.name for path in Path("here").iterdir()} == {"tiny_precomp_vocab.json"}
    assert export_run(Path("runs/tiny/three"), Path("here/model_best.pth")).vocabulary is None


OPENED = "its vocabulary is tiny_precomp_vocab.json; the released code opens f30k_precomp_vocab.json"


@pytest.mark.parametrize(
    ("data", "caution"),
    [
        ("tiny", OPENED),
        ("my-coco", "its vocabulary is my-coco_precomp_vocab.json; the released code opens coco_precomp_vocab.json"),
        ("f30k", None),
        ("coco", None),
    ],
)
def test_names_come_from_the_data_set_and_a_code_that_opens_others_is_named(
    data: str, caution: str | None, folder: Path
) -> None:
    rewrite(Path("runs/tiny/one/run.json"), data=data)
    exported = export_run(Path("runs/tiny/one"), Path("here/model_best.pth"))
    assert exported.vocabulary == Path(f"here/{data}_precomp_vocab.json")
    assert exported.cautions == ([caution] if caution else [])
    assert Checkpoint.read(Path("here/model_best.pth")).options["data_name"] == data


def test_a_method_without_released_code_is_not_exported(folder: Path) -> None:
    path = Path("runs/tiny/two/run.json")
    settings = read_json(path)["settings"]
    settings["model"]["pooling"] = {"kind": "mean"}
    rewrite(path, settings=settings)
    with pytest.raises(ConfigError, match="vse_pp_bigru has no released checkpoints"):
        export_run(Path("runs/tiny/two"), Path("x.pth"))
    assert not Path("x.pth").exists()
