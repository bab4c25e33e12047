"""Captions as tokens, and the views that trainings make of them."""

from __future__ import annotations

import numpy as np
import pytest

from itrcore.data.feeding.token_table import TokenTable, touch_tokens
from itrcore.data.text.tokens import TokenIds, Tokenised
from itrcore.settings.methods import TokenViewSettings
from tests.support.helpers import words

TOKENS = TokenViewSettings(touch=0.2, mask=0.5, random=0.1, remove=0.4)


def known(mask: int, first: int = 4) -> TokenIds:
    return TokenIds(mask + 1, mask, np.arange(first, mask))


def touch(captions: list[Tokenised], settings: TokenViewSettings, ids: TokenIds, seed: int = 0) -> list[np.ndarray]:
    table = TokenTable.of(captions)
    return touch_tokens(table, np.arange(len(table)), settings, ids, np.random.default_rng(seed))[0]


def test_a_table_holds_what_it_was_made_of() -> None:
    captions = [
        Tokenised([2, 70000, 8, 3], [-1, 0, 0, -1]),
        Tokenised([2, 3], [-1, -1]),
        Tokenised([2, 5, 3], [-1, 0, -1]),
    ]
    table = TokenTable.of(iter(captions))
    assert len(table) == 3 and len(TokenTable.of([])) == 0
    for row, caption in enumerate(captions):
        assert (table.ids_of(row).tolist(), table.words_of(row).tolist()) == (caption.ids, caption.words)
    part = table.first(2)
    assert (len(part), part.ids.tolist(), part.words_of(1).tolist()) == (2, [2, 70000, 8, 3, 2, 3], [-1, -1])


def test_words_are_touched_at_the_settings_rates() -> None:
    n, length, mask = 3000, 40, 10**6  # random ids almost never hit a word's own
    touched = touch(words([[1, *range(10, 10 + length), 2]] * n), TOKENS, known(mask))
    masked = sum(int((view == mask).sum()) for view in touched)
    removed = sum(length + 2 - len(view) for view in touched)
    replaced = sum(int(((view >= 10 + length) & (view < mask)).sum()) for view in touched)
    assert (masked + removed + replaced) / (n * length) == pytest.approx(0.2, abs=0.005)
    for count, share in ((masked, 0.5), (replaced, 0.1), (removed, 0.4)):
        assert count / (masked + removed + replaced) == pytest.approx(share, abs=0.012)


def test_special_tokens_are_never_touched_and_the_rest_keeps_its_order() -> None:
    rng = np.random.default_rng(1)
    all_of_them = TokenViewSettings(touch=1.0, mask=0.4, random=0.3, remove=0.3)
    lengths = rng.integers(0, 9, 500)
    originals = [[1, *range(10, 10 + length), 2] for length in lengths]
    for settings in (all_of_them, TOKENS):
        views = touch(words(originals), settings, known(50), seed=2)
        assert len(views) == 500
        for original, view in zip(originals, views, strict=True):
            assert view[0] == 1 and view[-1] == 2 and 2 <= len(view) <= len(original)
            assert not np.isin(view[1:-1], [0, 1, 2, 3]).any() and view.max(initial=0) <= 50
            if settings is TOKENS and 50 not in view and len(view) == len(original):
                assert (view == original).mean() > 0.5
    assert all(len(view) == 2 for view, n in zip(views, lengths, strict=True) if n == 0)


PIECES = Tokenised([2, 11, 12, 13, 21, 31, 32, 3], [-1, 0, 0, 0, 1, 2, 2, -1])  # three words of 3, 1 and 2 pieces


@pytest.mark.parametrize("kind", ["mask", "random", "remove"])
def test_what_is_drawn_for_a_word_holds_for_all_its_pieces(kind: str) -> None:
    mask, whole = 10**6, ([11, 12, 13], [21], [31, 32])
    settings = TokenViewSettings.model_validate({"touch": 0.5, "mask": 0, "random": 0, "remove": 0} | {kind: 1})
    seen: set[tuple[bool, ...]] = set()
    for view in touch([PIECES] * 500, settings, known(mask, first=100)):
        kept = tuple(pieces[0] in view for pieces in whole)
        seen.add(kept)
        touched = {"mask": lambda n: [mask] * n, "random": lambda n: [None] * n, "remove": lambda n: []}[kind]
        expected = [
            piece
            for pieces, stays in zip(whole, kept, strict=True)
            for piece in (pieces if stays else touched(len(pieces)))
        ]
        shown = [None if 100 <= piece < mask else piece for piece in view.tolist()]
        assert shown == [2, *expected, 3]
    assert len(seen) == 8  # every combination: the words are drawn each on their own


def test_two_words_beside_each_other_are_drawn_each_on_its_own_also_over_the_ends_of_captions() -> None:
    one_word = [Tokenised([2, 5, 3], [-1, 0, -1])] * 2000
    settings = TokenViewSettings(touch=0.5, mask=1.0, random=0.0, remove=0.0)
    masked = np.array([view[1] == 9 for view in touch(one_word, settings, known(9))])
    assert 0.45 < masked.mean() < 0.55 and 0.4 < (masked[1:] != masked[:-1]).mean() < 0.6


def test_pieces_of_a_replaced_word_are_drawn_each_on_their_own() -> None:
    settings = TokenViewSettings(touch=1.0, mask=0.0, random=1.0, remove=0.0)
    views = np.array(touch([PIECES] * 200, settings, known(1000, first=500)))
    assert (views[:, 1] != views[:, 2]).mean() > 0.9


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"touch": 0.0, "mask": 0.5, "random": 0.1, "remove": 0.4}, [1, 7, 8, 9, 2]),
        ({"touch": 1.0, "mask": 1.0, "random": 0.0, "remove": 0.0}, [1, 20, 20, 20, 2]),
        ({"touch": 1.0, "mask": 0.0, "random": 0.0, "remove": 1.0}, [1, 2]),
    ],
)
def test_views_at_the_limits_leave_the_table_as_it_is(shares: dict[str, float], expected: list[int]) -> None:
    table = TokenTable.of(words([[1, 7, 8, 9, 2]]))
    (view,), _ = touch_tokens(
        table, np.array([0]), TokenViewSettings.model_validate(shares), known(20), np.random.default_rng(0)
    )
    assert view.tolist() == expected and table.ids.tolist() == [1, 7, 8, 9, 2]


def test_random_tokens_are_those_that_may_replace() -> None:
    settings = TokenViewSettings(touch=1.0, mask=0.0, random=1.0, remove=0.0)
    ids = TokenIds(13, 12, np.array([4, 6, 11]))
    views = touch(words([[1, *[30] * 50, 2]] * 40), settings, ids)
    assert set(np.concatenate([view[1:-1] for view in views])) == {4, 6, 11}
