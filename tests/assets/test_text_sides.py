"""Text sides of words and of word pieces: prepared from vocabulary, GloVe and BERTs, saved, restored, told apart by digest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itrcore import intact, registry
from itrcore.assets import words
from itrcore.assets.pieces import Pieces
from itrcore.assets.regions import Regions
from itrcore.assets.words import Words
from itrcore.data.text import punkt
from itrcore.data.text.glove import look_up
from itrcore.data.text.vocabulary import SPECIAL as WORD_SPECIAL
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.data.text.wordpieces import SPECIAL, WordPieces
from itrcore.errors import DataError
from itrcore.files import read_json, write_json
from itrcore.layers.text_encoders import BertEncoder, BiGRUEncoder
from itrcore.methods.build import build
from itrcore.settings.encoders import BertSettings, BiGRUSettings
from itrcore.settings.methods import MethodSettings
from tests.support.helpers import bert_folder, method_settings
from tests.support.scan_data import write_punkt_folder

WORDS = [*WORD_SPECIAL, "dog", "cat", "bird", "house"]
PIECES = [*SPECIAL, ".", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), "dog"]
CAPTIONS = ["The dog sees a bird.", "cat", "", "A house, a horse and a dog in a very long caption of many words"]
GRU = BiGRUSettings(kind="bigru", word_dim=3, dropout=0.0, init="random")
GLOVE = BiGRUSettings(kind="bigru", word_dim=3, dropout=0.0, init="glove")
SHAPE = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16, "positions": 12}
RANDOM = BertSettings.model_validate({"kind": "bert", "weights": "random", "shape": SHAPE, "dropout": 0.0})


def published(folder: Path) -> BertSettings:
    return BertSettings(kind="bert", weights=str(folder), dropout=0.0)


def vocabulary_folder(folder: Path, words: list[str] = WORDS, pieces: list[str] = PIECES, first: float = 1.0) -> Path:
    """What stage vocab leaves; GloVe has dog and bird."""
    folder.mkdir(exist_ok=True)
    Vocabulary(words, WordSplitter(None)).save(folder / "vocab.json")
    WordPieces(pieces).save_vocabulary(folder / "wordpieces.txt")
    (folder / "glove.txt").write_text(f"dog {first} 2 3\nbird 4 5 6\nrest 7 8 9\n")
    look_up(folder / "glove.txt", words, 3).save(folder / "glove.safetensors")
    return folder


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    return vocabulary_folder(tmp_path / "vocab")


def prepared(settings: BiGRUSettings | BertSettings, vocab: Path) -> Words | Pieces:
    side: Words | Pieces = module_of(settings).prepare(settings, 16, vocab, vocab / "no-nltk")
    return side


def module_of(settings: BiGRUSettings | BertSettings) -> Any:
    return registry.load(registry.TEXT_SIDES[settings.kind])


def with_text(settings: BiGRUSettings | BertSettings) -> MethodSettings:
    """ESA with this text encoder."""
    base = method_settings("esa_bert" if isinstance(settings, BertSettings) else "esa_bigru").model_dump(mode="json")
    base["model"]["text"] = settings.model_dump(mode="json")
    return MethodSettings.model_validate(base)


def encoder(settings: BiGRUSettings | BertSettings, text: Words | Pieces, seed: int = 0) -> Any:
    return build(with_text(settings), Regions(4), text.source, seed).words


EVERY = pytest.mark.parametrize("kind", ["random words", "glove", "random bert", "published bert"])


def settings_of(kind: str, folder: Path) -> BiGRUSettings | BertSettings:
    if kind == "published bert":
        bert_folder(folder, PIECES)
        return published(folder)
    return {"random words": GRU, "glove": GLOVE, "random bert": RANDOM}[kind]


@EVERY
def test_what_is_saved_restores_to_the_same_ids_and_an_encoder_that_takes_the_weights(
    kind: str, vocab: Path, tmp_path: Path
) -> None:
    settings = settings_of(kind, tmp_path / "bert")
    text = prepared(settings, vocab)
    (tmp_path / "run").mkdir()
    text.save(tmp_path / "run")
    for folder in (vocab, tmp_path / "bert"):
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}-gone"))
    again = module_of(settings).restore(settings, tmp_path / "run")
    for caption in CAPTIONS:
        assert again.tokeniser.encode(caption) == text.tokeniser.encode(caption)
    first, second = text.tokeniser.token_ids, again.tokeniser.token_ids
    assert (first.size, first.mask, list(first.replacements)) == (second.size, second.mask, list(second.replacements))
    trained = encoder(settings, text)
    loaded = encoder(settings, again, seed=9)
    loaded.load_state_dict(trained.state_dict())
    assert all(torch.equal(*pair) for pair in zip(trained.parameters(), loaded.parameters(), strict=True))


def test_what_splits_sentences_goes_with_the_run(tmp_path: Path) -> None:
    nltk = write_punkt_folder(tmp_path / "nltk")
    (nltk / "of others").write_text("a tagger")
    intact.seal(nltk)
    splitter = WordSplitter(punkt.data_digest(nltk), nltk)
    text = Words(GRU, Vocabulary([*WORDS, "."], splitter))
    text.save(tmp_path / "run")
    shutil.rmtree(nltk)
    again = words.restore(GRU, tmp_path / "run").tokeniser.encode("A dog. The cat")
    assert again == text.tokeniser.encode("A dog. The cat")
    assert len(WORDS) in again.ids  # a full stop of its own, which there is none of without sentences
    assert not (tmp_path / "run/nltk/of others").exists()


@EVERY
def test_the_digest_is_the_same_for_the_same_content_wherever_it_lies(kind: str, vocab: Path, tmp_path: Path) -> None:
    settings = settings_of(kind, tmp_path / "bert")
    first = prepared(settings, vocab).digest
    other = vocabulary_folder(tmp_path / "other")
    if isinstance(settings, BertSettings) and settings.shape is None:
        (tmp_path / "bert").rename(tmp_path / "moved")
        settings = published(tmp_path / "moved")
    assert prepared(settings, other).digest == first


def eight_heads(folder: Path) -> None:
    write_json(folder / "config.json", read_json(folder / "config.json") | {"num_attention_heads": 8})


CHANGES: dict[str, tuple[set[str], Callable[[Path, Path], object]]] = {
    "a word": (
        {"random words", "glove"},
        lambda vocab, bert: vocabulary_folder(vocab, words=[*WORDS[:-1], "mouse"]),
    ),
    "a piece": (
        {"random bert"},
        lambda vocab, bert: vocabulary_folder(vocab, pieces=[*PIECES[:-1], "cat"]),
    ),
    "a vector": ({"glove"}, lambda vocab, bert: vocabulary_folder(vocab, first=1.5)),
    "pretrained weights": ({"published bert"}, lambda vocab, bert: bert_folder(bert, PIECES, seed=1)),
    "pretrained configuration": ({"published bert"}, lambda vocab, bert: eight_heads(bert)),
    "pretrained pieces": ({"published bert"}, lambda vocab, bert: bert_folder(bert, [*PIECES[:-1], "cat"])),
}


@pytest.mark.parametrize("change", CHANGES)
@EVERY
def test_the_digest_changes_with_what_the_encoder_is_built_from_and_with_nothing_else(
    change: str, kind: str, vocab: Path, tmp_path: Path
) -> None:
    settings = settings_of(kind, tmp_path / "bert")
    before = prepared(settings, vocab).digest
    concerned, apply = CHANGES[change]
    if kind == "published bert" or not change.startswith("pretrained"):
        apply(vocab, tmp_path / "bert")
    assert (prepared(settings, vocab).digest != before) == (kind in concerned)


def test_glove_vectors_lie_in_their_words_rows_and_others_start_standard_normal(tmp_path: Path) -> None:
    words = [*WORD_SPECIAL, *(f"w{i}" for i in range(2000)), "dog", "cat", "bird"]
    text = prepared(GLOVE, vocabulary_folder(tmp_path / "vocab", words=words))
    made = encoder(GLOVE, text)
    assert isinstance(made, BiGRUEncoder)
    rows = made.embed.weight.detach()
    assert len(rows) == len(words) + 1  # and the mask token's
    assert rows[words.index("dog")].tolist() == [1, 2, 3]
    assert rows[words.index("bird")].tolist() == [4, 5, 6]
    assert rows[0].tolist() == [0, 0, 0]  # <pad>
    rest = torch.cat([rows[1:2004], rows[[words.index("cat"), len(words)]]])
    assert abs(float(rest.mean())) < 0.05 and abs(float(rest.std()) - 1) < 0.05
    assert made.embed.weight.requires_grad


def test_without_glove_word_embeddings_start_small(vocab: Path) -> None:
    rows = encoder(GRU, prepared(GRU, vocab)).embed.weight
    assert rows.shape == (len(WORDS) + 1, 3) and rows.abs().max() <= 0.1


def test_vectors_that_are_missing_or_of_another_shape_say_what_to_set(vocab: Path) -> None:
    wide = BiGRUSettings(kind="bigru", word_dim=5, dropout=0.0, init="glove")
    with pytest.raises(DataError, match=r"glove\.safetensors: vectors of shape \(8, 3\); expected \(8, 5\)"):
        prepared(wide, vocab)
    Vocabulary([*WORDS, "more"], WordSplitter(None)).save(vocab / "vocab.json")
    with pytest.raises(DataError, match=r"vectors of shape \(8, 3\); expected \(9, 3\)"):
        prepared(GLOVE, vocab)
    (vocab / "glove.safetensors").unlink()
    with pytest.raises(DataError, match=r"no such file.*vocabulary\.glove.*text\.init: random"):
        prepared(GLOVE, vocab)
    prepared(GRU, vocab)


def test_a_published_bert_starts_from_its_weights_whatever_the_seed_and_a_random_one_follows_it(
    vocab: Path, tmp_path: Path
) -> None:
    weights = bert_folder(tmp_path / "bert", PIECES, dtype=torch.float16).float().state_dict()
    settings = published(tmp_path / "bert")
    for seed in (1, 2):
        made = encoder(settings, prepared(settings, vocab), seed)
        assert isinstance(made, BertEncoder)
        state = made.bert.state_dict()
        assert state.keys() == weights.keys() and all(torch.equal(state[key], weights[key]) for key in weights)
    text = prepared(RANDOM, vocab)
    one, two, again = (encoder(RANDOM, text, seed).bert.state_dict() for seed in (1, 2, 1))
    key = "embeddings.word_embeddings.weight"
    assert torch.equal(one[key], again[key]) and not torch.equal(one[key], two[key])


def test_each_bert_that_is_made_of_pretrained_weights_is_one_of_its_own(vocab: Path, tmp_path: Path) -> None:
    written = bert_folder(tmp_path / "bert", PIECES).state_dict()
    text = prepared(published(tmp_path / "bert"), vocab)
    digest, first = text.digest, text.source.encoder(16).bert
    with torch.no_grad():  # as a training changes them
        for weight in first.parameters():
            weight += 1
    first.config.layer_norm_eps = 1.0
    for _ in range(2):
        state = text.source.encoder(16).bert.state_dict()
        assert all(torch.equal(state[key], weight) for key, weight in written.items())
    assert text.digest == digest


@pytest.mark.parametrize("where", ["{}/none", "./none", "../none", "~/none", "{}/bert/config.json"])
def test_a_berts_folder_that_is_not_there_is_not_looked_for_on_the_hub(
    where: str, vocab: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    bert_folder(tmp_path / "bert", PIECES)
    monkeypatch.chdir(tmp_path)
    name = where.format(tmp_path)
    settings = BertSettings(kind="bert", weights=name, dropout=0.0)
    with pytest.raises(DataError) as caught:
        prepared(settings, vocab)
    assert str(caught.value) == f"{name}: no such folder; expected a BERT's, as text.weights names it."


def test_a_random_bert_without_word_pieces_says_what_to_set(vocab: Path) -> None:
    (vocab / "wordpieces.txt").unlink()
    with pytest.raises(DataError, match=r"wordpieces\.txt: no such file.*Set vocabulary\.word_pieces of the data set"):
        prepared(RANDOM, vocab)


def test_more_pieces_than_embeddings_are_refused_and_fewer_are_not(vocab: Path, tmp_path: Path) -> None:
    bert_folder(tmp_path, PIECES)
    (tmp_path / "vocab.txt").write_text("\n".join([*PIECES, "more"]) + "\n")
    with pytest.raises(DataError, match=rf"{len(PIECES) + 1} word pieces, but the BERT has {len(PIECES)} embeddings"):
        prepared(published(tmp_path), vocab)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES[:-1]) + "\n")
    assert prepared(published(tmp_path), vocab).tokeniser.token_ids.size == len(PIECES) - 1


@pytest.mark.parametrize("kind", ["random bert", "published bert"])
def test_a_caption_longer_than_the_berts_positions_is_cut_and_keeps_its_end(
    kind: str, vocab: Path, tmp_path: Path
) -> None:
    settings = settings_of(kind, tmp_path / "bert")
    text = prepared(settings, vocab)
    whole, cut = WordPieces(PIECES).encode(CAPTIONS[-1]), text.tokeniser.encode(CAPTIONS[-1])
    assert len(whole.ids) > 12 == len(cut.ids)
    assert cut.ids == [*whole.ids[:11], PIECES.index("[SEP]")]
    assert cut.words == [*whole.words[:11], -1]
    assert np.max(cut.ids) < len(PIECES)
