"""The mean of stored similarity matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itrcore.errors import DataError
from itrcore.evaluation import ensemble


def stored(folder: Path, count: int, shape: tuple[int, int], scale: float = 1.0) -> tuple[list[Path], list[np.ndarray]]:
    rng = np.random.default_rng(count)
    matrices = [(scale * rng.standard_normal(shape)).astype(np.float32) for _ in range(count)]
    paths = [folder / f"{i}.npy" for i in range(count)]
    for path, matrix in zip(paths, matrices, strict=True):
        np.save(path, matrix)
    return paths, matrices


@pytest.mark.parametrize("rows", [1, 4, 256])
@pytest.mark.parametrize("count", [2, 3])
def test_the_mean_is_the_plain_mean_whatever_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, rows: int
) -> None:
    monkeypatch.setattr(ensemble, "_ROWS", rows)
    paths, matrices = stored(tmp_path, count, (9, 21))
    mean = ensemble.mean_of(paths, tmp_path / "mean.npy")
    expected = np.mean([matrix.astype(np.float64) for matrix in matrices], axis=0).astype(np.float32)
    np.testing.assert_array_equal(mean, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "mean.npy"), expected)
    assert mean.dtype == np.float32


def test_the_order_of_the_members_does_not_change_the_mean(tmp_path: Path) -> None:
    paths, _ = stored(tmp_path, 3, (5, 8))
    one = np.array(ensemble.mean_of(paths, tmp_path / "a.npy"))
    np.testing.assert_array_equal(one, ensemble.mean_of(paths[::-1], tmp_path / "b.npy"))


def test_members_of_other_shapes_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    paths, _ = stored(tmp_path, 2, (4, 8))
    np.save(paths[1], np.zeros((8, 4), np.float32))
    with pytest.raises(DataError, match=r"1\.npy: shape \(8, 4\); expected \(4, 8\), as in .*0\.npy"):
        ensemble.mean_of(paths, tmp_path / "mean.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npy", "1.npy"]


@pytest.mark.parametrize("damage", ["missing", "cut short", "not an array", "pickled"])
def test_a_bad_member_is_named_and_the_old_mean_stays(tmp_path: Path, damage: str) -> None:
    paths, _ = stored(tmp_path, 2, (4, 8))
    out = tmp_path / "mean.npy"
    old = np.array(ensemble.mean_of(paths, out))
    if damage == "missing":
        paths[1].unlink()
    elif damage == "cut short":
        paths[1].write_bytes(paths[1].read_bytes()[:-3])
    elif damage == "not an array":
        paths[1].write_text("similarity")
    else:
        np.save(paths[1], np.array([{}], object))
    with pytest.raises(DataError, match=r"1\.npy"):
        ensemble.mean_of(paths, out)
    np.testing.assert_array_equal(np.load(out), old)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
