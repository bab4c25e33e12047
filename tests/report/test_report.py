"""The report: what it reads, how seeds become rows, and that its pages are honest, closed in themselves and safe."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import matplotlib
import pytest
from PIL import Image
from rich.console import Console

from itrcore.errors import DataError
from itrcore.files import inside, write_sealed
from itrcore.report import formats
from itrcore.report.html import write_report
from itrcore.report.leaderboard import as_json, chance_r1, rows
from itrcore.report.markdown import as_markdown
from itrcore.report.results import NOT_REAL, Results, collect
from itrcore.report.terminal import print_leaderboard
from itrcore.settings.evaluation import ReportSettings
from tests.support.report_data import ODD, OUTSIDE, SCRIPT, TITLE, efficiency, evaluation, put_ensemble, put_run

RUNS = {"weak-1": "toy", "strong-1": "toy", "strong-2": "toy", "strong-3": "toy", "photo-1": "real"}
ENSEMBLES = {"both": "toy"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on `toy` (three seeds and one), their ensemble between them, and one run on real features."""
    root = tmp_path_factory.mktemp("results")
    put_run(root, evaluation("weak-1", "toy", "weak", 1, 20.0, efficiency=efficiency(False, 30.0, 5_000)))
    for seed, r1 in ((1, 40.0), (2, 43.0), (3, 46.0)):
        put_run(root, evaluation(f"strong-{seed}", "toy", "strong", seed, r1, train_seconds=10.0 * seed))
    put_run(root, evaluation("photo-1", "real", "strong", 1, 70.0, features="bottom-up attention"))
    ensemble = {
        "members": ["weak-1", "strong-1"], "profile": None, "train_seconds": None, "encode_image_ms": None,
        "encode_caption_ms": None, "parameters": 4_200_000,
    }  # fmt: skip
    put_ensemble(root, evaluation("both", "toy", None, None, 30.0, **ensemble))
    return root


@pytest.fixture(scope="module")
def results(root: Path) -> Results:
    return collect(root, RUNS, ENSEMBLES)


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The written report; a picture lies where the hostile file name would lead, and one has an odd name."""
    place = tmp_path_factory.mktemp("report")
    pictures = place / "a" / "b" / "pictures"
    pictures.mkdir(parents=True)
    (place / "a" / "etc").mkdir()
    for path in (pictures / "one.png", pictures / ODD, place / "a" / "etc" / "x.jpg", pictures / "not shown.png"):
        Image.new("RGB", (8, 6), "red").save(path)
    folder = place / "out" / "report"
    write_report(results, folder, ReportSettings(title=TITLE), {"toy": pictures}, {"Command": "dvc <repro>"})
    return folder


class Page(HTMLParser):
    """Tags with their attributes and the words inside each element, of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []  # (the class that encloses it, text)
        self._classes: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        self.tags.append((tag, attributes))
        if tag not in ("img", "meta", "link", "source", "br"):
            self._classes.append(attributes.get("class", ""))

    def handle_endtag(self, tag: str) -> None:
        self._classes.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((" ".join(filter(None, self._classes)), data.strip()))

    def links(self) -> Iterator[str]:
        for _, attributes in self.tags:
            yield from (attributes[key] for key in ("href", "src", "srcset") if key in attributes)


def pages(report: Path) -> list[Path]:
    return sorted(report.rglob("*.html"))


def test_seeds_become_one_row_with_mean_and_sample_deviation(results: Results) -> None:
    strong = next(row for row in rows(results, "toy") if row.name == "strong/small")
    assert strong.values["i2t_r1"].mean == pytest.approx(43.0)
    assert strong.values["i2t_r1"].std == pytest.approx(3.0)  # 40, 43, 46: sqrt((9 + 0 + 9) / 2); not sqrt(6)
    assert strong.values["rsum"].std == pytest.approx(18.0)
    assert strong.values["train_seconds"].mean == pytest.approx(20.0)
    weak = next(row for row in rows(results, "toy") if row.name == "weak/small")
    assert weak.values["rsum"].std is None


def test_rows_are_sorted_by_rsum_and_the_ensemble_is_one_of_them(results: Results) -> None:
    board = rows(results, "toy")
    assert [row.name for row in board] == ["strong/small", "both", "weak/small"]
    assert "train_seconds" not in board[1].values
    assert board[1].values["parameters"].mean == 4_200_000
    assert [row.name for row in rows(results, "real")] == ["strong/small"]  # other data never share a row


