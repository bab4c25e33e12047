"""Stage `report`: leaderboard (JSON, Markdown, HTML), plots, pages of pictures and of concepts; all of it into MLflow."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.data.concepts.concepts import Concepts
from itrcore.data.source import Source
from itrcore.files import replacing
from itrcore.provenance import code_version
from itrcore.report.html import write_report
from itrcore.report.results import configured
from itrcore.serving.registering import keep_champions
from itrcore.settings.params import Params
from itrcore.terminal import say
from itrcore.tracking.synchronise import synchronise
from itrcore.tracking.tracker import Tracker
from itrcore.training.kept import clear_recorded
from stages import run_stage


def main(params: Params, _: str) -> None:
    """Read every configured run's and ensemble's results and write the report."""
    results = configured(params)
    pictures = {
        data: Path(folder)
        for data in results.datasets
        if (folder := Source.read(layout.raw(data)).pictures) is not None
    }
    concepts = {
        data: Concepts.load(layout.concepts(data))
        for data in results.datasets
        if params.dataset(data).vocabulary.concepts is not None
    }
    ratings = {data: rated for data in results.datasets if (rated := params.dataset(data).ratings) is not None}
    provenance = {"report made by code version": code_version()}
    with replacing(layout.REPORT) as temporary:
        write_report(results, temporary, params.report, pictures, provenance, concepts, ratings)
    say(
        f"{layout.REPORT}/index.html: {len(results.entries)} runs and ensembles. The leaderboard alone: itr leaderboard"
    )
    # Here, where all results are there: MLflow takes seconds to load, and this stage is not restored from DVC's cache.
    synchronise(params)
    clear_recorded(params, Tracker.of(params).attach_log)
    for model, run in keep_champions(params).items():
        say(f"MLflow: {run.name} is the champion of {model} now, with rsum {run.dev_rsum:.1f} on dev")


if __name__ == "__main__":
    run_stage(main)
