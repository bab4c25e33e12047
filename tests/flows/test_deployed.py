"""The deployments of prefect.yaml: three for each experiment, whose forms have what its params.yaml has."""

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


def form(entrypoint: str) -> dict[str, Any]:
    """Of a deployment: parameter → its schema."""
    schema: dict[str, dict[str, Any]] = parameter_schema(load_flow_from_entrypoint(entrypoint)).properties
    assert all(each["description"] for each in schema.values())
    return schema


def test_each_experiment_has_three() -> None:
    found = sorted((each["name"], each["entrypoint"]) for each in DEPLOYMENTS)
    purposes = ("benchmark", "prepare", "train")
    assert found == sorted((name, f"flows.deployed:{name}.{each}") for name in FOLDERS for each in purposes)


@pytest.mark.parametrize("name", FOLDERS)
def test_forms_have_what_params_yaml_has(name: str) -> None:
    params, entrypoint = load(FOLDERS[name] / "params.yaml"), f"flows.deployed:{name}"
    assert form(f"{entrypoint}.benchmark").keys() == {"jobs", "gpus", "spread"}
    train, prepare = form(f"{entrypoint}.train"), form(f"{entrypoint}.prepare")
    assert train["runs"]["items"]["enum"] == list(params.runs) and train["runs"]["minItems"] == 1
    assert prepare["data"]["items"]["enum"] == list(params.datasets) and prepare["jobs"]["minimum"] == 1
