"""Two tiny trained runs, and a server of each in this process: on regions, whose words attend; on pictures, with vectors."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

import itrcore
from itrcore import layout
from itrcore.serving import gallery, server
from itrcore.serving.app import application
from itrcore.serving.gallery import EncodedGallery
from itrcore.serving.limits import Limits
from tests.support.browser import browser as browser
from tests.support.tiny_project import prepare, train_in
from tests.support.used_runs import CHANGES, SETS, VECTORS


@dataclass
class Served:
    address: str
    gallery: EncodedGallery
    log: list[str]


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    prepare(folder, CHANGES)
    for name in (SETS, VECTORS):
        train_in(folder, name)
    return folder


@contextlib.contextmanager
def serving(searched: EncodedGallery, limits: Limits = Limits(), name: str = "") -> Iterator[Served]:
    """A server in a thread of this process."""
    log = list[str]()
    bound = server.listen("127.0.0.1", 0)
    app, desk = application(searched, limits, [name] if name else [], log.append)
    running = uvicorn.Server(server.configuration(app))
    thread = threading.Thread(target=running.run, args=([bound],))
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield Served(server.address(bound), searched, log)
    finally:
        running.should_exit = True
        thread.join(20)
        desk.close()


@pytest.fixture(scope="package")
def galleries(project: Path) -> dict[str, EncodedGallery]:
    with contextlib.chdir(project):
        runs = {name: itrcore.load(layout.run("tiny", name), "cpu") for name in (SETS, VECTORS)}
        found = {name: gallery.of_data(run, "tiny") for name, run in runs.items()}
    return found


def of(name: str) -> Callable[[dict[str, EncodedGallery], Path], Iterator[Served]]:
    def served(galleries: dict[str, EncodedGallery], project: Path) -> Iterator[Served]:
        # Shards are named relative to the project.
        with contextlib.chdir(project), serving(galleries[name]) as running:
            yield running

    return served


sets = pytest.fixture(scope="module", name="sets")(of(SETS))
vectors = pytest.fixture(scope="module", name="vectors")(of(VECTORS))
