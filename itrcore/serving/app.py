"""The application: the page, and the API behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Annotated, Any, cast

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from itrcore import __version__
from itrcore.data import pictures
from itrcore.errors import DataError, shown
from itrcore.report import explanations as drawing
from itrcore.report.results import NOT_REAL
from itrcore.retriever.retriever import Match
from itrcore.serving.desk import Desk, Refused
from itrcore.serving.gallery import Gallery
from itrcore.serving.gate import Gate, problem
from itrcore.serving.limits import BEST, TEXT, Limits
from itrcore.serving.schema import (
    About,
    Best,
    ForPicture,
    Found,
    FoundCaption,
    Limited,
    Pictures,
    Problem,
    Region,
    TextQuery,
    Why,
    WhyQuery,
    Word,
)

_KINDS = ("image/jpeg", "image/png", "image/webp", "image/gif")
_ASSETS = {
    "style.css": ("itrcore.report", "templates", "text/css"),
    "serving.css": ("itrcore.serving", "page", "text/css"),
    "icon.svg": ("itrcore.serving", "page", "image/svg+xml"),
    "serving.js": ("itrcore.serving", "page", "text/javascript"),
}
_WRONG: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": why}
    for status, why in {
        400: "no valid JSON",
        404: "no such picture, or the run cannot do this",
        413: "too large",
        415: "a body of another type",
        422: "a value that is not allowed",
        429: "too many requests of yours at once",
        503: "busy, or it took too long",
    }.items()
}


def application(
    gallery: Gallery,
    limits: Limits = Limits(),
    hosts: Collection[str] = (),
    log: Callable[[str], None] | None = None,
) -> tuple[ASGIApp, Desk]:
    """The whole of it behind its gate, and the desk that counts who is in.

    hosts, log: as of `Gate`
    """
    desk = Desk(limits)
    about = _about(gallery, limits)
    # The pages that FastAPI has for an API load scripts from elsewhere.
    app = FastAPI(
        title="itr serve", version=__version__, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
        description="Searches pictures by texts, and captions by pictures, with a trained run. Errors are `Problem`s.",
    )  # fmt: skip
    _pages(app, about, _examples(gallery))
    _errors(app)

    @app.get("/api/about", response_model=About)
    async def _about_it() -> About:
        """What is searched, and the limits."""
        return about

    @app.post("/api/search", response_model=Pictures, responses=_WRONG)
    async def _search(query: TextQuery) -> Pictures:
        """The best pictures for a text."""
        began = time.perf_counter()
        found = await desk.work(lambda: gallery.search(query.text, query.k))
        return Pictures(results=_found(gallery, found), milliseconds=_since(began))

    picture = {"requestBody": {"required": True, "content": {kind: {"schema": _BINARY} for kind in _KINDS}}}

    @app.post("/api/search/picture", response_model=ForPicture, responses=_WRONG, openapi_extra=picture)
    async def _search_picture(request: Request, k: Annotated[Best, Query(strict=False)] = 12) -> ForPicture:
        """The best captions for a picture, and pictures like it. The body is the picture's file: JPEG, PNG, WEBP or GIF."""
        began = time.perf_counter()
        if not about.takes_pictures:
            raise Refused(404, _NO_PICTURES)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _KINDS:
            raise Refused(415, f"expected a picture as the body, of type {', '.join(_KINDS)}")
        data = await request.body()
        captions, similar = await desk.work(lambda: gallery.search_picture(_decoded(data, limits), k))
        return ForPicture(
            captions=[FoundCaption(item=item, caption=shown(text), score=score) for item, text, score in captions],
            similar=_found(gallery, similar),
            milliseconds=_since(began),
        )

    @app.post("/api/why", response_model=Why, responses=_WRONG)
    async def _why(query: WhyQuery) -> Why:
        """Which regions of a picture the words of a text look at, of methods whose words attend to regions."""
        if not gallery.explains:
            raise Refused(404, f"in {about.family} no word looks at regions, or nobody knows where these are")
        _check(gallery, query.item)
        return await desk.work(lambda: _explained(gallery, query))

    @app.get(
        "/api/pictures/{item}", responses={200: {"content": {"image/jpeg": {}}}, **_WRONG}, response_class=Response
    )
    async def _picture(item: Annotated[int, Path(ge=0, lt=2**31)]) -> Response:
        """A picture of the gallery, at most 512 pixels wide and high."""
        _check(gallery, item)
        try:
            data = await desk.work(lambda: gallery.thumbnail(item))
        except DataError:  # it says where the file should be
            raise Refused(404, f"the file of picture {item} is not there") from None
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    return Gate(app, desk, limits, hosts, log), desk


_BINARY = {"type": "string", "format": "binary"}
_NO_PICTURES = (
    "this run cannot search with a picture: it reads features that others computed, or nothing here answers one"
)


