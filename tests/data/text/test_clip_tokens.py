"""CLIP's tokens: the ids of OpenAI's tokeniser and of transformers', what is saved and read, and what is refused."""

from __future__ import annotations

import gzip
import json
import random
import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from itrcore.data.text.clip_tokens import END, START, CLIPTokens, Stripped
from itrcore.data.text.wordpieces import SPECIAL, WordPieces
from itrcore.errors import DataError
from itrcore.files import sha256
from tests.support.clip_data import CAPTIONS, byte_characters, merged, small, vocabulary
from tests.support.helpers import offline

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# Assigned before Unicode 8: what came later, tokenizers may know as another kind of character than Python does.
_KINDS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "      ",
    "äéñßİıŒĀẞΑΣΟσςώЖЁйאבעלاَमहिन्दीไทย犬狗ㇰガカ゛한국각ﬁ™①Ⅷ½²µKΩÅ0123",
    "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~¡«»–—‘’“”…€£→∞≠☃★♥😀🏂👍🏽''''",
    "\t\n\r\u00a0\u2003\u3000\u2028\u0007\u0085\u00ad\u200b\u200d\ufeff\ufffd\u0301\u0308\u0323\ufe0f",
]


class OpenAI:
    """What OpenAI's tokeniser does, said plainly; of its cleaning only what Unicode's composed form is, and white space."""

    def __init__(self, tokens: list[str], merges: list[tuple[str, str]]) -> None:
        self.ids, self.characters = {token: i for i, token in enumerate(tokens)}, byte_characters()
        self.ranks = {merge: rank for rank, merge in enumerate(merges)}
        self.pieces = cache(self._pieces)

    def __call__(self, caption: str) -> tuple[list[int], list[int]]:
        ids, numbers = [self.ids[START]], [-1]
        for number, word in enumerate(self.words(unicodedata.normalize("NFC", caption).lower())):
            pieces = self.pieces(word)
            ids += [self.ids[piece] for piece in pieces]
            numbers += [number] * len(pieces)
        return [*ids, self.ids[END]], [*numbers, -1]

    def words(self, text: str) -> list[str]:
        """Contractions, runs of letters, single numbers, runs of all else but white space."""
        kind = ["space" if c.isspace() else unicodedata.category(c)[0] for c in text]
        kind = [k if k in ("space", "L", "N") else "sign" for k in kind]
        words, i = [], 0
        while i < len(text):
            contraction = next((c for c in _CONTRACTIONS if text.startswith(c, i)), None)
            end = i + (len(contraction) if contraction else 1)
            while contraction is None and kind[i] in ("L", "sign") and end < len(text) and kind[end] == kind[i]:
                end += 1
            if kind[i] != "space":
                words.append(text[i:end])
            i = end
        return words

    def _pieces(self, word: str) -> list[str]:
        pieces = [self.characters[byte] for byte in word.encode()]
        pieces[-1] += "</w>"
        while known := [pair for pair in pairwise(pieces) if pair in self.ranks]:
            pieces = merged(pieces, min(known, key=self.ranks.__getitem__))
        return pieces


def random_strings(n: int) -> list[str]:
    rng = random.Random(0)
    strings = []
    for _ in range(n):
        weights = [rng.random() for _ in _KINDS]
        strings.append("".join(rng.choice(rng.choices(_KINDS, weights)[0]) for _ in range(rng.randint(0, 40))))
    return strings


def of_transformers(tokens: CLIPTokens) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    merges: Any = tokens.merges
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens.tokens)}, merges=merges)


def test_random_strings_get_the_ids_and_words_of_openais_tokeniser() -> None:
    tokens = small()
    openai = OpenAI(tokens.tokens, tokens.merges)
    extra = ["", " ", "a man's horse, they'll run!'s", "ΟΔΟΣ ΟΣ. Σ", "ﬁve dogs 1234", "cafe\u0301 café", "&amp; x"]
    for string in [*CAPTIONS, *random_strings(3000), *extra]:
        assert tuple(tokens.encode(string)) == openai(string), ascii(string)


