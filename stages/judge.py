"""Stage `judge@<run>`: figures from a run's scores, and what the report shows of it."""

from __future__ import annotations

from itrcore.evaluation.judging import judge
from itrcore.protocols.results import summary
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Rank, pick examples, say the result."""
    say(summary(judge(params, name)))


if __name__ == "__main__":
    run_stage(main)