def test_another_profile_is_another_row(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0))
    put_run(tmp_path, evaluation("b", "toy", "m", 2, 30.0, profile="published"))
    board = rows(collect(tmp_path, {"a": "toy", "b": "toy"}, {}), "toy")
    assert [row.name for row in board] == ["m/published", "m/small"]


def test_a_reconstruction_is_said_to_be_one_wherever_its_figures_stand(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0, family="m_bert_reconstructed"))
    put_ensemble(
        tmp_path, evaluation("c", "toy", None, None, 30.0, members=["a"], profile=None, family="m_bert_reconstructed+n")
    )
    results = collect(tmp_path, {"a": "toy"}, {"c": "toy"})
    board = ["c (with a reconstruction)", "m (reconstruction)/small"]
    assert [row.name for row in rows(results, "toy")] == list(as_json(results)["toy"]) == board
    assert "| m (reconstruction) |" in as_markdown(results, TITLE)
    console = Console(record=True, width=200)
    print_leaderboard(results, console)
    assert "m (reconstruction)/small" in console.export_text()
    report = tmp_path / "report"
    write_report(results, report, ReportSettings(title=TITLE), {}, {})
    assert "m (reconstruction)" in (report / "index.html").read_text("utf-8")
    assert "its figures are not the paper" in (report / "runs" / "a.html").read_text("utf-8")


def test_a_run_no_longer_configured_disappears(root: Path) -> None:
    fewer = collect(root, {"weak-1": "toy", "strong-2": "toy"}, {})
    assert as_json(fewer)["toy"].keys() == {"strong/small", "weak/small"}
    assert as_json(fewer)["toy"]["strong/small"]["i2t_r1"] == 43.0


@pytest.mark.parametrize(
    ("name", "ensembles", "file", "stage"),
    [
        ("new-1", {}, "results/toy/new-1/metrics.json", "dvc repro judge@new-1"),
        ("weak-1", {"all": "toy"}, "results/toy/all/metrics.json", "dvc repro ensemble@all"),
    ],
)
def test_a_missing_file_is_named_with_the_stage_to_run(
    root: Path, name: str, ensembles: dict[str, str], file: str, stage: str
) -> None:
    with pytest.raises(DataError) as error:
        collect(root, {name: "toy"}, ensembles)
    assert file in str(error.value).replace("\\", "/")
    assert stage in str(error.value)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"features": "Simulated"}, "features"),  # a misspelling would lose the banner
        ({"method": None}, "method"),
        ({"name": "other"}, "other"),
    ],
)
def test_wrong_content_is_an_error_that_names_it(tmp_path: Path, change: dict[str, Any], names: str) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0))
    write_sealed(tmp_path / "results/toy/a/metrics.json", evaluation("a", "toy", "m", 1, 20.0) | change)
    with pytest.raises(DataError, match=names) as error:
        collect(tmp_path, {"a": "toy"}, {})
    assert "metrics.json" in str(error.value)
    assert "dvc repro judge@a" in str(error.value)


def test_a_cut_off_history_is_an_error_of_the_training(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0))
    (tmp_path / "runs/toy/a/history.json").write_text('{"evaluations": [', "utf-8")
    with pytest.raises(DataError, match=r"history\.json: this file is damaged: .*itr heal"):
        collect(tmp_path, {"a": "toy"}, {})


def test_figures_of_different_test_sets_never_share_a_table(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0))
    put_run(tmp_path, evaluation("b", "toy", "m", 2, 20.0, n_images=100))
    with pytest.raises(DataError, match="n_images is 150 for a and 100 for b"):
        collect(tmp_path, {"a": "toy", "b": "toy"}, {})


def test_different_data_digests_are_pointed_out(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0))
    put_run(tmp_path, evaluation("b", "toy", "m", 2, 20.0, data_digest="e" * 64))
    for names, shown in ((("a", "b"), True), (("a",), False)):
        folder = tmp_path / "-".join(names)
        results = collect(tmp_path, dict.fromkeys(names, "toy"), {})
        write_report(results, folder, ReportSettings(title="t"), {}, {})
        assert ("Different data." in (folder / "index.html").read_text("utf-8")) is shown
        assert (folder / "analysis/toy.html").exists() is not shown


