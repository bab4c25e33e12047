"""Published shards that are missing, damaged or hostile: each is refused by name."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itrcore.data.shards.regions import FeatureStore
from itrcore.data.sources import published_shards
from itrcore.errors import DataError
from itrcore.files import sha256
from tests.support.fetch_server import Served, Server
from tests.support.published import obtain, publish_description, read_json_bytes


def test_an_address_without_shards_says_what_was_missed(server: Server, tmp_path: Path) -> None:
    del server.files["f30k/shards/regions/shards.json"]
    expected = r"f30k/shards: no shards\.json \(regions: the server answers 404 Not Found; images: .*404"
    with pytest.raises(DataError, match=expected):
        obtain(server, tmp_path)


@pytest.mark.parametrize("name", ["shards.json", "dev.arrow", "../../captions.parquet"])
def test_files_that_are_not_what_they_should_be_are_named(server: Server, tmp_path: Path, name: str) -> None:
    path = os.path.normpath(f"f30k/shards/regions/{name}")
    server.files[path] = Served(server.files[path].data.replace(b"0", b"1"))
    with pytest.raises(DataError, match=rf"^{re.escape(server.url + path)}: .*source\.url") as error:
        obtain(server, tmp_path)
    assert str(tmp_path) not in str(error.value).partition(": ")[0]


@pytest.mark.parametrize("change", [{"file": "../../x.tar"}, {"sha256": "../" * 4 + "x" * 52}])
def test_names_that_lead_elsewhere_are_refused(server: Server, tmp_path: Path, change: dict[str, str]) -> None:
    """Both become paths, and shards.json comes from outside with a digest that anybody can make."""
    described = read_json_bytes(server, tmp_path)
    described["splits"]["train"]["shards"][0].update(change)
    publish_description(server, tmp_path, described)
    with pytest.raises(
        DataError, match=r"shards\.json: (it names other files than shards|sha256 of shard 0 of train is)"
    ):
        obtain(server, tmp_path / "x")


@pytest.mark.parametrize("change", [{"dtype": "O"}, {"width": -1}, {"features": None}, {"splits": {"train": None}}])
def test_a_description_that_cannot_be_is_refused(server: Server, tmp_path: Path, change: dict[str, object]) -> None:
    publish_description(server, tmp_path, {**read_json_bytes(server, tmp_path), **change})
    with pytest.raises(
        DataError, match=rf"^{server.url}f30k/shards/regions/shards\.json: .*Correct source\.url"
    ) as error:
        obtain(server, tmp_path / "x")
    assert str(tmp_path) not in str(error.value)
    with pytest.raises(DataError, match=rf"^{server.url}f30k/shards/regions/shards\.json: .*Correct source\.url"):
        next(published_shards.samples(f"{server.url}f30k", "train", tmp_path / "y"))


def test_an_index_that_points_out_of_its_shards_is_refused(server: Server, tmp_path: Path) -> None:
    described = read_json_bytes(server, tmp_path)
    index = pa.ipc.open_file(server.files["f30k/shards/regions/dev.arrow"].data).read_all()
    offsets = pa.array([-512, *index["offset"].to_pylist()[1:]], pa.int64())
    with pa.ipc.new_file(str(tmp_path / "dev.arrow"), index.schema) as writer:
        writer.write_table(index.set_column(3, "offset", offsets))
    server.files["f30k/shards/regions/dev.arrow"] = Served((tmp_path / "dev.arrow").read_bytes())
    described["splits"]["dev"]["index_sha256"] = sha256(tmp_path / "dev.arrow")
    publish_description(server, tmp_path, described)
    with pytest.raises(DataError, match=rf"^{server.url}f30k/shards/regions/dev\.arrow: offset is -512 in row 0;"):
        obtain(server, tmp_path / "x")


@pytest.mark.parametrize(
    "content", ['{"url": null, "cache": "c"}', '{"url": "u", "cache": 5}', '{"url": "u"}', "[]", "{"]
)
def test_a_damaged_record_of_the_address_is_named(server: Server, tmp_path: Path, content: str) -> None:
    folder = obtain(server, tmp_path)
    folder.with_name("regions.remote.json").write_text(content)
    with pytest.raises(DataError, match=r"regions\.remote\.json: cannot be read .* Run: dvc repro"):
        FeatureStore(folder, "train")


def test_captions_of_another_run_are_refused(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "captions.parquet"
    path.write_bytes(server.files["f30k/captions.parquet"].data)
    table = pq.read_table(path)
    last = max(
        id_
        for id_, split in zip(table["image_id"].to_pylist(), table["split"].to_pylist(), strict=True)
        if split == "dev"
    )
    pq.write_table(table.filter(pa.compute.not_equal(table["image_id"], last)), path)
    server.files["f30k/captions.parquet"] = Served(path.read_bytes())
    with pytest.raises(DataError, match=r"captions\.parquet: other dev images than in the shards of regions"):
        obtain(server, tmp_path / "x")
