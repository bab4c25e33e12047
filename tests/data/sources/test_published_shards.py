"""Published shards behind a real HTTP server: each downloaded once, verified, and training as from this disk."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from itrcore.data import captions
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import RegionInput
from itrcore.data.shards import image_writer, regions, writing
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.source import Source
from itrcore.data.sources import published_shards
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.errors import DataError
from itrcore.fetch import download as downloads
from itrcore.files import digest, read_json, sha256, write_json
from itrcore.settings.datasets import ShardsSource
from tests.conftest import ROOT
from tests.support.fetch_server import Served, Server, serving
from tests.support.helpers import regions_of
from tests.support.picture_data import SETTINGS, encoded, photo
from tests.support.scan_data import write_scan_folder, write_shards


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`captions.parquet` and `shards/` as a pipeline leaves them: 30 images in shards of 7."""
    path = tmp_path_factory.mktemp("published")
    scan_folder = write_scan_folder(path / "scan", {"train": 30, "dev": 3, "test": 3}, 2, (9, 64))
    write_shards(scan_folder, path, "float16", per_shard=7)
    return path


@pytest.fixture
def server(local: Path) -> Iterator[Server]:
    with serving() as running:
        running.files["f30k/captions.parquet"] = Served((local / "captions.parquet").read_bytes())
        for path in (local / "shards").iterdir():
            running.files[f"f30k/shards/regions/{path.name}"] = Served(path.read_bytes())
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "WAIT", 0.01)


def obtain(server: Server, path: Path, cache: str = "cache", url: str = "f30k") -> Path:
    """What stages `raw` and `shards` do; the region shards' folder."""
    raw = path / "raw"
    raw.mkdir(parents=True)
    settings = ShardsSource(kind="shards", url=server.url + url, cache=str(path / cache))
    source = published_shards.obtain(settings, raw)
    assert source.published
    write_json(raw / "source.json", asdict(source))
    published_shards.place(source.published, raw, path / "shards")
    return path / "shards" / "regions"


def shard_requests(server: Server) -> list[str]:
    return [name.rpartition("/")[2] for name, _ in server.asked if name.endswith(".tar")]


# From the address to the folder


