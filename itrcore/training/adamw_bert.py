"""AdamW as BERT's and CLIP's fine-tuning codes had it, before torch's."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_BETAS, _EPSILON = (0.9, 0.999), 1e-6


class AdamWBert(torch.optim.Optimizer):
    """AdamW whose ε is added to the root of the uncorrected second moment, and whose weight decay follows the step.

    `w ← w − lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)`, then `w ← w − lr · decay · w`, with β = (0.9, 0.999), ε = 1e-6.
    In torch's rule, whose second moment is corrected, this ε is `ε / √(1 − β₂ᵗ)`: 3e-5 at the first step.
    Source: AdamW of older transformers with `correct_bias`, which X-Pool and ESL with CLIP copied.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float) -> None:
        """params: as for any torch optimiser"""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of all parameters that have a gradient. closure: computes the loss and gradients again; its value"""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameters in self._counted([p for p in group["params"] if p.grad is not None]):
                self._update(parameters, group["lr"], group["weight_decay"])
        return loss

    def _counted(self, parameters: list[Tensor]) -> Iterable[list[Tensor]]:
        """Each has one step more. On a GPU those of as many steps are together, as one kernel updates many of them."""
        together = defaultdict[tuple[int, int], list[Tensor]](list)
        for number, parameter in enumerate(parameters):
            state = self.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            together[int(state["step"]), 0 if parameter.is_cuda else number].append(parameter)
        return together.values()

    def _update(self, parameters: list[Tensor], rate: float, decay: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        states = [self.state[parameter] for parameter in parameters]
        means, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        first, second = (1 - beta ** int(states[0]["step"]) for beta in _BETAS)
        torch._foreach_lerp_(means, gradients, 1 - _BETAS[0])
        torch._foreach_mul_(squares, _BETAS[1])
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - _BETAS[1])
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, _EPSILON)
        torch._foreach_addcdiv_(parameters, means, roots, value=-rate * math.sqrt(second) / first)
        # The factor 1 − rate · decay would be rounded to float32.
        torch._foreach_sub_(parameters, parameters, alpha=rate * decay)
