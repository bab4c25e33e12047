"""The page of a data set's concepts: what it lists, where its words stand, and what a word of an outside caption may do to it."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from itrcore.data.concepts.concepts import Concepts
from itrcore.report import concepts_page
from itrcore.report.concepts_page import drawn
from itrcore.report.html import write_report
from itrcore.report.results import collect
from itrcore.settings.evaluation import ReportSettings
from tests.support.report_data import evaluation, put_run

HOSTILE = "<b>o'x"


def concepts(n: int = 5) -> Concepts:
    """Words 0 and 1 go together strongly, 2 takes from both, 3 stands alone; more words have random edges."""
    rng = np.random.default_rng(3)
    graph = np.eye(n)
    graph[0, [0, 1]] = graph[1, [1, 0]] = 0.5
    graph[2, [2, 0, 1]] = 0.5, 0.4, 0.1
    for row in range(4, n):
        graph[row, [row, *rng.choice(4, 2, replace=False)]] = 0.5, 0.3, 0.2
    vectors = rng.normal(size=(n, 8)).astype(np.float32)
    vectors[0], vectors[1], vectors[3] = vectors[2], -vectors[2], 0.0
    names = ("man", "ride", HOSTILE, "alone", *(f"word{i}" for i in range(4, n)))
    kinds = ("object", "motion", "property", "object", *["object"] * (n - 4))
    counts = np.array([900, 40, 7, 1234, *range(5, 5 + n - 4)])
    return Concepts(names[:n], kinds[:n], counts, vectors, graph.astype(np.float32), "captions", "rules")


def test_each_concept_has_its_strongest_edges_and_the_most_similar_vectors() -> None:
    man, ride, third, alone, _ = drawn(concepts()).nodes
    assert [(tie.word, tie.weight) for tie in man.edges] == [("ride", 1.0)]
    assert [(tie.word, round(tie.weight, 6)) for tie in third.edges] == [("man", 0.8), ("ride", 0.2)]
    assert man.alike[0].word == HOSTILE and man.alike[0].weight == pytest.approx(1.0)
    assert (alone.edges, alone.alike, alone.count) == ([], [], 1234) and all(tie.word != "man" for tie in ride.alike)
    assert float(alone.size) > float(man.size) > float(third.size)


def test_words_do_not_lie_on_each_other_and_stand_in_the_picture() -> None:
    picture = drawn(concepts(120))
    size = np.array([float(node.size) for node in picture.nodes])
    boxes = np.stack([size * concepts_page._LETTER * [len(node.word) for node in picture.nodes], size], 1)
    places = np.array([(float(node.x), float(node.y)) for node in picture.nodes])
    assert (places - boxes / 2 >= 0).all() and (places + boxes / 2 <= (picture.width, picture.height)).all()
    apart = np.abs(places[:, None] - places) >= (boxes[:, None] + boxes) / 2
    assert (apart.any(2) | np.eye(120, dtype=bool)).all()
    assert picture == drawn(concepts(120))
    assert 0.8 < picture.width / picture.height < 3


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_concepts_are_drawn_too(n: int) -> None:
    some = concepts()
    few = Concepts(
        some.words[:n], some.kinds[:n], some.counts[:n], some.vectors[:n], np.eye(n, dtype=np.float32), "glove", "nltk"
    )
    assert [node.word for node in drawn(few).nodes] == list(some.words[:n])


def test_the_index_leads_to_the_page_which_escapes_what_it_quotes(tmp_path: Path) -> None:
    for data in ("toy", "other"):
        put_run(tmp_path, evaluation(f"{data}-1", data, "weak", 1, 20.0))
    results = collect(tmp_path, {"toy-1": "toy", "other-1": "other"}, {})
    for name in ("a", "b"):
        write_report(results, tmp_path / name, ReportSettings(title="t"), {}, {}, {"toy": concepts()})
    index, page = ((tmp_path / "a" / file).read_text("utf-8") for file in ("index.html", "concepts/toy.html"))
    assert (tmp_path / "b/concepts/toy.html").read_text("utf-8") == page
    assert re.findall(r'href="(concepts/[^"]*)"', index) == ["concepts/toy.html"]
    assert [path.name for path in (tmp_path / "a/concepts").iterdir()] == ["toy.html"]
    assert "<b>" not in page and unescape(page).count(HOSTILE) > 3 and page.count("<script") == 1
    title = unescape(re.findall(r"<title>(man .*?)</title>", page)[0])
    assert title.startswith("man (object), in 900 captions. Strongest edges: ride. Similar vectors: <b>o'x")
    assert "3 objects, 1 motion, 1 property" in page and "this project" in page and "the captions themselves" in page
    assert concepts().digest[:12] in page
