"""The API of `itr serve`: the same answers as the run's, limits, and nothing of the machine in what it says."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from PIL import Image

from benchmarks.serving import ask, load
from itrcore.index.build import build
from itrcore.index.opened import open_index
from itrcore.serving.gallery import EncodedGallery, IndexGallery, of_folder
from itrcore.serving.limits import BEST, JSON, SIDE, TEXT, Limits
from tests.serving.conftest import SETS, VECTORS, Served, serving
from tests.support.picture_data import encoded, photo, png_header


def post(served: Served, path: str, body: Any, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(
        f"{served.address}/api/{path}", data, headers={"content-type": "application/json", **headers}, timeout=30
    )


def refused(answer: requests.Response, status: int, said: str) -> None:
    """One form of errors, and no traceback or path in any."""
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert set(found) == {"status", "error"} and found["status"] == status
    assert said in found["error"] and " /" not in found["error"], found


def test_a_text_finds_what_the_run_finds(sets: Served, vectors: Served) -> None:
    for served in (sets, vectors):
        text = served.gallery.items[2].captions[1]
        answer = post(served, "search", {"text": f"  {text}\n", "k": 5}).json()
        expected = served.gallery.retriever.search(text, served.gallery.encoded, 5)
        assert [(each["item"], each["score"]) for each in answer["results"]] == expected
        for each in answer["results"]:
            item = served.gallery.items[each["item"]]
            assert (each["name"], tuple(each["captions"])) == (item.name, item.captions)
        assert len(post(served, "search", {"text": text}).json()["results"]) == 8  # the whole gallery


def test_a_picture_finds_its_captions_and_itself(sets: Served, vectors: Served) -> None:
    data = vectors.gallery.picture(4)
    answer = post(vectors, "search/picture?k=3", data, **{"content-type": "image/jpeg"}).json()
    run = vectors.gallery.retriever
    picture = run.encode_images([Image.open(io.BytesIO(data))])
    captions = [text for item in vectors.gallery.items for text in item.captions]
    scores = run.similarity(picture, captions)[0]
    best = np.argsort(-scores, kind="stable")[:3]
    assert [each["caption"] for each in answer["captions"]] == [captions[i] for i in best]
    assert [each["item"] for each in answer["captions"]] == [i // 5 for i in best]
    np.testing.assert_allclose([each["score"] for each in answer["captions"]], scores[best], atol=2e-6)
    assert answer["similar"][0]["item"] == 4 and answer["similar"][0]["score"] == pytest.approx(1, abs=1e-5)
    refused(
        post(sets, "search/picture", data, **{"content-type": "image/jpeg"}),
        404,
        "this run cannot search with a picture",
    )


def test_why_is_the_explanation_of_the_run_on_its_picture(sets: Served, vectors: Served) -> None:
    text = sets.gallery.items[1].captions[0]
    answer = post(sets, "why", {"text": text, "item": 1}).json()
    found = sets.gallery.why(text, 1)
    assert found is not None
    explanation, size = found
    assert (answer["width"], answer["height"]) == size == (32, 32)
    assert len(answer["regions"]) == len(explanation.boxes) == 6
    assert [word["text"] for word in answer["words"]] == [word.text for word in explanation.words]
    for word, told in zip(explanation.words, answer["words"], strict=True):
        assert [each["weight"] for each in told["regions"]] == [look.weight for look in word.looks][
            : len(told["regions"])
        ]
    refused(post(vectors, "why", {"text": text, "item": 1}), 404, "no word looks at regions")
    refused(post(sets, "why", {"text": text, "item": 8}), 404, "no picture 8; there are 8, from 0")


def test_pictures_are_made_here_and_named_by_number_alone(sets: Served, tmp_path: Path, vectors: Served) -> None:
    answer = requests.get(f"{sets.address}/api/pictures/3", timeout=30)
    assert answer.headers["content-type"] == "image/jpeg" and answer.headers["x-content-type-options"] == "nosniff"
    assert Image.open(io.BytesIO(answer.content)).size == (32, 32)
    for name in ("8", "-1", "x", "3.jpg", "..%2f..%2fparams.yaml", "%2e%2e/3", "3%00", "99999999999999999999"):
        found = requests.get(f"{sets.address}/api/pictures/{name}", timeout=30)
        assert found.status_code in (404, 422) and set(found.json()) == {"status", "error"}, name
    # A folder: a large picture is sent small, without what its file says of its place; one that is gone is not there.
    (tmp_path / "photos/below").mkdir(parents=True)
    large = photo(0).resize((1500, 900))
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    large.save(tmp_path / "photos/below/large.jpg", exif=exif)
    (tmp_path / "photos/small.png").write_bytes(encoded(photo(1), "PNG"))
    (tmp_path / "photos/notes.txt").write_text("none")
    searched = of_folder(vectors.gallery.retriever, tmp_path / "photos")
    assert [item.name for item in searched.items] == ["below/large.jpg", "small.png"]
    (tmp_path / "photos/small.png").unlink()
    with serving(searched) as folder:
        sent = requests.get(f"{folder.address}/api/pictures/0", timeout=30).content
        assert max(Image.open(io.BytesIO(sent)).size) == SIDE and b"secret" not in sent
        refused(requests.get(f"{folder.address}/api/pictures/1", timeout=30), 404, "the file of picture 1 is not there")
        for path in ("about", "openapi.json"):
            assert str(tmp_path) not in requests.get(f"{folder.address}/api/{path}", timeout=30).text


def test_an_index_answers_as_itr_search_does(vectors: Served, project: Path) -> None:
    """In the project's folder, where `vectors` is served."""
    run = vectors.gallery.retriever
    build(run, str(project / "runs/tiny" / VECTORS), project / "indexes/pictures", None, "tiny", "test", kind="flat")
    searched = IndexGallery(open_index(project / "indexes/pictures", run=run))
    text, data = vectors.gallery.items[2].captions[1], vectors.gallery.picture(4)
    with serving(searched) as served:
        answer = post(served, "search", {"text": text, "k": 5}).json()["results"]
        assert [(each["item"], each["score"]) for each in answer] == searched.search(text, 5)
        assert [each["item"] for each in answer] == [match.item for match in vectors.gallery.search(text, 5)]
        assert answer[0]["captions"] == list(vectors.gallery.items[answer[0]["item"]].captions)
        found = post(served, "search/picture?k=3", data, **{"content-type": "image/jpeg"}).json()
        assert found["captions"] == [] and found["similar"][0]["item"] in range(8)
        assert requests.get(f"{served.address}/api/pictures/4", timeout=30).content == vectors.gallery.thumbnail(4)
        refused(post(served, "why", {"text": text, "item": 1}), 404, "no word looks at regions")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"text": "x" * (TEXT + 1)}, 422, "text: String should have at most 1000 characters"),
        ({"text": " \n\t"}, 422, "text: no words in it"),
        ({"text": "a\x00b"}, 422, "text: control characters in it"),
        ({"text": "a\x1b[2J"}, 422, "text: control characters in it"),
        (b'{"text": "\\ud800"}', 422, "text: "),
        ({"text": 3}, 422, "text: Input should be a valid string"),
        ({}, 422, "text: Field required"),
        ({"text": "a", "k": 0}, 422, "k: Input should be greater than or equal to 1"),
        ({"text": "a", "k": BEST + 1}, 422, "k: Input should be less than or equal to 100"),
        ({"text": "a", "k": "5"}, 422, "k: Input should be a valid integer"),
        ({"text": "a", "folder": "x"}, 422, "folder: Extra inputs are not permitted"),
        (b'{"text": "a"', 400, "no valid JSON"),
        (b"[" * JSON, 400, "body"),
        (b'{"text": "a", "k": ' + b"9" * 5000 + b"}", 400, "body"),
        (b'"' + b"x" * JSON, 413, "too large: more than 16,000 bytes"),
    ],
)
def test_a_text_that_cannot_be_searched_is_one_line_that_says_why(
    sets: Served, body: Any, status: int, said: str
) -> None:
    refused(post(sets, "search", body), status, said)


