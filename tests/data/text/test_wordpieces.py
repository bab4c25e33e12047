"""Word pieces: the ids of the released loaders, vocabularies that are the same in every process, and what is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from itrcore.data.text.wordpieces import SPECIAL, WordPieces
from itrcore.errors import DataError
from itrcore.files import sha256
from tests.support.helpers import offline

CAPTIONS = ["A man rides a horse.", "Two dogs run, the man's dog swims.", "The horse runs on a snowy café terrace!"] * 3
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SMALL = [*SPECIAL, *".,'[]!-", *LETTERS, *(f"##{c}" for c in LETTERS), "man", "dog", "mask", "犬", "σ", "##ς"]

# Assigned before Unicode 8: what came later, tokenizers may know as another kind of character than Python does.
_SCRIPTS = "äéñßİıŒĀẞΑΣΟσςώЖЁйאבעִשׁلاَمहिन्दीไทย犬狗﨑ㇰガカ゛한국각ﬁ™①Ⅷ½²µKΩÅ"
_SIGNS = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~¡«»–—‘’“”…€£→∞≠☃★♥😀🏂👍🏽"
_INVISIBLE = "\t\n\r \u00a0\u2003\u3000\u2028\u0000\u0007\u0085\u00ad\u200b\u200d\ufeff\ufffd\u0301\u0308\u0323\ufe0f"


class Released:
    """What the released loaders do, with transformers' own old classes: words, then the pieces of each."""

    def __init__(self, pieces: list[str], lower: bool = True) -> None:
        from transformers.models.bert.tokenization_bert_legacy import BasicTokenizer, WordpieceTokenizer

        self.ids = {piece: i for i, piece in enumerate(pieces)}
        self.words = BasicTokenizer(do_lower_case=lower).tokenize
        self.split = WordpieceTokenizer(self.ids, "[UNK]").tokenize

    def __call__(self, caption: str) -> tuple[list[int], list[int]]:
        tokens = [("[CLS]", -1)]
        for number, word in enumerate(self.words(caption)):
            tokens += [(piece, number) for piece in self.split(word)]
        tokens.append(("[SEP]", -1))
        return [self.ids[piece] for piece, _ in tokens], [word for _, word in tokens]


def random_strings(n: int) -> list[str]:
    rng = random.Random(0)
    kinds = [LETTERS + LETTERS.upper(), "    ", _SCRIPTS, _SIGNS, _INVISIBLE]
    strings = []
    for _ in range(n):
        weights = [rng.random() for _ in kinds]
        characters = [rng.choice(rng.choices(kinds, weights)[0]) for _ in range(rng.randint(0, 40))]
        strings.append("".join(characters))
    return strings


def vocabulary(folder: Path, pieces: list[str], name: str = "vocab.txt") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
    return folder / name


def test_random_strings_get_the_ids_and_words_of_the_released_loaders() -> None:
    characters = sorted(set(unicodedata.normalize("NFD", _SCRIPTS.lower() + _SCRIPTS + _SIGNS)))
    pieces = list(dict.fromkeys([*SMALL, *characters, *(f"##{character}" for character in characters)]))
    tokeniser, released = WordPieces(pieces), Released(pieces)
    strings = [
        *random_strings(3000),
        *("", " ", "a" * 100, "a" * 101, "man " + "ä" * 101 + " dog", "ΟΔΟΣ ΟΣ. Σ ΑΣ\u0007Α", "mans dog's DOGS"),
    ]
    for string in strings:
        assert tuple(tokeniser.encode(string)) == released(string), ascii(string)


def test_captions_of_flickr30k_get_the_ids_of_the_released_loaders(shared_data: Path) -> None:
    tokeniser = WordPieces.read(shared_data / "tokenizers" / "bert-base-uncased-vocab.txt")
    assert len(tokeniser) == 30522 and tokeniser.token_ids.mask == 103
    released = Released(tokeniser.pieces)
    for split in ("dev", "test"):
        for caption in (shared_data / "f30k_scan" / f"{split}_caps.txt").read_text("utf-8").splitlines():
            assert tuple(tokeniser.encode(caption)) == released(caption), caption


