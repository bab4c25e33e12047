"""Transfers in the report: apart from the runs of the data set, in every form, with a page that says whose weights they are."""

from __future__ import annotations

import re
from pathlib import Path

from itrcore.report.html import write_report
from itrcore.report.leaderboard import rows
from itrcore.report.markdown import as_markdown
from itrcore.report.results import collect
from itrcore.settings.evaluation import ReportSettings
from tests.report.test_published import ESA_SOURCE
from tests.support.report_data import evaluation, put_run

SIZE = {"features": "bottom-up attention", "n_images": 1000, "n_captions": 5000}


def test_transfers_do_not_compete_with_the_runs_of_their_data_set(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("own", "f30k", "esa_bigru", 1, 50.0, **SIZE))
    for seed in (1, 2):
        moved = evaluation(f"moved-{seed}", "f30k", "esa_bigru", seed, 60.0, **SIZE)
        put_run(tmp_path, {**moved, "trained_on": "coco", "weights_of": f"coco-{seed}"})
    moved_to = {"moved-1": "f30k", "moved-2": "f30k"}
    results = collect(tmp_path, {"own": "f30k"}, {}, {"f30k": "f30k"}, {}, moved_to)
    assert results.datasets == ["f30k"] and results.tables == ["f30k", "f30k-trained-on-coco"]
    (own,), (transferred,) = (rows(results, table) for table in results.tables)
    assert [entry.name for entry in transferred.entries] == ["moved-1", "moved-2"]
    assert not own.noise.p and not transferred.noise.p  # each is the best of its table
    assert own.published is not None and transferred.published is None  # published are runs on their own data
    markdown = as_markdown(results, "t")
    assert "## f30k-trained-on-coco" in markdown and markdown.count(ESA_SOURCE) == 1
    write_report(results, tmp_path / "report", ReportSettings(title="t"), {}, {})
    index = (tmp_path / "report" / "index.html").read_text("utf-8")
    ids = re.findall(r'<section id="(.*?)"', index)
    assert ids == ["data-f30k", "data-f30k-trained-on-coco"]
    page = (tmp_path / "report" / "runs" / "moved-1.html").read_text("utf-8")
    assert "coco, as run coco-1" in page and "Epoch kept" not in page
    for link in re.findall(r'(?:src|href)="(plots[^"]*)"', index):
        assert (tmp_path / "report" / link).exists()