def frames() -> bytes:
    out = io.BytesIO()
    first, *more = (Image.new("RGB", (9, 9), colour) for colour in ("red", "green", "blue"))
    first.save(out, "GIF", save_all=True, append_images=more)
    return out.getvalue()


def test_pictures_that_are_none_or_too_much_are_refused(vectors: Served) -> None:
    good = encoded(photo(0))
    for body, kind, status, said in (
        (png_header(6_000, 6_000), "image/png", 422, "the picture: too large: 6,000 × 6,000 pixels"),
        (png_header(50_000, 50_000), "image/png", 422, "the picture: too large: "),
        (good[:-200], "image/jpeg", 422, "the picture: damaged or cut short"),
        (b"", "image/jpeg", 422, "the picture: an empty file"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "image/png",
            422,
            "the picture: no picture of a known",
        ),
        (b"<html><script>alert(1)</script>", "image/jpeg", 422, "the picture: no picture of a known"),
        (b"<svg/>", "image/svg+xml", 415, "expected a picture as the body"),
        (good, "application/x-www-form-urlencoded", 415, "expected a picture as the body"),
        (frames(), "image/gif", 422, "the picture: an animation"),
        (b"\xff\xd8\xff" + bytes(Limits.upload), "image/jpeg", 413, "too large: more than 8,000,000 bytes"),
    ):
        refused(post(vectors, "search/picture", body, **{"content-type": kind}), status, said)
    for k in ("0", "101", "x"):
        refused(post(vectors, f"search/picture?k={k}", good, **{"content-type": "image/jpeg"}), 422, "k: ")
    # A body that does not say how long it is.
    chunks = (b"x" * 100_000 for _ in range(100))
    answer = requests.post(
        f"{vectors.address}/api/search/picture", chunks, headers={"content-type": "image/png"}, timeout=30
    )
    refused(answer, 413, "too large")
    assert post(vectors, "search/picture", good, **{"content-type": "image/jpeg"}).status_code == 200


