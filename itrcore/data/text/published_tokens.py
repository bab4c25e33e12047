"""The tokens of a published dual encoder, by its own tokeniser as transformers has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itrcore.data.text.tokens import TokenIds, Tokenised
from itrcore.errors import DataError, first_line
from itrcore.fetch import hub
from itrcore.files import digest, parse_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PublishedTokens:
    """Captions → ids, as a tokeniser of transformers has them."""

    kind = "published"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, limit: int, filled: bool, lower: bool) -> None:
        """limit: tokens of the longest caption, special ones included; longer ones are cut

        filled: whether shorter captions are filled up to the limit; lower: whether captions are lower-cased first
        """
        self._tokenizer, self.filled, self.lower = tokenizer, filled, lower
        self.limit = min(limit, tokenizer.model_max_length)
        self._rules = _rules(tokenizer)  # before the first caption: tokenizers keeps the limit among its own rules

    def __len__(self) -> int:
        return len(self._tokenizer)

    @cached_property
    def token_ids(self) -> TokenIds:
        """Its padding, or the last id, serves for masked tokens: dual encoders have no mask of their own."""
        special = {*self._tokenizer.all_special_ids}
        pad = self._tokenizer.pad_token_id
        usable = [number for number in range(len(self)) if number not in special]
        return TokenIds(len(self), len(self) - 1 if pad is None else pad, np.array(usable))

    @property
    def digest(self) -> str:
        """The same for tokenisers that give the same ids, wherever they were read from."""
        return digest([type(self._tokenizer).__name__, self._rules])

    @property
    def decides(self) -> list[Any]:
        """The tokeniser and what is asked of it."""
        return [self.digest, self.limit, self.filled, self.lower]

    def encode(self, caption: str) -> Tokenised:
        """The caption's tokens and special ones, each token a word of its own."""
        given = self._tokenizer(
            caption.lower() if self.lower else caption,
            truncation=True,
            max_length=self.limit,
            padding="max_length" if self.filled else False,
            return_special_tokens_mask=True,
        )
        ids, words = list(given["input_ids"]), _numbered(given["special_tokens_mask"])
        return Tokenised(ids, list(words))

    def token_texts(self, caption: str) -> list[str]:
        """The text of each token of `encode`."""
        return [str(self._tokenizer.decode([number])) for number in self.encode(caption).ids]

    @classmethod
    def pretrained(
        cls, name: str | Path, revision: str | None, limit: int, filled: bool, lower: bool
    ) -> PublishedTokens:
        """The tokeniser of a published model: a name on the Hugging Face hub, with a `revision` of it, or a folder.

        `DataError` where it cannot be had.
        """
        try:
            tokenizer = _loaded(name, revision)
        except (
            Exception
        ) as error:  # transformers, the hub's client, tokenizers and sentencepiece have errors of their own
            raise hub.refused(
                "tokeniser", str(name), revision, error, "folder with the files of its tokeniser"
            ) from error
        return cls(tokenizer, limit, filled, lower)

    @classmethod
    def read(cls, folder: Path, limit: int, filled: bool, lower: bool) -> PublishedTokens:
        """Read what `save` wrote; `DataError` where it is missing or damaged."""
        try:
            return cls(_loaded(folder, None), limit, filled, lower)
        except Exception as error:  # as above
            raise DataError.at(
                folder, f"cannot be read ({first_line(error)})", "the files of a tokeniser", do="Run: dvc repro"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the files that transformers reads it from."""
        self._tokenizer.save_pretrained(folder)


def _loaded(name: str | Path, revision: str | None) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer
    from transformers.utils.hub import cached_file

    if not Path(name).is_dir():
        # Asked for first: without a network AutoTokenizer tries for minutes.
        cached_file(str(name), "config.json", revision=revision)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, revision=revision or "main")
    if not len(tokenizer) > len(tokenizer.all_special_ids):  # made anew, as its files are not there
        raise ValueError("nothing but special tokens")
    return tokenizer


def _rules(tokenizer: Any) -> Any:
    """What decides the tokens: a value for JSON."""
    if tokenizer.is_fast:
        rules = parse_json(tokenizer.backend_tokenizer.to_str())
        return {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
    return [tokenizer.sp_model.serialized_model_proto().hex(), tokenizer.pad_token_id, tokenizer.eos_token_id]


def _numbered(special: list[int]) -> Iterator[int]:
    """Numbers from 0 for what is not special, -1 for what is."""
    number = 0
    for mark in special:
        yield -1 if mark else number
        number += not mark
