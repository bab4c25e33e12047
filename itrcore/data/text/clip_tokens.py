"""CLIP's tokens: byte pairs of lower-cased words, between <|startoftext|> and <|endoftext|>.

The ids are those of OpenAI's tokeniser and of transformers' CLIPTokenizer, with two differences that hardly any caption
shows: OpenAI's mends broken Unicode and HTML entities first and makes curly quotes straight, and both read the two marks,
written in a caption, as the marks themselves; here they are words.
"""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as Bytes
from tokenizers.models import BPE
from tokenizers.normalizers import NFC, Lowercase
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import RobertaProcessing

from itrcore.data.text.subwords import in_order, numbered, tokenised
from itrcore.data.text.tokens import TokenIds, Tokenised, Tokeniser
from itrcore.errors import DataError
from itrcore.fetch import hub
from itrcore.files import digest, parse_json, read_json, replacing

START, END = "<|startoftext|>", "<|endoftext|>"

_LAST = "</w>"  # ends a word's last token
_WORDS = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")


class Stripped:
    """A tokeniser of captions whose ends are stripped, as ESL's released code reads Flickr30K with CLIP."""

    kind = "clip"

    def __init__(self, tokeniser: Tokeniser, strip: str) -> None:
        """strip: characters taken off both ends of a caption"""
        self.tokeniser, self.strip = tokeniser, strip

    @property
    def token_ids(self) -> TokenIds:
        """The tokeniser's."""
        return self.tokeniser.token_ids

    @property
    def decides(self) -> list[Any]:
        """What decides the tokeniser's ids, and what is taken off."""
        return [*self.tokeniser.decides, self.strip]

    def encode(self, caption: str) -> Tokenised:
        """The tokens of what is left of the caption."""
        return self.tokeniser.encode(caption.strip(self.strip))

    def token_texts(self, caption: str) -> list[str]:
        """The text of each token of `encode`."""
        return self.tokeniser.token_texts(caption.strip(self.strip))


class CLIPTokens:
    """Captions ↔ ids of CLIP's byte pairs."""

    kind = "clip"

    def __init__(self, tokens: Sequence[str], merges: Sequence[tuple[str, str]], limit: int | None = None) -> None:
        """`tokens[i]` has id i. `ValueError` where they are not a CLIP's.

        merges: pairs of tokens that become one, the first ones first
        limit: tokens of the longest caption, both marks included: the CLIP's number of positions; None: any number
        """
        ids = numbered(tokens, (START, END))
        self.tokens, self.merges, self.limit = list(tokens), list(merges), limit
        self._tokenizer = Tokenizer(BPE(ids, self.merges, unk_token=END, end_of_word_suffix=_LAST))
        words = Split(_WORDS, "removed", invert=True)
        self._tokenizer.pre_tokenizer = PreTokenizers([words, ByteLevel(add_prefix_space=False, use_regex=False)])
        self._tokenizer.post_processor = RobertaProcessing(
            (END, ids[END]), (START, ids[START]), trim_offsets=False, add_prefix_space=False
        )

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def token_ids(self) -> TokenIds:
        """CLIP has no mask token: its end mark, which it uses for unknown tokens, serves for masked ones too."""
        usable = [i for i, token in enumerate(self.tokens) if token not in (START, END)]
        return TokenIds(len(self), self.tokens.index(END), np.array(usable))

    @property
    def digest(self) -> str:
        """The same for tokenisers that give the same ids, wherever they were read from."""
        return digest([self.tokens, self.merges])

    @property
    def decides(self) -> list[Any]:
        """The tokens, the byte pairs, and the limit."""
        return [self.digest, self.limit]

    def encode(self, caption: str) -> Tokenised:
        """Start mark, the tokens of the caption's words, end mark; a caption over the limit loses its last tokens."""
        # Python's `lower`, as OpenAI has it: it turns a Σ that ends a word into ς, tokenizers turns it into σ.
        return tokenised(self._tokenizer.encode(unicodedata.normalize("NFC", caption).lower()), self.limit)

    def token_texts(self, caption: str) -> list[str]:
        """The text of each token of `encode`; a token that ends within a character has � there."""
        characters = Bytes()
        return [characters.decode([self.tokens[i].removesuffix(_LAST)]) for i in self.encode(caption).ids]

    def limited(self, tokens: int) -> CLIPTokens:
        """The same with a limit, such as `max_position_embeddings` of the text tower that reads the ids."""
        return CLIPTokens(self.tokens, self.merges, tokens)

    @classmethod
    def read(cls, path: Path) -> CLIPTokens:
        """Read a `tokenizer.json`; `DataError` where it is none, or not a CLIP's."""
        try:
            return cls._of(read_json(path))
        except FileNotFoundError:
            raise DataError.at(path, "no such file", "CLIP's tokenizer.json") from None
        except Exception as error:  # what tokenizers raises for damaged files has no type of its own
            raise DataError.at(
                path,
                f"not a CLIP's tokeniser ({error})",
                f"byte pairs with {START} and {END}",
                do="Take the tokenizer.json that was published with the CLIP.",
            ) from error

    @classmethod
    def pretrained(cls, name: str | Path, revision: str | None = None) -> CLIPTokens:
        """The tokeniser of a CLIP: a folder, or a name on the Hugging Face hub with a `revision` of it.

        `DataError` where it cannot be loaded, or is not a CLIP's.
        """
        from transformers import CLIPTokenizer
        from transformers.utils.hub import cached_file

        try:
            if not Path(name).is_dir():
                # Asked for first: without a network CLIPTokenizer tries for minutes, then behaves as if the files did not
                # exist, and makes a vocabulary of two tokens.
                cached_file(name, "config.json", revision=revision)
            loaded = CLIPTokenizer.from_pretrained(name, revision=revision or "main").backend_tokenizer
            return cls._of(parse_json(loaded.to_str()))
        except Exception as error:  # transformers, the hub's client and tokenizers each have errors of their own
            files = "folder with tokenizer.json, or vocab.json and merges.txt"
            raise hub.refused("CLIP's tokeniser", str(name), revision, error, files) from error

    @classmethod
    def _of(cls, tokenizer: dict[str, Any]) -> CLIPTokens:
        # From its JSON, as tokenizers gives no merges out of a model.
        model = tokenizer["model"]
        if model.get("type", "BPE") != "BPE" or model.get("end_of_word_suffix") != _LAST:
            raise ValueError(f"{model.get('type')} with words that end in {model.get('end_of_word_suffix')!r}")
        if not model["merges"]:
            raise ValueError("no byte pairs")
        pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])  # old files: text
        return cls(in_order(model["vocab"]), [(first, second) for first, second in pairs])

    def save(self, path: Path) -> None:
        """Write a `tokenizer.json`, as `read`, tokenizers and transformers take it."""
        whole = copy.deepcopy(self._tokenizer)
        whole.normalizer = Normalizers([NFC(), Lowercase()])  # what `encode` does before
        with replacing(path) as temporary:
            temporary.write_text(whole.to_str(pretty=True) + "\n", "utf-8")
