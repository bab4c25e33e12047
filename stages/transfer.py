"""Stage `transfer@<name>`: a run's scores on another data set's test split."""

from __future__ import annotations

from itrcore.evaluation.evaluate import evaluate
from itrcore.runs import inputs
from itrcore.settings.params import Params
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Encode test with the run's own tokeniser and weights, score all pairs."""
    inputs.checked(params, "transfer", name)
    evaluate(params, name)


if __name__ == "__main__":
    run_stage(main)
