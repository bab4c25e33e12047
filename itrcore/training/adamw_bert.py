"""AdamW as BERT's and CLIP's fine-tuning codes had it, before torch's."""

from __future__ import annotations

import math
from collections.abc import Callable
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
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["weight_decay"])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        first, second = (1 - beta ** int(state["step"]) for beta in _BETAS)
        state["exp_avg"].lerp_(gradient, 1 - _BETAS[0])
        state["exp_avg_sq"].mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        root = state["exp_avg_sq"].sqrt().add_(_EPSILON)
        parameter.addcdiv_(state["exp_avg"], root, value=-rate * math.sqrt(second) / first)
        parameter.sub_(parameter, alpha=rate * decay)  # the factor 1 − rate · decay would be rounded to float32
