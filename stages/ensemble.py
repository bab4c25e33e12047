"""Stage `ensemble@<name>`: the mean of several runs' similarity matrices, evaluated like a run."""

from __future__ import annotations

from itrcore.config import Params
from itrcore.evaluation.ensemble import evaluate_ensemble
from itrcore.files import read_json
from itrcore.tracking import Tracker
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Average and rank."""
    folder = evaluate_ensemble(params, name)
    Tracker().record_ensemble(folder)
    values = read_json(folder / "metrics.json")["metrics"]
    print(f"{name}: test rsum {values['rsum']:.1f}, i2t R@1 {values['i2t_r1']:.1f}, t2i R@1 {values['t2i_r1']:.1f}")


if __name__ == "__main__":
    run_stage(main)
