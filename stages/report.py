"""Stage `report`: leaderboard (JSON, Markdown, HTML), plots and pages of retrieved pictures."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.config import Params
from itrcore.data.source import Source
from itrcore.files import remove, replacing, write_json
from itrcore.provenance import code_version
from itrcore.report import leaderboard
from itrcore.report.attachments import page_files
from itrcore.report.html import entry_path, write_report
from itrcore.report.results import configured
from itrcore.tracking import Tracker
from stages import run_stage


def main(params: Params, _: str) -> None:
    """Read every configured run's and ensemble's results and write the report."""
    results = configured(params)
    pictures = {
        data: Path(folder)
        for data in results.datasets
        if (folder := Source.read(layout.raw(data)).pictures) is not None
    }
    with replacing(layout.REPORT) as temporary:
        write_report(results, temporary, params.report, pictures, {"report made by code version": code_version()})
        remove(temporary / "leaderboard.json")  # it lies beside the report, as a DVC metrics file
    write_json(layout.LEADERBOARD, leaderboard.as_json(results))
    tracker = Tracker()
    for entry in results.entries:
        tracker.attach_report(entry.data, entry.name, page_files(layout.REPORT, entry_path(entry)))
    print(
        f"{layout.REPORT}/index.html: {len(results.entries)} runs and ensembles. The leaderboard alone: itr leaderboard"
    )


if __name__ == "__main__":
    run_stage(main)
