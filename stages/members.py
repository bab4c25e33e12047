"""Stage `members@<ensemble>`: what decides the scores of an ensemble."""

from __future__ import annotations

from itrcore import code, layout
from itrcore.evaluation.ensemble import evaluate_ensemble, members, recorded
from itrcore.files import write_json
from itrcore.settings.params import Params
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Write the record that `ensemble` depends on."""
    record = {
        "code": code.of(evaluate_ensemble.__module__, also=code.FORMS),
        "members": recorded(members(params, name)),
    }
    write_json(layout.members(params.ensemble(name).data, name), record)


if __name__ == "__main__":
    run_stage(main)
