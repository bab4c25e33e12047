"""The registered model of a data set: a version for each run that was its champion, and the alias that names the present one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itrcore.tracking.run_log import RESULT

CHAMPION = "champion"
MODEL = "model"  # the folder of a model among its run's artifacts


@dataclass(frozen=True)
class Models:
    """What is registered. versions: digest of a result → version; champion: the present one's digest"""

    name: str
    exists: bool
    versions: dict[str, str]
    champion: str | None


def model_name(prefix: str, data: str) -> str:
    """Of a data set of an experiment; MLflow allows no slash."""
    return f"itr-{prefix}{data}".replace("/", "-")


def models(client: Any, name: str) -> Models:
    """What is registered under a name."""
    found = [model for model in client.search_registered_models(f"name = '{name}'") if model.name == name]
    versions = client.search_model_versions(f"name = '{name}'") if found else []
    results = {each.tags.get(RESULT, ""): str(each.version) for each in versions}
    alias = str(found[0].aliases.get(CHAMPION, "")) if found else ""
    champion = next((result for result, version in results.items() if version == alias), None)
    return Models(name, bool(found), results, champion)


def add(client: Any, name: str, run_id: str, folder: Path, result: str, about: dict[str, str]) -> str:
    """Put the model in `folder` into a run's artifacts and register it; its version. about: tags of the version

    It is registered by its run, not by its address: a project may be moved.
    """
    from mlflow.exceptions import MlflowException

    client.log_artifacts(run_id, str(folder), MODEL)
    try:
        client.create_registered_model(name, description="Searches the data set's test pictures; see docs/serving.md")
    except MlflowException:  # it is there
        client.get_registered_model(name)
    made = client.create_model_version(name, f"runs:/{run_id}/{MODEL}", run_id, tags={**about, RESULT: result})
    return str(made.version)
