"""`itr serve`: a page and an HTTP API that search pictures with a trained run."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from itrcore.answer import Answer, tell
from itrcore.errors import ConfigError
from itrcore.terminal import say, warn

_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    run: str | None = typer.Argument(
        None, help="a run in params.yaml, the folder of a run, or mlflow:…; with --index only if its run has moved"
    ),
    pictures: Path | None = typer.Option(None, help="search the pictures in this folder and below it"),
    data: str | None = typer.Option(None, help="search the test split of this data set; else of the run's own"),
    index: Path | None = typer.Option(None, help="search the index that itr index wrote into this folder"),
    host: str = typer.Option("127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in"),
    port: int = typer.Option(8000, min=0, max=65535, help="0 takes a free one"),
    name: list[str] = typer.Option([], help="a name that the server may be called by, besides addresses and localhost"),
    device: str = typer.Option("auto", help="cpu, cuda, cuda:1, mps; auto: a GPU where there is one"),
    workers: int | None = typer.Option(
        None, min=1, max=64, help="requests computed at once; else the cores, at most 4"
    ),
    queue: int = typer.Option(64, min=0, max=10_000, help="requests that wait; further ones get 503"),
    per_client: int = typer.Option(16, min=1, max=10_000, help="requests of one address at once; further ones get 429"),
    seconds: float = typer.Option(10.0, min=0.1, max=3600, help="that a request may take"),
    log: bool = typer.Option(False, "--log", help="print a line of JSON for each request; never what was searched"),
) -> None:
    """Serve a search page and its API until Ctrl-C. docs/serving.md describes both, and the limits."""
    if sum(place is not None for place in (pictures, data, index)) > 1:
        raise ConfigError("--pictures, --data and --index all say what to search; expected one of them")
    import torch

    import itrcore
    from itrcore.cli.index import located
    from itrcore.cores import cores
    from itrcore.index.opened import open_index
    from itrcore.progress import count_bars
    from itrcore.serving import gallery, server
    from itrcore.serving.app import application
    from itrcore.serving.limits import Limits

    bound = server.listen(host, port)  # first: what follows may take minutes
    if host not in _LOCAL:
        warn(f"--host {host}: whoever reaches this machine can search these pictures; nobody is asked who they are")
    limits = Limits(workers or min(4, cores()), queue, per_client, seconds)
    retriever = None if run is None else itrcore.load(located(run), device)
    with count_bars() as bars:
        searched: gallery.Gallery
        if index is not None:
            searched = gallery.IndexGallery(open_index(index, device, retriever))
        elif retriever is None:
            raise ConfigError("no run; expected one, or --index and the folder of an index")
        elif pictures is not None:
            searched = gallery.of_folder(retriever, pictures, bars.show)
        else:
            searched = gallery.of_data(retriever, data or retriever.record.data, bars.show)
    torch.set_num_threads(max(1, cores() // limits.workers))  # requests share the cores among them
    app, desk = application(searched, limits, name, say if log else None)
    searched.search("a picture", 1)  # the first search loads what is loaded late
    bound.listen()  # whoever reads the next line may ask at once
    served = searched.retriever.record.name
    line = f"{server.address(bound)}: {served} searches {len(searched):,} pictures"
    value = {"address": server.address(bound), "run": served, "pictures": len(searched), "pid": os.getpid()}
    tell(Answer(value, line, "Ctrl-C stops it"))
    server.serve(app, desk, bound)