def test_special_tokens_written_in_a_caption_are_words() -> None:
    tokeniser = WordPieces(SMALL)
    ids, words = tokeniser.encode("[MASK] dog")
    assert [tokeniser.pieces[i] for i in ids] == ["[CLS]", "[", "mask", "]", "dog", "[SEP]"]
    assert words == [-1, 0, 1, 2, 3, -1]


def test_a_caption_over_the_limit_keeps_its_end_mark() -> None:
    tokeniser = WordPieces(SMALL)
    whole = tokeniser.encode("man dogs run")
    for limit in range(2, len(whole.ids) + 2):
        cut = tokeniser.limited(limit).encode("man dogs run")
        if limit >= len(whole.ids):
            assert cut == whole
        else:
            assert cut.ids == [*whole.ids[: limit - 1], whole.ids[-1]]
            assert cut.words == [*whole.words[: limit - 1], -1]


def test_replacements_are_neither_special_nor_unused() -> None:
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused17]", "[", "dog", "##s", "unused1"]
    known = WordPieces(pieces).token_ids
    assert (known.size, known.mask) == (11, 5)
    assert [pieces[i] for i in known.replacements] == ["[", "dog", "##s", "unused1"]


def test_training_gives_the_same_vocabulary_in_every_process(tmp_path: Path) -> None:
    program = """
import random, sys
from itrcore.data.text.wordpieces import WordPieces
rng = random.Random(0)
words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(5)) for _ in range(300)]
pieces = WordPieces.train([" ".join(words[i : i + 10]) for i in range(0, 300, 10)] * 2, 150, 2)
print(pieces.digest, pieces.pieces)
"""
    given = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(1 + seed % 3)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(7)
    }
    assert len(given) == 1


def test_training_makes_pieces_of_frequent_words_only() -> None:
    tokeniser = WordPieces.train(CAPTIONS, 500, 4)
    assert tuple(tokeniser.pieces[:5]) == SPECIAL
    assert tokeniser.lower and len(set(tokeniser.pieces)) == len(tokeniser) <= 500
    assert "man" in tokeniser.pieces and "swims" not in tokeniser.pieces  # six and three times
    assert "##," not in tokeniser.pieces  # no row for what never occurs
    for caption in CAPTIONS:
        assert tokeniser.pieces.index("[UNK]") not in tokeniser.encode(caption).ids
    assert len(WordPieces.train(CAPTIONS, 60, 1)) == 60


def test_training_on_nothing_or_for_too_few_pieces_is_refused() -> None:
    with pytest.raises(DataError, match="no words"):
        WordPieces.train(["", "  "], 100, 1)
    with pytest.raises(DataError, match=r"need \d+ word pieces, not 20"):
        WordPieces.train(CAPTIONS, 20, 1)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_what_is_saved_reads_back_the_same(tmp_path: Path, name: str) -> None:
    tokeniser = WordPieces.train(CAPTIONS, 80, 1)
    for folder in (tmp_path / "a", tmp_path / "b"):
        (tokeniser.save if name == "tokenizer.json" else tokeniser.save_vocabulary)(folder / name)
    assert sha256(tmp_path / "a" / name) == sha256(tmp_path / "b" / name)
    for back in (WordPieces.read(tmp_path / "a" / name), WordPieces.pretrained(tmp_path / "a")):
        assert (back.pieces, back.digest) == (tokeniser.pieces, tokeniser.digest)
        assert [back.encode(caption) for caption in CAPTIONS] == [tokeniser.encode(caption) for caption in CAPTIONS]


