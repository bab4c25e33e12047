"""A page of the report with all that it shows, for the artifacts of its MLflow run."""

from __future__ import annotations

from pathlib import Path

from itrcore.report.attachments import page_files

PAGE = """<link rel="stylesheet" href="../style.css"><a href="../index.html">up</a><a href="other.html">other</a>
<picture><source srcset="../plots/a-dark.png 2x, ../plots/a%20b.png"><img src="../plots/a.png"></picture>
<img src="../pictures/toy/missing.jpg"><img src="../../outside.png"><img src="https://example.org/x.png">"""


def test_a_page_takes_its_style_and_pictures_and_nothing_else(tmp_path: Path) -> None:
    report = tmp_path / "report"
    for name in ("runs/r.html", "runs/other.html", "index.html", "style.css", "plots/a.png", "plots/a-dark.png"):
        (report / name).parent.mkdir(parents=True, exist_ok=True)
        (report / name).write_text(PAGE if name == "runs/r.html" else "", "utf-8")
    (tmp_path / "outside.png").write_text("secret", "utf-8")
    (tmp_path / "cached").write_text("drawn", "utf-8")
    (report / "plots" / "a b.png").symlink_to(tmp_path / "cached")  # as DVC links a file into its cache

    attached = {str(path.relative_to(report)): inside for path, inside in page_files(report, "runs/r.html").items()}

    plots = dict.fromkeys(("plots/a.png", "plots/a-dark.png", "plots/a b.png"), "plots")
    assert attached == {"runs/r.html": "runs", "style.css": "", **plots}
