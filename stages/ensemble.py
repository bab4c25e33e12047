"""Stage `ensemble@<name>`: the mean of several runs' similarity matrices, judged like a run's."""

from __future__ import annotations

from itrcore.evaluation.ensemble import evaluate_ensemble
from itrcore.protocols.results import summary
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Average, rank, pick examples, say the result."""
    say(summary(evaluate_ensemble(params, name)))


if __name__ == "__main__":
    run_stage(main)