def test_pages_of_other_sites_and_names_that_are_not_ours_are_refused(vectors: Served) -> None:
    port, query = urlsplit(vectors.address).port, {"text": "a circle"}
    for name in (f"localhost:{port}", "127.0.0.1", "[::1]:8000", "192.168.3.4"):
        assert post(vectors, "search", query, host=name).status_code == 200
    for name in ("rebound.example", "127.0.0.1.example", "", "[x"):
        refused(post(vectors, "search", query, host=name), 421, "not called by that name")
    for other in ({"origin": "http://rebound.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        refused(post(vectors, "search", query, **other), 403, "pages of other sites may not ask")
    assert post(vectors, "search", query, origin=vectors.address).status_code == 200
    refused(requests.post(f"{vectors.address}/api/search", b"{}", timeout=30), 415, "expected JSON as the body")
    refused(requests.get(f"{vectors.address}/api/search", timeout=30), 405, "Method Not Allowed")
    refused(requests.get(f"{vectors.address}/none", timeout=30), 404, "Not Found")
    policy = requests.get(vectors.address, timeout=30).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
    with serving(vectors.gallery, name="search.example") as named:
        assert post(named, "search", query, host="Search.example:80").status_code == 200


def test_the_schema_says_what_goes_in_and_out_and_the_log_nothing_that_was_searched(sets: Served) -> None:
    schema = requests.get(f"{sets.address}/api/openapi.json", timeout=30).json()
    assert set(schema["paths"]) == {
        f"/api/{path}" for path in ("about", "search", "search/picture", "why", "pictures/{item}")
    }
    assert schema["components"]["schemas"]["TextQuery"]["properties"]["text"]["maxLength"] == TEXT
    answers = schema["paths"]["/api/search"]["post"]["responses"]
    assert {"200", "413", "422", "429", "503"} <= set(answers)
    before = len(sets.log)
    post(sets, "search", {"text": "a secret"})
    lines, deadline = list[Any](), time.monotonic() + 20
    while not lines and time.monotonic() < deadline:  # it is written when the answer is out
        lines = [line for line in map(json.loads, sets.log[before:]) if line["method"] == "POST"]
    [line] = lines
    assert (line["client"], line["method"], line["path"], line["status"]) == ("127.0.0.1", "POST", "/api/search", 200)
    assert "secret" not in "".join(sets.log) and line["bytes"] > 0 and line["milliseconds"] > 0


def test_200_clients_at_once_all_get_the_right_answer_or_are_told_to_wait(vectors: Served) -> None:
    texts = [item.captions[0] for item in vectors.gallery.items]
    expected = {text: [match.item for match in vectors.gallery.search(text, 5)] for text in texts}
    outcome = asyncio.run(load(vectors.address, expected, clients=200, requests=2, stubborn=False))
    assert (outcome.lost, outcome.wrong) == (0, 0)
    assert (
        sum(outcome.statuses.values()) == 400
        and set(outcome.statuses) <= {200, 429, 503}
        and outcome.statuses[200] >= 66
    )
    with serving(vectors.gallery, Limits(queue=200, seconds=60)) as roomy:
        outcome = asyncio.run(load(roomy.address, expected, clients=200, requests=1, stubborn=False))
    assert (outcome.lost, outcome.wrong, dict(outcome.statuses)) == (0, 0, {200: 200})
    assert post(vectors, "search", {"text": texts[0]}).status_code == 200


@pytest.fixture(scope="module")
def slow(galleries: dict[str, EncodedGallery]) -> EncodedGallery:
    """The gallery of regions many times over: a search compares so many pairs that it takes its time."""
    small, times = galleries[SETS], 1000
    rows = np.tile(np.arange(len(small.items)), times)
    return EncodedGallery("many", small.retriever, list(small.items) * times, small.encoded[rows], small.picture)


def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_is_done(slow: EncodedGallery) -> None:
    with serving(slow, Limits(workers=1, queue=0, seconds=0.1)) as served:
        answer = post(served, "search", {"text": "a circle and a square"})
        refused(answer, 503, "it took longer than 0.1 seconds")
        assert answer.headers["retry-after"] == "1"
        refused(requests.get(f"{served.address}/api/about", timeout=30), 503, "the server is busy")
        deadline = time.monotonic() + 30
        while requests.get(f"{served.address}/api/about", timeout=30).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_client_has_its_share_and_the_others_go_on(slow: EncodedGallery) -> None:
    async def asked(address: str) -> list[int]:
        where = urlsplit(address)

        async def one(own: str) -> int:
            reader, writer = await asyncio.open_connection(where.hostname, where.port, local_addr=(own, 0))
            body = json.dumps({"text": "a circle"}).encode()
            status, _, _ = await ask(reader, writer, "POST", "/api/search", body, "application/json")
            writer.close()
            return status

        return await asyncio.gather(*(one("127.0.0.1") for _ in range(5)), one("127.0.0.2"))

    with serving(slow, Limits(workers=2, queue=4, per_client=3, seconds=60)) as served:
        *mine, other = asyncio.run(asked(served.address))
    assert sorted(mine) == [200, 200, 200, 429, 429] and other == 200


def test_connections_that_send_nothing_whole_are_closed(vectors: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itrcore.serving.server.HEADERS", 0.3)
    where = urlsplit(vectors.address)
    request = b"GET /api/about HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    for first, more in ((b"", b""), (b"", request[:-2]), (request, request[:9])):
        with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
            if first:
                connection.sendall(first)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.sendall(more)
            began = time.monotonic()
            while connection.recv(65536):
                pass
            assert time.monotonic() - began < 5
    # A body that never comes whole is given up after the time of a request.
    with serving(vectors.gallery, Limits(seconds=0.3)) as served:
        where = urlsplit(served.address)
        with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
            head = "POST /api/search HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            connection.sendall(head.encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 503")
