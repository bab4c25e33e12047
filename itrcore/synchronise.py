"""Making MLflow hold what the result folders hold, whoever made them: this machine, another one, or DVC's cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from itrcore import layout
from itrcore.config import Params
from itrcore.errors import ITRError
from itrcore.report.attachments import page_files
from itrcore.tracking import Tracker


@dataclass
class Held:
    """Names that MLflow holds now, and names without results yet."""

    held: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def synchronise(params: Params) -> Held:
    """Record every configured run and ensemble that has results, with its page of the report. Recording twice changes nothing.

    `ITRError` where MLflow fails; what was recorded before stays.
    """
    tracker, found = Tracker(), Held()
    for name, run in params.runs.items():
        folder, evaluation = layout.run(run.data, name), layout.evaluation(run.data, name)
        if (folder / "run.json").exists() and (evaluation / "metrics.json").exists():
            _note(found, name, tracker.record(folder, evaluation))
            _attach(tracker, run.data, name, "runs")
        else:
            found.missing.append(name)
    for name, ensemble in params.ensembles.items():
        folder = layout.ensemble(ensemble.data, name)
        if (folder / "metrics.json").exists():
            _note(found, name, tracker.record_ensemble(folder))
            _attach(tracker, ensemble.data, name, "ensembles")
        else:
            found.missing.append(name)
    return found


def _note(found: Held, name: str, recorded: bool) -> None:
    if not recorded:
        raise ITRError(f"MLflow did not take {name} (see the warning above); run itr track again when it is back")
    found.held.append(name)


def _attach(tracker: Tracker, data: str, name: str, kind: str) -> None:
    page = Path(kind, f"{name}.html")
    if (layout.REPORT / page).exists():
        tracker.attach_report(data, name, page_files(layout.REPORT, str(page)))
