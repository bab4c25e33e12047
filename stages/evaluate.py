"""Stage `evaluate@<run>`: a trained run on the test split."""

from __future__ import annotations

from itrcore import layout
from itrcore.config import Params
from itrcore.evaluation.run import evaluate
from itrcore.files import read_json
from itrcore.tracking import Tracker
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Encode test once, score all pairs, rank."""
    folder = evaluate(params, name)
    Tracker().record(layout.run(params.run(name).data, name), folder)
    values = read_json(folder / "metrics.json")["metrics"]
    print(f"{name}: test rsum {values['rsum']:.1f}, i2t R@1 {values['i2t_r1']:.1f}, t2i R@1 {values['t2i_r1']:.1f}")


if __name__ == "__main__":
    run_stage(main)
