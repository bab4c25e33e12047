"""Ensembles: how similarities of several runs are mixed, and what is chosen on dev."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from itrcore.errors import DataError
from itrcore.evaluation import mixing
from itrcore.evaluation.mixing import Dev, mixed, rsum
from itrcore.ranking import metrics, ranks
from itrcore.runs.scored import Scored

SHAPE = (10, 20)
IMAGE_OF = np.repeat(np.arange(10), 2)


def members(count: int, shape: tuple[int, int] = SHAPE) -> list[Scored]:
    """Noisy similarities, the last member's as vectors; each of a scale of its own."""
    rng = np.random.default_rng(count)
    right = np.repeat(np.eye(shape[0]), shape[1] // shape[0], axis=1)
    found = [
        Scored((10.0**place * (right + rng.standard_normal(shape))).astype(np.float32)) for place in range(count - 1)
    ]
    vectors = [2 * rng.standard_normal((number, 4)).astype(np.float32) for number in shape]
    return [*found, Scored(vectors=(vectors[0], vectors[1]))]


def whole(member: Scored) -> np.ndarray:
    return member.vectors[0] @ member.vectors[1].T if member.vectors else member.similarity  # type: ignore[return-value]


def z_scored(matrix: np.ndarray) -> np.ndarray:
    return np.array([(row - row.mean()) / row.std() for row in matrix.astype(np.float64)])


def ranked(matrix: np.ndarray) -> np.ndarray:
    """Minus the rank of each item, equal ones with that of the last of them."""
    return np.array([[-sum(other >= value for other in row) for value in row] for row in matrix], float)


@pytest.mark.parametrize("block", [1, 40, 2**22])
@pytest.mark.parametrize("scale", ["none", "z_score", "rank"])
def test_a_mix_is_the_weighted_mean_of_each_querys_scaled_similarities(
    scale: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing, "_BLOCK", block)
    found, weights = members(3), (0.5, 0.2, 0.3)
    scaled = {"none": lambda matrix: matrix, "z_score": z_scored, "rank": ranked}[scale]
    of_images, of_captions = mixed(found, weights, scale, "abc")  # type: ignore[arg-type]
    pairs = list(zip(found, weights, strict=True))
    expected = sum(weight * scaled(whole(member)) for member, weight in pairs)
    np.testing.assert_allclose(of_images, expected, rtol=1e-5, atol=1e-5)
    if scale == "none":
        assert of_captions is None
        return
    assert of_captions is not None
    expected = sum(weight * scaled(whole(member).T).T for member, weight in pairs)
    np.testing.assert_allclose(of_captions, expected, rtol=1e-5, atol=1e-5)


def test_ties_do_not_help_when_ranks_are_mixed() -> None:
    constant = Scored(np.zeros(SHAPE, np.float32))
    of_images, of_captions = mixed([constant, constant], (0.5, 0.5), "rank", "ab")
    found = metrics(ranks(of_images, IMAGE_OF)) | {"t2i_r1": metrics(ranks(of_captions, IMAGE_OF))["t2i_r1"]}  # type: ignore[arg-type]
    assert (found["i2t_r1"], found["t2i_r1"]) == (0.0, 0.0)


def test_members_of_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"two: found similarities of shape \(6, 6\); expected \(10, 20\), as of one"):
        mixed([*members(1), *members(1, (6, 6))], (0.5, 0.5), "none", ("one", "two"))


@pytest.mark.parametrize("scale", ["none", "z_score", "rank"])
def test_weights_of_a_pair_are_the_best_of_all_twentieths(scale: str) -> None:
    found = dict(zip("ab", members(2), strict=True))
    dev = Dev.of(found, IMAGE_OF, scale)  # type: ignore[arg-type]
    weights, reached = dev.weights("ab", "dev")
    plain = [
        rsum(mixed(list(found.values()), (step / 20, 1 - step / 20), scale, "ab"), IMAGE_OF)  # type: ignore[arg-type]
        for step in range(21)
    ]
    assert reached == pytest.approx(max(plain)) == pytest.approx(dev.rsum("ab", weights))
    assert sum(weights) == pytest.approx(1) and reached > dev.weights("ab", "equal")[1]


def test_weights_of_three_are_no_worse_than_equal_ones_and_no_single_change_betters_them() -> None:
    dev = Dev.of(dict(zip("abc", members(3), strict=True)), IMAGE_OF, "z_score")
    weights, reached = dev.weights("abc", "dev")
    assert reached >= dev.weights("abc", "equal")[1] and sum(weights) == pytest.approx(1)
    for place, step in product(range(3), range(21)):
        rest = 1 - weights[place]
        turned = [
            step / 20 if each == place else weight * (1 - step / 20) / rest for each, weight in enumerate(weights)
        ]
        assert dev.rsum("abc", turned) <= reached + 1e-9


def test_a_search_orders_all_pairs_by_dev() -> None:
    found = dict(zip("abcd", members(4), strict=True))
    dev = Dev.of(found, IMAGE_OF, "none")
    pairs = dev.search(2, "equal")
    assert {runs for _, runs, _ in pairs} == set(map(tuple, ("ab", "ac", "ad", "bc", "bd", "cd")))
    for reached, runs, weights in pairs:
        assert weights == (0.5, 0.5)
        mean = sum(whole(found[run]) for run in runs) / 2
        assert reached == pytest.approx(metrics(ranks(mean.astype(np.float32), IMAGE_OF))["rsum"])
    assert [reached for reached, _, _ in pairs] == sorted((reached for reached, _, _ in pairs), reverse=True)
