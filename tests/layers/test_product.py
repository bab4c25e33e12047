"""The fast matrix product: that of torch, whatever the sizes, and its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.layers.product import narrow_matmul, product

ROWS = (1, 15, 255, 256, 257, 300, 511, 512, 640, 1000, 1023, 1024, 1025, 1104, 2048)


def factors(rows: int, kind: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    a, b, bias = (torch.randn(*shape, generator=generator) for shape in ((rows, 30), (17, 30), (17,)))
    return a.to(kind), b.to(kind), bias.to(kind)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("rows", ROWS)
def test_a_product_is_the_matrix_product(rows: int, grad: bool) -> None:
    a, b, bias = factors(rows)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(product(a, b), a @ b.T, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(product(a, b, bias), a @ b.T + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [3, 300, 1030])
def test_a_product_of_factors_that_lie_otherwise_in_memory_is_the_same(rows: int) -> None:
    a, b, bias = factors(rows)
    strided = torch.stack([a.T, a.T], dim=0)[1].T, torch.stack([b, b], dim=2)[..., 0]
    torch.testing.assert_close(product(*strided, bias), a @ b.T + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [3, 300, 1024, 1030])
def test_gradients_are_those_of_the_matrix_product(rows: int) -> None:
    fast, plain = ([tensor.requires_grad_() for tensor in factors(rows)] for _ in range(2))
    product(*fast).square().sum().backward()  # type: ignore[no-untyped-call]
    (plain[0] @ plain[1].T + plain[2]).square().sum().backward()  # type: ignore[no-untyped-call]
    for one, two in zip(fast, plain, strict=True):
        assert one.grad is not None and two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-3)


def test_float64_keeps_its_digits() -> None:
    a, b, bias = factors(1024, torch.float64)
    torch.testing.assert_close(product(a, b, bias), a @ b.T + bias, rtol=1e-13, atol=1e-13)


def rounded(values: Tensor) -> Tensor:
    return values.detach().bfloat16().double()


@pytest.mark.parametrize("shapes", [((5, 30), (30, 7)), ((2, 5, 30), (2, 30, 7))])
def test_narrow_factors_are_rounded_and_neither_sums_nor_results_are(shapes: tuple[tuple[int, ...], ...]) -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(shape, requires_grad=True) for shape in shapes)
    made = narrow_matmul(a, b, torch.bfloat16)
    back = torch.randn(made.shape)
    made.backward(back)
    assert a.grad is not None and b.grad is not None
    for found, expected in (
        (made, rounded(a) @ rounded(b)),
        (a.grad, rounded(back) @ rounded(b).mT),
        (b.grad, rounded(a).mT @ rounded(back)),
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.detach().double(), expected, rtol=1e-5, atol=1e-5)  # rounding is 4e-3
    elsewhere = narrow_matmul(
        a.detach().to("meta"), b.detach().to("meta"), torch.bfloat16
    )  # by the product that a GPU has
    assert (elsewhere.shape, elsewhere.dtype) == (made.shape, torch.float32)
    if a.dim() == 2:
        bias = torch.randn(7)
        assert torch.equal(product(a, b.T, bias, torch.bfloat16), made + bias)
