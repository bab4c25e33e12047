"""What an MLflow store holds, and where the results lie that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

RUN, RESULTS, ENSEMBLE = Path("runs/tiny/one"), Path("results/tiny/one"), Path("results/tiny/both")


class Store:
    """What a store holds, asked for by another client than the tracker's."""

    def __init__(self, uri: str | Path = "mlflow.db") -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(
            uri if isinstance(uri, str) and "://" in uri else f"sqlite:///{Path(uri).absolute()}"
        )

    def runs(self, name: str = "one", view: int = 1) -> list[Any]:
        experiment = self.client.get_experiment_by_name("tiny")
        if experiment is None:
            return []
        runs = self.client.search_runs([experiment.experiment_id], run_view_type=view)
        return [run for run in runs if run.info.run_name == name]

    def one(self, name: str = "one") -> Any:
        (run,) = self.runs(name)
        return run

    def marks(self, name: str = "one") -> dict[str, str]:
        """Run id → whether it is the current one, of active runs."""
        return {run.info.run_id: run.data.tags["current"] for run in self.runs(name)}

    def current(self, name: str = "one") -> Any:
        (run,) = [run for run in self.runs(name) if run.data.tags["current"] == "true"]
        return run

    def files(self, run: Any, path: str | None = None) -> list[str]:
        paths = []
        for item in self.client.list_artifacts(run.info.run_id, path):
            paths += self.files(run, item.path) if item.is_dir else [item.path]
        return sorted(paths)

    def read(self, run: Any, path: str) -> bytes:
        """The content of an artifact."""
        return Path(self.client.download_artifacts(run.info.run_id, path)).read_bytes()

    def histories(self, run: Any) -> dict[str, list[tuple[int, float]]]:
        keys = [key for key in run.data.metrics if not key.startswith("system/")]
        return {
            key: sorted((m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, key)) for key in keys
        }

    def content(self, name: str = "one") -> Any:
        run = self.current(name)
        tags = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}
        files = [path for path in self.files(run) if path != "log.txt"]  # which no folder of results has
        return run.info.status, run.data.params, tags, self.histories(run), files
