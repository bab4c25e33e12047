"""Making MLflow hold what the result folders hold, whether this machine made them, another one, or DVC's cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from itrcore import layout
from itrcore.report.attachments import page_files
from itrcore.runs.folder import METRICS, RUN
from itrcore.settings.params import Params
from itrcore.tracking.run_log import is_evaluated
from itrcore.tracking.tracker import Tracker


@dataclass
class Held:
    """Names that MLflow holds now, names that it did not take, and names without results yet."""

    held: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def synchronise(params: Params) -> Held:
    """Record every configured run, ensemble and transfer that has results, with its report's page, as the current one of its name.

    Names that are not configured have no current run any more. Recording twice changes nothing.

    Where MLflow fails, one warning says so, and what was recorded before stays. `DataError` where a result is damaged.
    """
    tracker, outcome = Tracker.of(params), Held()
    for name, run in params.runs.items():
        folder, results = layout.run(run.data, name), layout.result(run.data, name)
        if (folder / RUN).exists() and (results / METRICS).exists() and is_evaluated(folder, results):
            _note(outcome, name, tracker.record(folder, results))
            _attach(tracker, run.data, name, "runs")
        else:
            outcome.missing.append(name)
    for name, ensemble in params.ensembles.items():
        folder = layout.result(ensemble.data, name)
        if (folder / METRICS).exists():
            _note(outcome, name, tracker.record_ensemble(folder))
            _attach(tracker, ensemble.data, name, "ensembles")
        else:
            outcome.missing.append(name)
    for name, each in params.transfers.items():
        folder = layout.result(each.data, name)
        if (folder / METRICS).exists():
            _note(outcome, name, tracker.record_transfer(folder))
            _attach(tracker, each.data, name, "runs")
        else:
            outcome.missing.append(name)
    tracker.unmark_others(
        {(each.data, name) for part in (params.runs, params.ensembles, params.transfers) for name, each in part.items()}
    )
    return outcome


def _note(outcome: Held, name: str, recorded: bool) -> None:
    (outcome.held if recorded else outcome.refused).append(name)


def _attach(tracker: Tracker, data: str, name: str, kind: str) -> None:
    page = Path(kind, f"{name}.html")
    if (layout.REPORT / page).exists():
        tracker.attach_report(data, name, page_files(layout.REPORT, str(page)))
