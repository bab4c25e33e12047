"""What CLIP's byte pairs and BERT's word pieces share: a list of tokens with special ones among them, and a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenizers import Encoding

from itrcore.data.text.tokens import Tokenised


def numbered(tokens: Sequence[str], special: Sequence[str]) -> dict[str, int]:
    """Token → its place in the list, which is its id.

    `ValueError` where a special token is missing, a token is there twice, or there are none but special ones.
    """
    ids = {token: i for i, token in enumerate(tokens)}
    if missing := [token for token in special if token not in ids]:
        raise ValueError(f"no {', '.join(missing)}")
    if len(ids) != len(tokens):
        twice = next(token for i, token in enumerate(tokens) if ids[token] != i)
        raise ValueError(f"{twice!r} stands in it twice")
    if len(ids) == len(special):
        raise ValueError("nothing but special tokens")
    return ids


def in_order(ids: Mapping[str, int]) -> list[str]:
    """The tokens by id, from 0; `ValueError` where ids are left out, come twice or are no whole numbers."""
    if wrong := [token for token, number in ids.items() if type(number) is not int]:
        raise ValueError(f"the id of {wrong[0]!r} is {ids[wrong[0]]!r}")
    tokens = sorted(ids, key=ids.__getitem__)
    if tokens and ids[tokens[-1]] != len(tokens) - 1:
        raise ValueError(f"{len(tokens)} tokens with ids up to {ids[tokens[-1]]}")
    if twice := next((token for i, token in enumerate(tokens) if ids[token] != i), None):
        raise ValueError(f"no token has the id {tokens.index(twice)}")
    return tokens


def tokenised(encoding: Encoding, limit: int | None) -> Tokenised:
    """The tokens of a caption; of one over the limit the last tokens before its end mark are left out.

    limit: tokens, the marks at both ends included; None: any number
    """
    ids, words = encoding.ids, [-1 if word is None else word for word in encoding.word_ids]
    if limit is not None and len(ids) > limit:
        ids, words = [*ids[: limit - 1], ids[-1]], [*words[: limit - 1], -1]
    return Tokenised(ids, words)