def test_captions_and_indexes_are_fetched_and_no_shard(server: Server, local: Path, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    source = Source.read(tmp_path / "raw")
    assert (source.features, source.folder) == ("synthetic", None)
    assert source.published == {"url": f"{server.url}f30k", "cache": str(tmp_path / "cache")}
    assert (tmp_path / "raw" / "captions.parquet").read_bytes() == (local / "captions.parquet").read_bytes()
    names = {path.name for path in (local / "shards").iterdir() if path.suffix != ".tar"}
    assert {path.name for path in folder.iterdir()} == names
    assert shard_requests(server) == []
    assert source.content != Source("synthetic", {}).content


def test_the_address_may_end_in_a_slash(server: Server, tmp_path: Path) -> None:
    assert len(FeatureStore(obtain(server, tmp_path, url="f30k/"), "dev")) == 3


def test_what_is_published_is_taken_regions_pictures_or_both(server: Server, local: Path, tmp_path: Path) -> None:
    assert {path.name for path in obtain(server, tmp_path / "a").parent.iterdir()} == {"regions", "regions.remote.json"}
    regions = [name for name in server.files if "regions" in name]
    publish_pictures(server, local, tmp_path)
    both = obtain(server, tmp_path / "b").parent
    assert {path.name for path in both.iterdir()} > {"regions", "images"}
    assert read_json(both / "images.remote.json")["url"].endswith("f30k/shards/images")
    for name in regions:
        del server.files[name]
    assert {path.name for path in obtain(server, tmp_path / "c").parent.iterdir()} == {"images", "images.remote.json"}
    assert Source.read(tmp_path / "c" / "raw").features == "none"


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_just_now_is_not_taken_for_one_that_has_no_regions(
    server: Server, tmp_path: Path, status: int
) -> None:
    for name in [name for name in server.files if "regions" in name]:
        server.files[name.replace("regions", "images")] = server.files[name]
    server.files["f30k/shards/regions/shards.json"] = Served(b"", status=status)
    with pytest.raises(DataError, match=rf"shards/regions: the server answers {status}"):
        obtain(server, tmp_path)


# Reading


def batches(folder: Path, local: Path) -> TrainingBatches:
    images = captions.read(local / "captions.parquet", "train")
    vocabulary = Vocabulary.build([text for image in images for text in image.captions], 1, WordSplitter(None))
    return TrainingBatches(
        Split.open(RegionImages(FeatureStore(folder, "train"), RegionInput(0.3)), images, vocabulary), 8, 1, Views()
    )


def test_training_gets_the_batches_that_local_shards_give(server: Server, local: Path, tmp_path: Path) -> None:
    from_here = list(batches(local / "shards", local).epoch(0))
    from_there = list(batches(obtain(server, tmp_path), local).epoch(0))
    assert len(from_here) == len(from_there) == 7
    for a, b in zip(from_here, from_there, strict=True):
        assert torch.equal(regions_of(a.images).regions, regions_of(b.images).regions) and torch.equal(
            a.texts.ids, b.texts.ids
        )
        assert (a.image_ids, a.caption_ids) == (b.image_ids, b.caption_ids)


def test_a_shard_is_downloaded_once_and_only_for_the_split_that_is_opened(server: Server, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    FeatureStore(folder, "dev")
    assert shard_requests(server) == ["dev-00000.tar"]
    for _ in range(2):
        FeatureStore(folder, "train").verify()
    assert sorted(shard_requests(server)) == ["dev-00000.tar", *(f"train-0000{i}.tar" for i in range(5))]


def test_two_data_sets_share_the_shards_that_are_the_same(server: Server, tmp_path: Path) -> None:
    for name in list(server.files):
        server.files[name.replace("f30k", "again")] = server.files[name]
    FeatureStore(obtain(server, tmp_path / "a", "../cache"), "train")
    FeatureStore(obtain(server, tmp_path / "b", "../cache", url="again"), "train")
    assert len(shard_requests(server)) == 5


def test_without_a_server_all_goes_on_that_is_in_the_cache(local: Path, server: Server, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    FeatureStore(folder, "train")
    server.files.clear()
    assert len(list(batches(folder, local).epoch(0))) == 7
    with pytest.raises(DataError, match=r"regions/dev-00000\.tar: the server answers 404 Not Found; .*Run it again"):
        FeatureStore(folder, "dev")


def test_a_cut_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    served = server.files["f30k/shards/regions/train-00002.tar"]
    served.cut_at, served.faults = len(served.data) // 2, 1
    sent = server.sent
    FeatureStore(folder, "train").verify()
    whole = sum(file["bytes"] for file in read_json(folder / "shards.json")["splits"]["train"]["shards"])
    assert server.sent - sent == whole


_OPEN = """
import sys
from pathlib import Path
from itrcore.data.shards.regions import FeatureStore
FeatureStore(Path(sys.argv[1]), "train")
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _OPEN, str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL)


def test_a_process_killed_in_the_middle_loses_nothing(server: Server, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    server.files["f30k/shards/regions/train-00003.tar"].slow = 0.05
    sent = server.sent
    process = start(folder)
    while not list((tmp_path / "cache").glob("*.part")) or len(list((tmp_path / "cache").glob("*.tar"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    server.files["f30k/shards/regions/train-00003.tar"].slow = 0.0
    FeatureStore(folder, "train").verify()
    whole = sum(file["bytes"] for file in read_json(folder / "shards.json")["splits"]["train"]["shards"])
    assert shard_requests(server).count("train-00000.tar") == 1
    assert server.sent - sent < whole + 20_000  # a few blocks that were on the way


def test_processes_that_need_the_same_shards_download_each_once(server: Server, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    for name in server.files:
        if name.endswith(".tar"):
            server.files[name].slow = 0.02
    processes = [start(folder) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert sorted(shard_requests(server)) == [f"train-0000{i}.tar" for i in range(5)]


def test_streaming_asks_for_a_shard_when_its_turn_comes(server: Server, local: Path, tmp_path: Path) -> None:
    stream = published_shards.samples(f"{server.url}f30k/", "train", tmp_path)
    first = next(stream)
    assert shard_requests(server) == ["train-00000.tar"]
    keys = [first["key"], *(sample["key"] for sample in stream)]
    here = [sample for path in sorted((local / "shards").glob("train-*")) for sample in regions.samples(path)]
    assert keys == [sample["key"] for sample in here] and len(keys) == 30
    assert (first["regions"] == here[0]["regions"]).all()


# What is refused


def test_other_bytes_than_were_published_are_never_kept(server: Server, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    served = server.files["f30k/shards/regions/train-00001.tar"]
    right = served.data
    for wrong in (right[:-1] + b"x", right[:-512], right + b"x", b"<!DOCTYPE html><p>Log in"):
        served.data = wrong
        with pytest.raises(
            DataError, match=r"regions/train-00001\.tar: .* expected the shard as shards\.json describes"
        ):
            FeatureStore(folder, "train")
    served.data = right
    FeatureStore(folder, "train").verify()


def test_a_dead_server_is_one_clear_error(server: Server, tmp_path: Path) -> None:
    folder = obtain(server, tmp_path)
    write_json(
        folder.with_name("regions.remote.json"),
        {**read_json(folder.with_name("regions.remote.json")), "url": "http://127.0.0.1:9/x"},
    )
    with pytest.raises(DataError, match=r"^http://127\.0\.0\.1:9/x/train-00000\.tar: the connection failed"):
        FeatureStore(folder, "train")
    settings = ShardsSource(kind="shards", url="http://127.0.0.1:9/x")
    with pytest.raises(
        DataError, match=r"^http://127\.0\.0\.1:9/x/captions\.parquet: the connection failed.*source\.url"
    ):
        published_shards.obtain(settings, tmp_path)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_cache_is_found_and_mended(server: Server, tmp_path: Path, damage: str) -> None:
    folder = obtain(server, tmp_path)
    FeatureStore(folder, "train")
    kept = sorted((tmp_path / "cache").glob("*.tar"))[2]
    data = bytearray(kept.read_bytes())
    data[5000] ^= 1
    kept.write_bytes(data[:-512] if damage == "cut" else data)
    if damage == "flipped":
        with pytest.raises(DataError, match=rf"{kept.name}: this file is damaged: .*Remove it and run again") as error:
            FeatureStore(folder, "train").verify()
        assert "dvc" not in str(error.value)
        kept.unlink()
    FeatureStore(folder, "train").verify()
    assert len(shard_requests(server)) == 6


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
    pq.write_table(table.filter(pa.compute.not_equal(table["image_id"], 131)), path)
    server.files["f30k/captions.parquet"] = Served(path.read_bytes())
    with pytest.raises(DataError, match=r"captions\.parquet: other dev images than in the shards of regions"):
        obtain(server, tmp_path / "x")


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