def _about(gallery: Gallery, limits: Limits) -> About:
    run = gallery.retriever.record
    return About(
        run=run.name,
        family=run.family,
        gallery=gallery.title,
        features=run.features,
        pictures=len(gallery),
        captions=gallery.captions,
        takes_pictures=gallery.finds_captions or gallery.finds_pictures,
        explains=gallery.explains,
        limits=Limited(text=TEXT, k=BEST, upload=limits.upload, megapixels=limits.megapixels, seconds=limits.seconds),
    )


def _examples(gallery: Gallery) -> list[str]:
    """Short captions of a few pictures."""
    some = (gallery.item(number) for number in range(0, len(gallery), max(1, len(gallery) // 3)))
    return [" ".join(min(item.captions, key=len)[:TEXT].split()) for item in some if item.captions][:3]


def _pages(app: FastAPI, about: About, examples: list[str]) -> None:
    """The page and what it loads, read once."""
    environment = Environment(
        loader=PackageLoader("itrcore.serving", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
    )  # fmt: skip
    banner = {kind: NOT_REAL[kind] for kind in about.features.split(", ") if kind in NOT_REAL}
    page = environment.get_template("index.html").render(about=about, banner=banner, examples=examples)

    @app.get("/", include_in_schema=False)
    async def _page() -> Response:
        return HTMLResponse(page)

    def asset(name: str, package: str, folder: str, kind: str) -> None:
        content = (files(package) / folder / name).read_bytes()

        @app.get(f"/{name}", include_in_schema=False)
        async def _asset() -> Response:
            return Response(content, media_type=kind)

    for name, (package, folder, kind) in _ASSETS.items():
        asset(name, package, folder, kind)


def _errors(app: FastAPI) -> None:
    """Every error in one form, without what it was about: it may quote a file of this machine."""

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Exception) -> Response:
        return problem(cast(Refused, error))

    @app.exception_handler(HTTPException)
    async def _of_http(_: Request, error: Exception) -> Response:
        of_http = cast(HTTPException, error)
        answer = problem(Refused(of_http.status_code, str(of_http.detail)))
        answer.headers.update(of_http.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: Exception) -> Response:
        first = cast(RequestValidationError, error).errors()[0]
        if first["type"] == "json_invalid":
            return problem(Refused(400, "the body is no valid JSON"))
        if first["loc"] == ("body",) and not request.headers.get("content-type", "").startswith("application/json"):
            return problem(Refused(415, "expected JSON as the body, with content-type: application/json"))
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return problem(
            Refused(422, shown(f"{where or 'the body'}: {first['msg'].removeprefix('Value error, ')}"[:300]))
        )

    @app.exception_handler(Exception)
    async def _fault(_: Request, error: Exception) -> Response:  # the terminal of the server has it whole
        return problem(Refused(500, "something went wrong on the server; its terminal says what"))


def _decoded(data: bytes, limits: Limits) -> Image.Image:
    """`Refused` where the bytes are no whole picture within the limits; the size is judged before anything is decoded."""
    name = FilePath("the picture")
    try:
        pictures.examine(data, name, limits.megapixels)
        return pictures.decode(data, name)
    except DataError as error:
        raise Refused(422, str(error).partition("; expected")[0]) from None


def _check(gallery: Gallery, item: int) -> None:
    if item >= len(gallery):
        raise Refused(404, f"no picture {item}; there are {len(gallery):,}, from 0")


def _found(gallery: Gallery, matches: list[Match]) -> list[Found]:
    found = []
    for number, score in matches:
        item = gallery.item(number)
        found.append(
            Found(
                item=number,
                score=score,
                name=None if item.name is None else shown(item.name),
                captions=[shown(text) for text in item.captions],
                picture=f"/api/pictures/{number}",
            )
        )
    return found


def _explained(gallery: Gallery, query: WhyQuery) -> Why:
    found = gallery.why(query.text, query.item)
    if found is None:
        raise Refused(422, "no words in the text that the run knows")
    explanation, size = found
    pictured = {id(word) for word in drawing.shown(explanation.words)}
    words = [
        Word(
            text=shown(word.text), named=word.named, pictured=id(word) in pictured, attached=drawing.attached(word.text),
            tint=drawing.tint(word, explanation), strength=drawing.strength(word, explanation),
            regions=_regions(drawing.marks(word, explanation, size)),
        )
        for word in explanation.words
    ]  # fmt: skip
    return Why(
        picture=f"/api/pictures/{query.item}",
        width=size[0],
        height=size[1],
        regions=_regions(drawing.all_boxes(explanation, size)),
        words=words,
        note=drawing.left_out(explanation),
    )


def _regions(marks: list[drawing.Mark]) -> list[Region]:
    return [Region(**vars(mark)) for mark in marks]


def _since(began: float) -> float:
    return round(1000 * (time.perf_counter() - began), 1)
