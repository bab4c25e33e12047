"""CLIP's vocabulary for an imported run: OpenAI's list of byte pairs, a tokenizer.json, or the CLIP that settings name."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from itrcore.assets.clip import CLIPSource, CLIPText
from itrcore.assets.pictures import Pictures
from itrcore.data.text.clip_tokens import CLIPTokens
from itrcore.errors import DataError
from itrcore.pretrained.clip import config_of
from itrcore.released.contract import Sizes
from itrcore.released.text import clip, clip_vocabulary
from itrcore.settings.methods import MethodSettings
from tests.support.clip_data import CAPTIONS, DIM, SHAPE, clip_folder, small
from tests.support.parity_fixtures import published


def byte_pairs(folder: Path) -> Path:
    """The small tokeniser's pairs as OpenAI publishes its own."""
    path = folder / clip_vocabulary.NAME
    lines = ['"version: 0.2"', *(" ".join(pair) for pair in small().merges)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def settings(weights: str = "lab/clip", strip: str = ".") -> MethodSettings:
    changed = published("esl_h_clip").model_dump(mode="json")
    changed["model"] |= {"dim": DIM, "levels": 3, "text": {"kind": "clip", "weights": weights, "strip": strip}}
    return MethodSettings.model_validate(changed)


def sizes(given: MethodSettings, tokens: int | None = None) -> Sizes[Any, Any]:
    n_tokens = len(small()) if tokens is None else tokens
    text: Any = given.model.text
    return Sizes(given, Pictures(), CLIPSource(text, config_of(SHAPE, n_tokens, DIM)), n_tokens)


def test_openais_list_and_a_tokenizer_json_give_the_same_tokens(tmp_path: Path) -> None:
    small().save(tmp_path / "tokenizer.json")
    read = [clip_vocabulary.read(path) for path in (byte_pairs(tmp_path), tmp_path / "tokenizer.json")]
    assert [tokens.digest for tokens in read] == [small().digest] * 2
    text = clip.side(sizes(settings()), byte_pairs(tmp_path), "tiny")
    assert isinstance(text, CLIPText)
    for caption in CAPTIONS:
        assert text.tokeniser.encode(caption + ".").ids == small().limited(12).encode(caption.strip(".")).ids


def test_openais_own_list_gives_its_ids(shared_data: Path) -> None:
    tokens = clip_vocabulary.read(shared_data / "tokenizers" / clip_vocabulary.NAME)
    assert len(tokens) == 49408
    assert tokens.encode("A photo of a cat").ids == [49406, 320, 1125, 539, 320, 2368, 49407]


@pytest.mark.parametrize(
    "content",
    [b"not zipped", gzip.compress(b"v\na b c\n"), gzip.compress(b"v\nq \xff\n"), gzip.compress(b"v\na b")[:-5]],
    ids=["not zipped", "three symbols", "not text", "cut"],  # a gzip has the time in it: not the same for all workers
)
def test_what_is_no_list_of_byte_pairs_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / clip_vocabulary.NAME
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"no byte pairs of CLIP \(.+\); expected OpenAI's bpe_simple.*tokenizer\.json"):
        clip_vocabulary.read(path)


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    n_tokens = len(small())
    with pytest.raises(DataError, match=rf"a vocabulary of {n_tokens} tokens.*expected {n_tokens + 1}, as many"):
        clip.side(sizes(settings(), n_tokens + 1), byte_pairs(tmp_path), "tiny")


def test_without_a_vocabulary_that_of_the_clip_is_read_and_its_configuration_too(tmp_path: Path) -> None:
    clip_folder(tmp_path / "clip")
    given = settings(str(tmp_path / "clip"))
    text_settings: Any = given.model.text
    config: Any = clip.own_config(text_settings)
    assert config.vision_config.num_attention_heads == SHAPE.image_heads
    text = clip.side(sizes(given), None, "tiny")
    assert isinstance(text, CLIPText) and isinstance(text.tokeniser.tokeniser, CLIPTokens)
    assert text.tokeniser.encode(CAPTIONS[0]).ids == small().encode(CAPTIONS[0].strip(".")).ids
    assert clip.own_vocabulary(text_settings, "tiny") == f"the tokens of {tmp_path / 'clip'}"


def test_a_clip_that_cannot_be_had_asks_for_its_vocabulary() -> None:
    with pytest.raises(
        DataError, match=r"/nowhere/clip.* Or name the CLIP's tokenizer\.json or OpenAI's .* with --vocab"
    ):
        clip.side(sizes(settings("/nowhere/clip")), None, "tiny")