def test_chance_level_is_that_of_a_random_ranking() -> None:
    # 4 images, 5 captions each: 5 of 20 captions are right for an image, 1 of 4 images is right for a caption.
    assert chance_r1(4, 20) == pytest.approx({"i2t": 25.0, "t2i": 25.0})


def test_leaderboard_json_is_plain_and_the_same_every_time(results: Results, report: Path, tmp_path: Path) -> None:
    write_report(results, tmp_path / "again", ReportSettings(title=TITLE), {}, {})
    first = (report / "leaderboard.json").read_bytes()
    assert first == (tmp_path / "again" / "leaderboard.json").read_bytes()
    board = json.loads(first)
    assert board["toy"]["strong/small"]["rsum"] == pytest.approx(6 * 43 + 60)
    assert board["toy"]["strong/small"]["std"]["rsum"] == pytest.approx(18.0)
    assert board["toy"]["strong/small"]["seeds"] == 3
    assert "std" not in board["toy"]["weak/small"]
    assert "train_seconds" not in board["toy"]["both"]


def test_a_banner_stands_exactly_where_features_are_not_real(report: Path) -> None:
    for path in pages(report):
        text = " ".join(words for classes, words in Page(path).texts if "banner" in classes)
        if path.name in ("photo-1.html", "real.html"):
            assert not text, path
        else:
            assert NOT_REAL["synthetic"] in text, path
            assert "(toy)" in text, path


def test_an_extrapolated_time_is_marked_and_what_the_mark_means_said(report: Path) -> None:
    texts = [text for _, text in Page(report / "index.html").texts]
    assert texts.count("3.0 s †") == 1 and any(text.startswith("†: not measured") for text in texts)
    assert "3.0 s † extrapolated" in [text for _, text in Page(report / "runs" / "weak-1.html").texts]
    (alt,) = (a["alt"] for tag, a in Page(report / "index.html").tags if "tradeoff" in a.get("src", ""))
    assert "1 row," in alt and "Fastest: weak/small, rsum 180.0, 3.0 s." in alt


def test_every_table_names_the_features(report: Path) -> None:
    for path in pages(report):
        for table in path.read_text("utf-8").split("<table>")[1:]:
            body = table.split("</table>")[0]
            assert ">Features</th>" in body, path
            assert "synthetic</td>" in body or "bottom-up attention</td>" in body, path


def test_sections_state_where_their_figures_come_from(report: Path) -> None:
    words = " ".join(text for _, text in Page(report / "index.html").texts)
    for fact in ("test split, 150 images and 750 captions", "dev", "1, 2, 3", "dddddddddddd", "abc123", "0.67 %"):
        assert fact in words


def test_right_and_wrong_answers_are_marked_by_word_and_class(report: Path) -> None:
    texts = Page(report / "runs" / "weak-1.html").texts
    at = next(i for i, (classes, text) in enumerate(texts) if text == "the right one" and "captions" in classes)
    assert "right" in texts[at][0].split()
    assert texts[at + 1] == (f"{texts[at][0]} tail mark right", "✓ right")
    wrong = next(i for i, (classes, text) in enumerate(texts) if text == SCRIPT and "captions wrong" in classes)
    assert texts[wrong + 1][1] == "✗ wrong"
    assert texts[wrong + 2][1] == "0.900"
    # The right picture was not among those retrieved: it is shown apart, with its rank.
    apart = [text for classes, text in texts if "right apart" in classes]
    assert apart == ["7", "✓ right"]


def test_every_link_and_picture_is_a_file_of_the_report(report: Path) -> None:
    for path in pages(report):
        page = Page(path)
        ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
        for link in page.links():
            parts = urlsplit(link)
            assert not any((parts.scheme, parts.netloc, parts.path.startswith("/"))), (path, link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, link)
            assert target.is_relative_to(report.resolve()), (path, link)
            if parts.fragment and target == path:
                assert unquote(parts.fragment) in ids, (path, link)
        assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img"), path
        assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th"), path


