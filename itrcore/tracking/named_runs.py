"""The MLflow runs of one name of params.yaml: a run for each of its results, of which one is marked as the current one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from itrcore.tracking.run_log import RESULT

# Tags: the run of params.yaml; whether it is the one that the folders hold; the project (a digest of its path) that marked it;
# the `dvc exp` it is of.
NAME, CURRENT, PROJECT, TRIAL = "itr.name", "current", "itr.project", "trial"
_MOST = 50_000  # runs that MLflow gives at once


class NamedRuns:
    """The runs of one name in an MLflow experiment. A finished one stays.

    trial: the `dvc exp` that does them; its runs have a name of their own
    project: the one whose unfinished runs are left over if it begins anew; None where all in the store are
    """

    def __init__(self, client: Any, experiment: str, name: str, trial: str | None, project: str | None) -> None:
        self._client, self._experiment, self._name, self._trial = client, experiment, name, trial
        self._project = project

    def create(self, tags: Mapping[str, str]) -> Any:
        """A new run, not the current one before it is finished."""
        from mlflow.tracking.context.registry import resolve_tags
        from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_USER

        with warnings.catch_warnings(action="ignore"):  # of git's library, about a folder with `$` in its name
            context = resolve_tags()
        # Who and where is nobody's business: of the entry point the name will do, of the user nothing.
        context = {key: value for key, value in context.items() if key != MLFLOW_USER}
        context[MLFLOW_SOURCE_NAME] = os.path.basename(context.get(MLFLOW_SOURCE_NAME, ""))
        ours = {NAME: self._called, CURRENT: "false", PROJECT: self._project, TRIAL: self._trial}
        given = {key: value for key, value in ours.items() if value is not None}
        return self._client.create_run(self._experiment, run_name=self._called, tags={**context, **given, **tags})

    def holds(self, run_id: str | None) -> bool:
        """Whether this is one of them."""
        return any(run.info.run_id == run_id for run in self._search(NAME, self._called))

    def current(self) -> Any | None:
        """The one marked; where two processes marked at the same moment, the newest."""
        runs = self._search(NAME, self._called)
        return next((run for run in runs if run.data.tags.get(CURRENT) == "true"), None)

    def of(self, result: str) -> Any | None:
        """The finished run of a result: out of the bin if it is there, and of the trial whose results were applied."""
        from mlflow.entities import ViewType

        known = [
            run
            for run in self._search(RESULT, result, ViewType.ALL)
            if run.data.tags.get(NAME) == self._called or (self._trial is None and _base(run.data.tags) == self._name)
        ]
        # Rather its own than a trial's, rather one that is not in the bin.
        known.sort(key=lambda run: (run.data.tags.get(NAME) != self._called, run.info.lifecycle_stage != "active"))
        if not known:
            return None
        found = known[0]
        key = found.info.run_id
        if found.info.lifecycle_stage != "active":
            self._client.restore_run(key)
        if found.data.tags.get(NAME) != self._called:
            self._client.set_tag(key, NAME, self._called)
            self._client.update_run(key, name=self._called)
            self._client.delete_tag(key, TRIAL)
        if found.info.status != "FINISHED":  # killed between its last entry and its end
            self._client.set_terminated(key)
        return found

    def not_of_trial(self, result: str) -> bool:
        """Whether this is a trial, and the result one that the experiment had before."""
        return self._trial is not None and any(
            run.data.tags.get(NAME) == self._name for run in self._search(RESULT, result)
        )

    def clear(self, keep: str) -> None:
        """Move attempts that were never finished to MLflow's bin, which `mlflow gc` empties; not `keep`."""
        for run in self._search(NAME, self._called):
            ours = _is_of(self._project, run.data.tags)  # another project's may be going on
            if run.info.run_id != keep and run.info.status != "FINISHED" and ours:
                if RESULT in run.data.tags:
                    self._client.set_terminated(run.info.run_id)
                else:
                    self._client.delete_run(run.info.run_id)

    def mark(self, current: str) -> None:
        """Mark this one as the current one, and the others as earlier ones."""
        self.clear(keep=current)
        runs = self._search(NAME, self._called)
        for run in sorted(runs, key=lambda run: run.info.run_id == current):  # the last of two processes wins
            tags = {CURRENT: "false"}
            if run.info.run_id == current:
                tags = {CURRENT: "true"} if self._project is None else {CURRENT: "true", PROJECT: self._project}
            for key, value in tags.items():
                if run.data.tags.get(key) != value:
                    self._client.set_tag(run.info.run_id, key, value)

    @property
    def _called(self) -> str:
        return f"{self._name} ({self._trial})" if self._trial else self._name

    def _search(self, tag: str, value: str, view: int = 1) -> list[Any]:
        """Active ones, newest first."""
        wanted = f"tags.`{tag}` = '{value}'"
        order = ["attributes.start_time DESC"]
        return list(self._client.search_runs([self._experiment], wanted, view, _MOST, order))


def _base(tags: Mapping[str, str]) -> str:
    """The name in params.yaml of a run or a trial of it; empty for a run of others."""
    return tags.get(NAME, "").removesuffix(f" ({tags.get(TRIAL)})")


def _is_of(project: str | None, tags: Mapping[str, str]) -> bool:
    """Whether a run is of this project; one that names none is from before its store was behind a server."""
    return project in (None, tags.get(PROJECT, project))


def unmark(client: Any, prefix: str, project: str | None, names: Collection[tuple[str, str]]) -> None:
    """Take the mark from runs of names that params.yaml no longer has, and from their trials.

    prefix: of the experiment's MLflow experiments, whose names end in a data set's
    project: the one whose marks they are; None where all marks in the store are
    names: (data set, name) of all runs and ensembles in params.yaml
    """
    data = {
        each.experiment_id: each.name.removeprefix(prefix)
        for each in client.search_experiments(max_results=_MOST)
        if each.name.startswith(prefix) and "/" not in each.name.removeprefix(prefix)
    }
    for run in client.search_runs(list(data), f"tags.{CURRENT} = 'true'", max_results=_MOST) if data else []:
        tags, name = run.data.tags, _base(run.data.tags)
        if name and (data[run.info.experiment_id], name) not in names and _is_of(project, tags):
            client.set_tag(run.info.run_id, CURRENT, "false")
