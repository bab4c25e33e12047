"""Published shards on a server, as the stages take them, and as somebody could change them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from itrcore.data import captions
from itrcore.data.shards import image_writer, writing
from itrcore.data.sources import published_shards
from itrcore.files import digest, read_json, write_json
from itrcore.settings.datasets import ShardsSource
from tests.support.fetch_server import Served, Server
from tests.support.picture_data import SETTINGS, encoded, photo


def obtain(server: Server, path: Path, cache: str = "cache", url: str = "f30k") -> Path:
    """What stages `raw` and `shards` do; the region shards' folder."""
    raw = path / "raw"
    raw.mkdir(parents=True)
    settings = ShardsSource(kind="shards", url=server.url + url, cache=str(path / cache))
    source = published_shards.obtain(settings, raw)
    assert source.published
    source.write(raw)
    published_shards.place(source.published, raw, path / "shards")
    return path / "shards" / "regions"


def shard_requests(server: Server) -> list[str]:
    return [name.rpartition("/")[2] for name, _ in server.asked if name.endswith(".tar")]


def read_json_bytes(server: Server, path: Path) -> dict:
    (path / "shards.json").write_bytes(server.files["f30k/shards/regions/shards.json"].data)
    return read_json(path / "shards.json")


def publish_description(server: Server, path: Path, described: dict) -> None:
    described.pop("digest")
    write_json(path / "shards.json", {**described, "digest": digest(described)})
    server.files["f30k/shards/regions/shards.json"] = Served((path / "shards.json").read_bytes())


def publish_pictures(server: Server, local: Path, path: Path) -> None:
    table = captions.read_table(local / "captions.parquet")
    names = [f"{image_id}.jpg" for image_id in table["image_id"].to_pylist()]
    captions.write(table.set_column(1, "file_name", pa.array(names)), path / "named.parquet")
    (path / "pictures").mkdir()
    for name in names:
        (path / "pictures" / name).write_bytes(encoded(photo()))
    finished = image_writer.write(path / "named.parquet", path / "pictures", SETTINGS, path / "work", processes=1)
    writing.move(finished, path / "images")
    for file in (path / "images").iterdir():
        server.files[f"f30k/shards/images/{file.name}"] = Served(file.read_bytes())
