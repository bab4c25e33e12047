"""The deployments of prefect.yaml for each experiment, whose forms have what its params.yaml and its sweeps have."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from ruamel.yaml import YAML

from itrcore.settings.load import load
from tests.support.project import ROOT

DEPLOYMENTS = YAML(typ="safe", pure=True).load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
FOLDERS = {"demo": ROOT, **{path.parent.name: path.parent for path in ROOT.glob("experiments/*/params.yaml")}}

SWEEPS = {name: sorted(path.stem for path in folder.glob("sweeps/*.yaml")) for name, folder in FOLDERS.items()}
SWEEPS = {name: known for name, known in SWEEPS.items() if known}


def form(entrypoint: str) -> dict[str, Any]:
    """Of a deployment: parameter → its schema."""
    schema: dict[str, dict[str, Any]] = parameter_schema(load_flow_from_entrypoint(entrypoint)).properties
    assert all(each["description"] for each in schema.values())
    return schema


def test_each_experiment_has_three_and_one_more_if_it_has_sweeps() -> None:
    found = sorted((each["name"], each["entrypoint"]) for each in DEPLOYMENTS)
    purposes = ("benchmark", "prepare", "train")
    wanted = [(name, f"flows.deployed:{name}.{each}") for name in FOLDERS for each in purposes]
    assert found == sorted(wanted + [(name, f"flows.deployed:{name}.sweep") for name in SWEEPS])


@pytest.mark.parametrize("name", FOLDERS)
def test_forms_have_what_params_yaml_has(name: str) -> None:
    params, entrypoint = load(FOLDERS[name] / "params.yaml"), f"flows.deployed:{name}"
    assert form(f"{entrypoint}.benchmark").keys() == {"jobs", "gpus", "spread"}
    train, prepare = form(f"{entrypoint}.train"), form(f"{entrypoint}.prepare")
    assert train["runs"]["items"]["enum"] == list(params.runs) and train["runs"]["minItems"] == 1
    assert prepare["data"]["items"]["enum"] == list(params.datasets) and prepare["jobs"]["minimum"] == 1


@pytest.mark.parametrize("name", SWEEPS)
def test_the_form_of_a_sweep_offers_the_files_that_there_are(name: str) -> None:
    sweep = form(f"flows.deployed:{name}.sweep")
    assert sweep["sweep"]["enum"] == SWEEPS[name] and sweep.keys() == {"sweep", "jobs", "gpus"}
