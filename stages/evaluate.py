"""Stage `evaluate@<run>`: a trained run's scores on the test split."""

from __future__ import annotations

from itrcore import run_inputs
from itrcore.config import Params
from itrcore.evaluation.run import evaluate
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Encode test once, score all pairs."""
    run_inputs.checked(params, "evaluate", name)
    evaluate(params, name)


if __name__ == "__main__":
    run_stage(main)
