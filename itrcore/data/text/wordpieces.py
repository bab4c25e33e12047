"""BERT's word pieces: the vocabulary of a published BERT, or one trained on a data set's captions.

A caption is split as the released loaders of VSE∞, ESA and ESL split it: transformers' BasicTokenizer makes words, and its
WordpieceTokenizer makes pieces of each word, or [UNK] where it cannot or where a word has more than 100 characters. Here
tokenizers does both. The ids are the same, but for captions with Unicode characters that are newer than its tables.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from tokenizers.trainers import WordPieceTrainer

from itrcore import limits
from itrcore.data.text.subwords import in_order, numbered, tokenised
from itrcore.data.text.tokens import TokenIds, Tokenised
from itrcore.errors import DataError
from itrcore.fetch import hub
from itrcore.files import digest, read_json, read_within, replacing

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_LONGEST_WORD = 100  # characters; longer ones are [UNK], as in the released loaders
_CLEAN = BertNormalizer(lowercase=False, strip_accents=False)  # what BasicTokenizer does before it lower-cases
_UNUSED = re.compile(r"\[unused\d+\]")  # rows that BERT's vocabularies keep free


class WordPieces:
    """Captions ↔ ids of word pieces, between [CLS] and [SEP]."""

    kind = "pieces"

    def __init__(
        self, pieces: Sequence[str], normaliser: BertNormalizer | None = None, limit: int | None = None
    ) -> None:
        """`pieces[i]` has id i. `ValueError` where they are not a BERT's.

        normaliser: what is done to characters; None: lower-casing and accents removed, as for uncased BERTs
        limit: tokens of the longest caption, [CLS] and [SEP] included: the BERT's number of positions; None: any number
        """
        ids = numbered(pieces, SPECIAL)
        if ids["[PAD]"] != 0:
            raise ValueError(f"[PAD] has id {ids['[PAD]']}")
        self.pieces, self.limit = list(pieces), limit
        self._normaliser = normaliser or BertNormalizer(lowercase=True)
        # No added tokens: with them a caption's literal "[MASK]" would become the mask token. The released loaders call
        # BasicTokenizer without tokens to keep whole, so that it becomes "[", "mask", "]", as it does here.
        self._tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD))
        self._tokenizer.normalizer = self._normaliser
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._tokenizer.post_processor = BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def lower(self) -> bool:
        """Whether captions are lower-cased: an uncased BERT's."""
        return bool(self._normaliser.lowercase)

    @cached_property
    def token_ids(self) -> TokenIds:
        """A touched piece is replaced by any piece but special tokens and BERT's unused rows."""
        usable = [i for i, piece in enumerate(self.pieces) if piece not in SPECIAL and not _UNUSED.fullmatch(piece)]
        return TokenIds(len(self), self.pieces.index("[MASK]"), np.array(usable))

    @property
    def digest(self) -> str:
        """The same for tokenisers that give the same ids, wherever they were read from."""
        normaliser = self._normaliser
        accents = normaliser.lowercase if normaliser.strip_accents is None else normaliser.strip_accents
        return digest([self.pieces, self.lower, accents, normaliser.clean_text, normaliser.handle_chinese_chars])

    @property
    def decides(self) -> list[Any]:
        """The pieces, what is done to characters, and the limit."""
        return [self.digest, self.limit]

    def encode(self, caption: str) -> Tokenised:
        """[CLS], the pieces of the caption's words, [SEP]; a caption over the limit loses its last pieces."""
        if self.lower and "Σ" in caption:
            # Python's `lower`, as in the released loaders: it turns a Σ that ends a word into ς, tokenizers turns it into σ.
            caption = _CLEAN.normalize_str(caption).lower()
        return tokenised(self._tokenizer.encode(caption), self.limit)

    def token_texts(self, caption: str) -> list[str]:
        """The text of each token of `encode`, without the ## of a word's later pieces."""
        return [self.pieces[i].removeprefix("##") for i in self.encode(caption).ids]

    def limited(self, tokens: int) -> WordPieces:
        """The same with a limit, such as `max_position_embeddings` of the BERT that reads the ids."""
        return WordPieces(self.pieces, self._normaliser, tokens)

    @classmethod
    def train(cls, captions: Iterable[str], size: int, min_count: int) -> WordPieces:
        """An uncased vocabulary of at most `size` pieces; pairs of pieces seen less than `min_count` times stay apart.

        The same captions give the same vocabulary, in any process. `DataError` where there are no words, or where the
        single characters are more than `size` already.
        """
        tokenizer = Tokenizer(WordPiece(unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD))
        tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
        captions = list(captions)
        words = {
            word
            for caption in captions
            for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(caption))
        }
        if not words:
            raise DataError("no words in the captions of train and dev: no word pieces can be trained")
        # The trainer gives ids to characters in the order of a hash map, another one in each process, and between pairs
        # that are equally frequent the ids decide. With all characters known beforehand nothing is left to chance.
        characters = sorted({character for word in words for character in word})
        inner = sorted({f"##{character}" for word in words for character in word[1:]})
        known = [*SPECIAL, *characters, *inner]
        if len(known) > size:
            raise DataError(f"the captions' characters and special tokens need {len(known)} word pieces, not {size}")
        trainer = WordPieceTrainer(
            vocab_size=size,
            min_frequency=min_count,
            special_tokens=known,
            limit_alphabet=len(characters),
            show_progress=False,
        )
        tokenizer.train_from_iterator(captions, trainer)
        return cls(in_order(tokenizer.get_vocab(with_added_tokens=False)))

    @classmethod
    def read(cls, path: Path) -> WordPieces:
        """Read a `tokenizer.json`, or a `vocab.txt` (one piece per line) of an uncased BERT.

        `DataError` where it is neither, or not a BERT's.
        """
        try:
            if path.suffix == ".json":
                return cls._of(Tokenizer.from_str(json.dumps(read_json(path))))
            # Not splitlines, which splits at more characters; some of them are pieces of multilingual BERTs.
            lines = io.StringIO(read_within(path, limits.JSON).decode("utf-8-sig"), newline=None)
            return cls([line.rstrip("\n") for line in lines])
        except FileNotFoundError:
            raise DataError.at(path, "no such file", "BERT's vocab.txt or tokenizer.json") from None
        except Exception as error:  # what tokenizers raises for damaged files has no type of its own
            raise DataError.at(
                path,
                f"not a BERT's vocabulary ({error})",
                f"word pieces with [PAD] as id 0 and {', '.join(SPECIAL[1:])}",
                do="Take the vocab.txt or tokenizer.json that was published with the BERT.",
            ) from error

    @classmethod
    def pretrained(cls, name: str | Path, revision: str | None = None) -> WordPieces:
        """The tokeniser of a BERT: a folder, or a name on the Hugging Face hub with a `revision` of it.

        `DataError` where it cannot be loaded, or is not a BERT's.
        """
        from transformers import BertTokenizer
        from transformers.utils.hub import cached_file

        try:
            if Path(name, "tokenizer.json").is_file():
                # BertTokenizer takes nothing but the pieces from it, and so would lower-case for a cased one.
                return cls._of(Tokenizer.from_file(str(Path(name, "tokenizer.json"))))
            if not Path(name).is_dir():
                # Asked for first: without a network BertTokenizer tries for minutes, then behaves as if the files did not
                # exist, and makes a vocabulary of five tokens.
                cached_file(name, "config.json", revision=revision)
            return cls._of(BertTokenizer.from_pretrained(name, revision=revision or "main").backend_tokenizer)
        except Exception as error:  # transformers, the hub's client and tokenizers each have errors of their own
            files = "folder with vocab.txt or tokenizer.json"
            raise hub.refused("BERT's tokeniser", str(name), revision, error, files) from error

    @classmethod
    def _of(cls, tokenizer: Tokenizer) -> WordPieces:
        normaliser = tokenizer.normalizer
        if not isinstance(tokenizer.model, WordPiece) or not isinstance(normaliser, BertNormalizer):
            raise ValueError(f"{type(tokenizer.model).__name__} after {type(normaliser).__name__}")
        return cls(in_order(tokenizer.get_vocab(with_added_tokens=False)), normaliser)

    def save(self, path: Path) -> None:
        """Write a `tokenizer.json`, as `read`, tokenizers and transformers take it."""
        with replacing(path) as temporary:
            temporary.write_text(self._tokenizer.to_str(pretty=True) + "\n", "utf-8")

    def save_vocabulary(self, path: Path) -> None:
        """Write a `vocab.txt`: one piece per line."""
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{piece}\n" for piece in self.pieces), "utf-8")