def test_hostile_captions_and_file_names_are_only_text(report: Path) -> None:
    for path in pages(report):
        scripts = ["sorting.js", "filtering.js"] if path.name == "index.html" else []
        tags = [f'<script src="{name}" defer>' for name in scripts]
        assert re.findall("<script[^>]*>", path.read_text("utf-8").lower()) == tags, path
        assert [attributes for tag, attributes in Page(path).tags if tag in ("script", "of")] == [
            {"src": name, "defer": ""} for name in scripts
        ], path
    texts = [text for _, text in Page(report / "runs" / "weak-1.html").texts]
    assert SCRIPT in texts
    assert OUTSIDE in texts
    shown = sorted(path.name for path in (report / "pictures" / "toy").iterdir())
    assert len(shown) == 2
    assert "one.png" in shown
    assert ODD not in shown
    assert [path.name for path in report.parent.iterdir()] == ["report"]


@pytest.mark.parametrize(
    "name", ["../x.jpg", "a/../../x.jpg", "/x.jpg", "..\\x.jpg", "C:\\x.jpg", "C:x.jpg", "", "a\0b"]
)
def test_names_that_lead_outside_are_seen(name: str) -> None:
    assert not inside(name)
    assert inside("val2014/COCO_val2014_000000000042.jpg")
    assert inside("a..b.jpg")


def test_something_that_is_no_picture_is_not_copied(root: Path, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_text("<script>", "utf-8")
    results = collect(root, {"weak-1": "toy"}, {})
    write_report(results, tmp_path / "report", ReportSettings(title="t"), {"toy": tmp_path}, {})
    assert not (tmp_path / "report" / "pictures").exists()
    assert "no picture" in (tmp_path / "report" / "runs" / "weak-1.html").read_text("utf-8")


def test_plots_leave_matplotlib_as_it_was(root: Path, tmp_path: Path) -> None:
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend()
    results = collect(root, {"weak-1": "toy"}, {})
    write_report(results, tmp_path / "a", ReportSettings(title="t"), {}, {})
    write_report(results, tmp_path / "b", ReportSettings(title="t"), {}, {})
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend() == backend
    drawn = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.png"))
    assert (
        len(drawn) == 14
    )  # two themes of: recall each way, searches, rsum and loss of the data set, rsum and loss of the run
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in drawn)


def test_markdown_cells_cannot_break_the_table(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m|<b>\nx", 1, 20.0))
    text = as_markdown(collect(tmp_path, {"a": "toy"}, {}), "Title")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[2].startswith(r"| m\|\<b\> x | small | synthetic | 1 (1) | 20.0 |")
    bars = {line.replace(r"\|", "").count("|") for line in table[:3]}
    assert len(bars) == 1
    assert NOT_REAL["synthetic"] in text


def test_terminal_table_cuts_no_name_and_fits_in_100_columns(tmp_path: Path) -> None:
    for seed in (1, 2):
        name = "a_method_with_quite_a_long_name"
        put_run(tmp_path, evaluation(f"a{seed}", "toy", name, seed, 20.0 * seed, features="simulated"))
    console = Console(width=200, file=io.StringIO(), color_system=None)
    print_leaderboard(collect(tmp_path, {"a1": "toy", "a2": "toy"}, {}), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert "…" not in text
    assert "30.0±14.1" in text
    assert "240.0±84.9" in text
    assert "simulated" in text


def test_no_run_configured_is_a_report_that_says_so(tmp_path: Path) -> None:
    write_report(collect(tmp_path, {}, {}), tmp_path / "report", ReportSettings(title="t"), {}, {})
    assert "No run is configured" in (tmp_path / "report" / "index.html").read_text("utf-8")
    assert json.loads((tmp_path / "report" / "leaderboard.json").read_text("utf-8")) == {}


def test_numbers_are_written_with_fitting_digits_and_units() -> None:
    assert [formats.rank(x) for x in (3.0, 2.5, 10.0, 1.0 + 1 / 3)] == ["3", "2.5", "10", "1.3"]
    assert [formats.count(x) for x in (812, 45_120, 999_980, 2_134_567)] == ["812", "45.1 k", "1.0 M", "2.1 M"]
    spans = [formats.duration(x) for x in (12.34, 59.96, 302, 11_400)]
    assert spans == ["12.3 s", "1 min 00 s", "5 min 02 s", "3 h 10 min"]
    times = [formats.milliseconds(x) for x in (0.0098, 0.41, 0.996, 12.3, 1300)]
    assert times == ["9.8 µs", "0.41 ms", "1.0 ms", "12 ms", "1.3 s"]
