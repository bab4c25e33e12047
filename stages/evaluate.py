"""Stage `evaluate@<run>`: a trained run's scores on the test split."""

from __future__ import annotations

from itrcore.evaluation.evaluate import evaluate
from itrcore.runs import inputs
from itrcore.settings.params import Params
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Encode test once, score all pairs."""
    inputs.checked(params, "evaluate", name)
    evaluate(params, name)


if __name__ == "__main__":
    run_stage(main)