def test_the_saved_tokenizer_is_one_for_transformers_too(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    tokeniser = WordPieces.train(CAPTIONS, 80, 1)
    tokeniser.save(tmp_path / "tokenizer.json")
    theirs = BertTokenizer.from_pretrained(tmp_path)
    assert [theirs(caption).input_ids for caption in CAPTIONS] == [
        tokeniser.encode(caption).ids for caption in CAPTIONS
    ]


def test_a_cased_bert_stays_cased(tmp_path: Path) -> None:
    pieces = [*SPECIAL, "Man", "man", "é", "e"]
    vocabulary(tmp_path / "bert", pieces)
    (tmp_path / "bert" / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    cased = WordPieces.pretrained(tmp_path / "bert")
    assert not cased.lower and cased.digest != WordPieces(pieces).digest
    cased.save(tmp_path / "saved" / "tokenizer.json")
    cased.limited(9).save(tmp_path / "again" / "tokenizer.json")
    for same in (
        cased,
        WordPieces.read(tmp_path / "saved" / "tokenizer.json"),
        WordPieces.pretrained(tmp_path / "again"),
    ):
        assert tuple(same.encode("Man man é")) == Released(pieces, lower=False)("Man man é")


def hub_cache(folder: Path, revisions: dict[str, list[str]]) -> None:
    """The cache that the hub's client keeps of the repository lab/tiny: a commit for each revision."""
    repository = folder / "hub" / "models--lab--tiny"
    for number, (revision, pieces) in enumerate(revisions.items()):
        commit = f"{number:040x}"
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        (repository / "snapshots").mkdir(exist_ok=True)
        vocabulary(repository / "snapshots" / commit, pieces)
        (repository / "snapshots" / commit / "config.json").write_text('{"model_type": "bert"}')


def test_a_name_on_the_hub_is_read_at_its_revision_or_refused_in_one_line(tmp_path: Path) -> None:
    hub_cache(tmp_path, {"main": [*SPECIAL, "new"], "v1": [*SPECIAL, "old"]})
    program = """
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
print(WordPieces.pretrained("lab/tiny").pieces[-1], WordPieces.pretrained("lab/tiny", "v1").pieces[-1])
for name in ("lab/none", "/no/such/folder"):
    try:
        WordPieces.pretrained(name)
    except DataError as error:
        print(error)
"""
    read, missing, no_folder = offline(program, tmp_path)
    assert read == "new old"
    assert missing.startswith("lab/none: ") and "HF_HUB_OFFLINE" in missing and "folder" in missing
    assert no_folder.startswith("/no/such/folder: ")


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        (["dog", *SPECIAL], r"\[PAD\] has id 1"),
        ([*SPECIAL[:4], "dog"], r"no \[MASK\]"),
        (["[PAD]", "dog"], r"no \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        ([*SPECIAL, "dog", "cat", "dog"], "'dog' stands in it twice"),
        (list(SPECIAL), "nothing but special tokens"),
    ],
)
def test_a_vocabulary_that_is_no_berts_is_refused(tmp_path: Path, pieces: list[str], says: str) -> None:
    path = vocabulary(tmp_path, pieces)
    with pytest.raises(DataError, match=says) as error:
        WordPieces.read(path)
    assert str(error.value).startswith(str(path))


def test_files_that_are_no_vocabulary_are_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.normalizers import BertNormalizer

    other = Tokenizer(BPE({piece: i for i, piece in enumerate(SMALL)}, []))
    other.normalizer = BertNormalizer()
    other.save(str(tmp_path / "bpe.json"))
    (tmp_path / "broken.json").write_text("{")
    tokeniser = WordPieces.train(CAPTIONS, 80, 1)
    tokeniser.save(tmp_path / "gap.json")
    holed = json.loads((tmp_path / "gap.json").read_text("utf-8"))
    del holed["model"]["vocab"]["a"]
    (tmp_path / "gap.json").write_text(json.dumps(holed))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("bpe.json", "broken.json", "gap.json", "binary.txt", "missing.txt"):
        with pytest.raises(DataError) as error:
            WordPieces.read(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name)), name
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"empty: no BERT's tokeniser can be had from here .*folder with vocab\.txt or tok"
    ):
        WordPieces.pretrained(tmp_path / "empty")


def test_pieces_may_hold_any_character_but_a_line_feed(tmp_path: Path) -> None:
    pieces = [*SPECIAL, "a\u2028b", "c\u0085d", "\u3000"]  # str.splitlines would split at the first two
    tokeniser = WordPieces(pieces)
    tokeniser.save_vocabulary(tmp_path / "vocab.txt")
    assert WordPieces.read(tmp_path / "vocab.txt").pieces == pieces