def published_tokens(shared_data: Path) -> CLIPTokens:
    """OpenAI's 49,408 tokens from the file with its merges: line 0 is a comment, and not all of the rest is used."""
    with gzip.open(shared_data / "tokenizers" / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as lines:
        merges = [tuple(line.split()) for line in lines.read().split("\n")[1:48895]]
    pairs = [(first, second) for first, second in merges]
    return CLIPTokens(vocabulary(pairs), pairs)


def test_captions_of_flickr30k_get_the_ids_of_openai_and_of_transformers(shared_data: Path) -> None:
    tokens = published_tokens(shared_data)
    assert len(tokens) == 49408
    assert tokens.encode("a photo of a cat").ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    openai, theirs = OpenAI(tokens.tokens, tokens.merges), of_transformers(tokens)
    for split in ("dev", "test"):
        captions = (shared_data / "f30k_scan" / f"{split}_caps.txt").read_text("utf-8").splitlines()
        for caption, ids in zip(captions, theirs(captions).input_ids, strict=True):
            assert tuple(tokens.encode(caption)) == openai(caption), caption
            assert tokens.encode(caption).ids == ids, caption


def test_marks_written_in_a_caption_are_words() -> None:
    tokens = small()
    ids, words = tokens.encode(f"{START}dog{END}")
    assert ids.count(tokens.tokens.index(START)) == ids.count(tokens.tokens.index(END)) == 1
    assert (ids[0], ids[-1]) == (tokens.tokens.index(START), tokens.tokens.index(END))
    assert max(words) == 6  # <| startoftext |> dog <| endoftext |>


def test_a_caption_over_the_limit_keeps_its_end_mark() -> None:
    whole = small().encode("man dogs run")
    for limit in range(2, len(whole.ids) + 2):
        cut = small().limited(limit).encode("man dogs run")
        if limit >= len(whole.ids):
            assert cut == whole
        else:
            assert cut.ids == [*whole.ids[: limit - 1], whole.ids[-1]]
            assert cut.words == [*whole.words[: limit - 1], -1]


def test_captions_are_stripped_at_both_ends_and_lower_cased() -> None:
    tokens = small()
    plain, stripped = Stripped(tokens, ""), Stripped(tokens, ".")
    assert stripped.encode("..A man. No.") == tokens.encode("a man. no") == plain.encode("A Man. no")
    assert plain.encode("a man.") == tokens.encode("a man.") != stripped.encode("a man.")
    assert stripped.token_ids is tokens.token_ids
    assert stripped.token_texts("A man.") == tokens.token_texts("a man")


def test_the_texts_of_a_words_tokens_are_the_word() -> None:
    tokens = small()
    texts = tokens.token_texts("The man's café")
    assert (texts[0], texts[-1]) == (START, END)
    numbers = tokens.encode("The man's café").words
    words = ["".join(text for text, number in zip(texts, numbers, strict=True) if number == n) for n in range(4)]
    assert words[:3] == ["the", "man", "'s"] and words[3].startswith("caf")
    assert len(texts) > 6  # some words have several


def test_what_is_saved_reads_back_the_same_whoever_wrote_it(tmp_path: Path) -> None:
    tokeniser = small()
    for name in ("a", "b"):
        tokeniser.save(tmp_path / name / "tokenizer.json")
    assert sha256(tmp_path / "a" / "tokenizer.json") == sha256(tmp_path / "b" / "tokenizer.json")
    of_transformers(tokeniser).save_pretrained(tmp_path / "theirs")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokeniser.tokens)}))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in tokeniser.merges)]
    (tmp_path / "old" / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for back in (
        CLIPTokens.read(tmp_path / "a" / "tokenizer.json"),
        CLIPTokens.read(tmp_path / "theirs" / "tokenizer.json"),
        *(CLIPTokens.pretrained(tmp_path / name) for name in ("a", "theirs", "old")),
    ):
        assert (back.tokens, back.merges, back.digest) == (tokeniser.tokens, tokeniser.merges, tokeniser.digest)
        assert [back.encode(caption) for caption in CAPTIONS] == [tokeniser.encode(caption) for caption in CAPTIONS]
    assert CLIPTokens(tokeniser.tokens, tokeniser.merges[::-1]).digest != tokeniser.digest


def test_merges_written_as_text_are_read_too(tmp_path: Path) -> None:
    small().save(tmp_path / "tokenizer.json")
    old = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    old["model"]["merges"] = [" ".join(merge) for merge in old["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(old))
    assert CLIPTokens.read(tmp_path / "tokenizer.json").digest == small().digest


def test_the_saved_tokenizer_is_one_for_tokenizers_and_transformers_too(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import CLIPTokenizer

    small().save(tmp_path / "tokenizer.json")
    captions = [*CAPTIONS, "Cafe\u0301  MEN"]
    ours = [small().encode(caption).ids for caption in captions]
    theirs = CLIPTokenizer.from_pretrained(tmp_path)
    assert [theirs(caption).input_ids for caption in captions] == ours
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [plain.encode(caption).ids for caption in captions] == ours


def test_a_name_on_the_hub_is_read_at_its_revision_or_refused_in_one_line(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--lab--tiny"
    (repository / "refs").mkdir(parents=True)
    for number, revision in enumerate(("main", "v1")):
        snapshot = repository / "snapshots" / f"{number:040x}"
        CLIPTokens(small().tokens, small().merges[number:]).save(snapshot / "tokenizer.json")
        (snapshot / "config.json").write_text('{"model_type": "clip"}')
        (repository / "refs" / revision).write_text(f"{number:040x}")
    program = """
from itrcore.data.text.clip_tokens import CLIPTokens
from itrcore.errors import DataError
print(len(CLIPTokens.pretrained("lab/tiny").merges), len(CLIPTokens.pretrained("lab/tiny", "v1").merges))
for name in ("lab/none", "/no/such/folder"):
    try:
        CLIPTokens.pretrained(name)
    except DataError as error:
        print(error)
"""
    read, missing, no_folder = offline(program, tmp_path)
    assert read == "20 19"
    assert missing.startswith("lab/none: ") and "HF_HUB_OFFLINE" in missing and "merges.txt" in missing
    assert no_folder.startswith("/no/such/folder: ")


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (["a", "b", START], r"no <\|endoftext\|>"),
        (["a", "b", "a", START, END], "'a' stands in it twice"),
        ([START, END], "nothing but special tokens"),
    ],
)
def test_tokens_that_are_no_clips_are_refused(tokens: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CLIPTokens(tokens, [])


def test_files_that_are_no_clips_are_refused(tmp_path: Path) -> None:
    WordPieces([*SPECIAL, "a"]).save(tmp_path / "bert.json")
    small().save(tmp_path / "gap.json")
    holed = json.loads((tmp_path / "gap.json").read_text("utf-8"))
    del holed["model"]["vocab"]["z"]
    (tmp_path / "gap.json").write_text(json.dumps(holed))
    holed["model"]["merges"] = []
    (tmp_path / "none.json").write_text(json.dumps(holed))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    for name, token, number in (("null", "z", None), ("true", "b", True), ("twice", "b", 2), ("real", "b", 1.0)):
        small().save(tmp_path / f"{name}.json")
        changed = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        changed["model"]["vocab"][token] = number
        (tmp_path / f"{name}.json").write_text(json.dumps(changed))
    names = ("bert", "gap", "none", "broken", "list", "missing", "null", "true", "twice", "real")
    for name in [f"{name}.json" for name in names]:
        with pytest.raises(DataError) as error:
            CLIPTokens.read(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value), name
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no CLIP's tokeniser can be had from here \(no byte pairs\)"):
        CLIPTokens.pretrained(tmp_path / "empty")
