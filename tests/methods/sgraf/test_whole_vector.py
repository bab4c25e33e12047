"""Whole vectors of SGRAF and LHSC: against plain loops, their batch norms and dropout, what may be any number of regions."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from itrcore.methods.sgraf.whole_vector import WholeImage, WholeVector, with_whole
from tests.support.plain_attention import Weights, linear, make_sets, unit

DIM = 6
LENGTHS = [[4, 4, 4], [5, 2, 3], [1], [1, 20, 7, 3]]
LOCALS = ("local", "mean")


def stirred(pooling: WholeVector) -> WholeVector:
    """One that has learned something."""
    with torch.no_grad():
        for value in pooling.parameters():
            value.add_(0.3 * torch.randn_like(value))
        for layer in pooling.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.get_buffer("running_mean").normal_()
                layer.get_buffer("running_var").uniform_(0.5, 2)
    return pooling.double().eval()


def words(dropout: float = 0.0) -> WholeVector:
    torch.manual_seed(0)
    return stirred(WholeVector(DIM, dropout))


def regions(ranked: int | None = None, dropout: float = 0.0) -> WholeImage:
    torch.manual_seed(0)
    pooling = stirred(WholeImage(DIM, dropout, ranked))
    assert isinstance(pooling, WholeImage)
    return pooling


def padded(lengths: Sequence[int], value: float = 0.0, seed: int = 0) -> Tensor:
    """Sets of unit vectors, the rest filled with a value."""
    out = torch.full((len(lengths), max(lengths), DIM), value, dtype=torch.float64)
    for row, item in enumerate(make_sets(lengths, DIM, seed)):
        out[row, : len(item)] = item
    return out


def plain(weights: Weights, sets: Sequence[Tensor], norms: list[list[Tensor]], name: str = "score") -> Tensor:
    """norms: of each set, what `local` made of each member, and of each set what `mean` made of its mean, both normalised"""
    pooled = []
    for members, local, guide in zip(sets, norms[:-1], norms[-1], strict=True):
        scores = torch.stack([linear(weights, name, x.tanh() * guide.tanh())[0] for x in local])
        shares = scores.exp() / scores.exp().sum()
        pooled.append(unit(sum((s * m for s, m in zip(shares, members, strict=True)), torch.zeros(DIM))))
    return torch.stack(pooled)


def projected(weights: Weights, sets: Sequence[Tensor]) -> list[list[Tensor]]:
    """As `plain` takes it, before any batch norm."""
    return [
        *([linear(weights, "local", member) for member in members] for members in sets),
        [linear(weights, "mean", sum(members, torch.zeros(DIM)) / len(members)) for members in sets],
    ]


def normal(values: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return gain * (values - mean) / (variance + 1e-5).sqrt() + bias


@pytest.mark.parametrize("lengths", LENGTHS)
def test_a_captions_whole_vector_is_its_words_weighted_by_how_they_fit_their_mean(lengths: list[int]) -> None:
    pooling, sets = words(), make_sets(lengths, DIM, 0)
    weights = pooling.state_dict()
    pooled = pooling(padded(lengths, math.nan), torch.tensor(lengths))
    torch.testing.assert_close(pooled, plain(weights, sets, projected(weights, sets)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("ranked", "lengths"), [*((None, lengths) for lengths in LENGTHS[:2] + LENGTHS[3:]), (4, [4] * 3)]
)
def test_an_images_whole_vector_is_the_same_with_batch_norms(
    ranked: int | None, lengths: list[int], training: bool
) -> None:
    pooling, sets = regions(ranked), make_sets(lengths, DIM, 0)
    weights = copy.deepcopy(pooling.state_dict())
    *local, means = projected(weights, sets)

    def stats(name: str, values: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Of the values, or what was learned; in training, what is then learned is checked here too."""
        old = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        if not training:
            return old
        mean, variance = values.mean(dims), values.var(dims, correction=0)
        batch = (mean.reshape(-1), values.var(dims).reshape(-1))
        for key, before, now in zip(("running_mean", "running_var"), old, batch, strict=True):
            torch.testing.assert_close(pooling.state_dict()[f"{name}.{key}"], 0.9 * before + 0.1 * now)
        return mean, variance

    pooling.train(training)
    pooled = pooling(padded(lengths, math.nan), torch.tensor(lengths))
    gain, bias = weights["local_norm.weight"], weights["local_norm.bias"]
    if ranked is None:  # one channel: all values of all regions alike
        mean, variance = stats("local_norm", torch.cat([x for row in local for x in row]), (0,))
        local = [[normal(x, gain, bias, mean, variance) for x in row] for row in local]
    else:  # a channel for each region's place
        mean, variance = stats("local_norm", torch.stack([torch.stack(row) for row in local]), (0, 2))
        local = [[normal(x, gain[k], bias[k], mean[k], variance[k]) for k, x in enumerate(row)] for row in local]
    mean, variance = stats("mean_norm", torch.stack(means), (0,))
    means = [normal(x, weights["mean_norm.weight"], weights["mean_norm.bias"], mean, variance) for x in means]
    torch.testing.assert_close(pooled, plain(weights, sets, [*local, means]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", [words(), regions()], ids=["words", "regions"])
def test_padding_changes_no_value_no_gradient_and_no_statistic(pooling: WholeVector) -> None:
    lengths, outcomes = [3, 1, 5], []
    for filler, more in ((0.0, 0), (1e30, 0), (1e30, 4)):
        fresh = copy.deepcopy(pooling).train()
        sets = nn.functional.pad(padded(lengths, filler), (0, 0, 0, more), value=filler).requires_grad_()
        out = fresh(sets, torch.tensor(lengths))
        (gradient,) = torch.autograd.grad(out.square().sum() + out[:, 0].sum(), sets)
        assert not gradient[0, 3:].any() and not gradient[1, 1:].any()
        outcomes.append([out, gradient[:, :5], *fresh.buffers()])
    for other in outcomes[1:]:
        for one, two in zip(outcomes[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_in_evaluation_an_images_whole_vector_is_the_same_in_any_batch() -> None:
    pooling, lengths = regions(), [3, 1, 5, 36]
    together = pooling(padded(lengths), torch.tensor(lengths))
    for row, item in enumerate(make_sets(lengths, DIM, 0)):
        alone = pooling(item[None], torch.tensor([len(item)]))
        torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [words, regions], ids=["words", "regions"])
def test_gradients_are_right(make: object, training: bool) -> None:
    assert callable(make)
    pooling = make().train(training)
    sets, lengths = padded([3, 1, 2]).requires_grad_(), torch.tensor([3, 1, 2])
    assert torch.autograd.gradcheck(lambda x: pooling(x, lengths), (sets,))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [words, regions], ids=["words", "regions"])
def test_sets_of_zeros_have_gradients(make: object, training: bool) -> None:
    assert callable(make)
    pooling, sets = make().train(training), torch.zeros(2, 3, DIM, dtype=torch.float64, requires_grad=True)
    out = pooling(sets, torch.tensor([3, 1]))
    assert bool(out.isfinite().all())
    (gradient,) = torch.autograd.grad(out.sum(), sets)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("make", [words, regions], ids=["words", "regions"])
def test_dropout_is_of_both_tanhs_in_training_alone(make: object) -> None:
    assert callable(make)
    pooling, lengths = make(dropout=0.4), torch.tensor([4, 4])
    seen: list[Tensor] = []
    pooling.dropout.register_forward_hook(lambda module, given, out: seen.append(out))
    pooling.eval()(padded([4, 4]), lengths)
    assert [tuple(out.shape) for out in seen] == [(2, 4, DIM), (2, DIM)]
    assert all(bool(out.all()) for out in seen)
    pooling.train()
    dropped = []
    for _ in range(50):
        seen.clear()
        pooling(padded([4, 4]), lengths)
        dropped.append([float((out == 0).double().mean()) for out in seen])
    assert torch.tensor(dropped).mean(0).tolist() == pytest.approx([0.4, 0.4], abs=0.06)


def test_weights_for_all_regions_alike_take_any_number_and_learn() -> None:
    torch.manual_seed(0)
    pooling, lengths = WholeImage(DIM, 0.4, None).double(), list(range(1, 51))
    sets = padded(lengths).requires_grad_()
    out = pooling(sets, torch.tensor(lengths))
    torch.testing.assert_close(out.norm(dim=1), torch.ones(50, dtype=torch.float64), rtol=0, atol=1e-6)
    out[:, 0].sum().backward()
    without = {name for name, p in pooling.named_parameters() if p.grad is None or float(p.grad.abs().max()) < 1e-12}
    # A batch norm takes the bias of each of its channels off again, a softmax that of its scores.
    assert without == {"mean.bias", "score.bias"}


def test_weights_have_the_names_and_sizes_that_checkpoints_rely_on() -> None:
    layers = {f"{name}.weight": (DIM, DIM) for name in LOCALS} | {f"{name}.bias": (DIM,) for name in LOCALS}
    layers |= {"score.weight": (1, DIM), "score.bias": (1,)}
    for ranked, places in ((None, 1), (36, 36)):
        norms = {
            f"{name}.{key}": size
            for name, channels in (("local_norm", places), ("mean_norm", DIM))
            for key, size in (
                *((key, (channels,)) for key in ("weight", "bias", "running_mean", "running_var")),
                ("num_batches_tracked", ()),
            )
        }
        for pooling, expected in ((WholeVector(DIM, 0.4), layers), (WholeImage(DIM, 0.4, ranked), layers | norms)):
            assert {name: tuple(value.shape) for name, value in pooling.state_dict().items()} == expected
            bound = math.sqrt(6 / (2 * DIM))
            assert 0.8 * bound < pooling.local.weight.abs().max() <= bound
            assert not any(bool(value.any()) for name, value in pooling.named_parameters() if name.endswith("bias"))


def test_an_encoded_item_is_its_whole_vector_then_its_members_all_of_unit_length() -> None:
    pooling, lengths = words(), [3, 1, 5]
    features = padded(lengths, math.nan) * 7
    encoded = with_whole(features, torch.tensor(lengths), pooling)
    assert encoded.lengths.tolist() == [4, 2, 6]
    whole = pooling(padded(lengths), torch.tensor(lengths))
    for row, item in enumerate(make_sets(lengths, DIM, 0)):
        vectors = encoded[row : row + 1].vectors
        torch.testing.assert_close(vectors[0], whole[row], rtol=0, atol=1e-7)
        torch.testing.assert_close(vectors[1:], item, rtol=0, atol=1e-7)
