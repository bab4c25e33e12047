"""The text side of a run with CLIP: its tokeniser and its two towers, saved, restored, told apart by its digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from itrcore.assets.clip import CLIPText, prepare, restore
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.pretrained import clip
from itrcore.settings.encoders import CLIPSettings
from tests.support.clip_data import CAPTIONS, DIM, SHAPE, clip_folder, small

RANDOM = CLIPSettings(kind="clip", weights="random", shape=SHAPE, strip="")


def settings_of(folder: Path, strip: str = "") -> CLIPSettings:
    return CLIPSettings(kind="clip", weights=str(folder), strip=strip)


def prepared(settings: CLIPSettings, vocabulary: Path) -> CLIPText:
    return prepare(settings, DIM, vocabulary, vocabulary / "no nltk")


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_published_clips_text_side_is_its_own_and_comes_back_without_the_folder(tmp_path: Path) -> None:
    written = clip_folder(tmp_path / "clip")
    settings = settings_of(tmp_path / "clip", strip=".")
    side = prepared(settings, tmp_path / "no vocabulary")
    first, second = side.source.model(), side.source.model()
    assert same(first, written)
    with torch.no_grad():
        first.logit_scale.fill_(0)  # what a training does to one changes no other
    assert same(second, written)
    side.save(tmp_path / "text")
    (tmp_path / "clip").rename(tmp_path / "elsewhere")
    back = restore(settings, tmp_path / "text")
    for caption in CAPTIONS:
        tokens = small().limited(SHAPE.positions).encode(caption.strip("."))
        assert back.tokeniser.encode(caption) == side.tokeniser.encode(caption) == tokens
    assert len(side.tokeniser.encode(CAPTIONS[2]).ids) == SHAPE.positions < len(small().encode(CAPTIONS[2]).ids)
    assert back.tokeniser.token_ids.size == len(small())
    back.source.model().load_state_dict(written.state_dict())


def test_a_random_clip_reads_the_data_sets_word_pieces(tmp_path: Path) -> None:
    pieces = WordPieces.train(CAPTIONS, 80, 1)
    pieces.save_vocabulary(tmp_path / "wordpieces.txt")
    settings = RANDOM.model_copy(update={"strip": "."})
    side = prepared(settings, tmp_path)
    embeddings = side.source.model().text_model.embeddings.token_embedding
    assert embeddings.num_embeddings == len(pieces) == side.tokeniser.token_ids.size
    side.save(tmp_path / "text")
    back = restore(settings, tmp_path / "text")
    wanted = pieces.limited(SHAPE.positions).encode("A man rides a horse")
    assert side.tokeniser.encode("A man rides a horse.") == back.tokeniser.encode("A man rides a horse.") == wanted
    assert side.digest == back.digest


def test_the_digest_follows_from_tokens_stripping_configuration_and_weights(tmp_path: Path) -> None:
    clip_folder(tmp_path / "a")
    clip_folder(tmp_path / "other", seed=1)
    digest = prepared(settings_of(tmp_path / "a"), tmp_path).digest
    assert prepared(settings_of(tmp_path / "a", strip="."), tmp_path).digest != digest
    assert prepared(settings_of(tmp_path / "other"), tmp_path).digest != digest
    (tmp_path / "a").rename(tmp_path / "b")
    assert prepared(settings_of(tmp_path / "b"), tmp_path).digest == digest
    config = read_json(tmp_path / "b" / "config.json")
    config["text_config"]["hidden_act"] = "gelu"
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    assert prepared(settings_of(tmp_path / "b"), tmp_path).digest != digest


def test_a_text_side_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: no such folder; expected a CLIP's, as text\.weights names it"):
        prepared(settings_of(tmp_path / "none"), tmp_path)
    with pytest.raises(DataError, match="word pieces"):
        prepared(RANDOM, tmp_path)
    with pytest.raises(DataError, match=r"the tokeniser has 534 tokens, but the CLIP has 40 embeddings"):
        CLIPText(RANDOM, small(), clip.config_of(SHAPE, 40, DIM))
    clip_folder(tmp_path / "clip")
    (tmp_path / "clip" / "vocab.json").unlink()
    with pytest.raises(DataError, match="no CLIP's tokeniser can be had from here"):
        prepared(settings_of(tmp_path / "clip"), tmp_path)
