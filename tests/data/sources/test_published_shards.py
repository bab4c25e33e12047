"""Published shards behind a real HTTP server: each downloaded once, verified, and training as from this disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from itrcore.data import captions
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import RegionInput
from itrcore.data.shards import regions
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.source import Source
from itrcore.data.sources import published_shards
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.errors import DataError
from itrcore.files import read_json, write_json
from itrcore.settings.datasets import ShardsSource
from tests.conftest import ROOT
from tests.support.fetch_server import Served, Server
from tests.support.helpers import regions_of
from tests.support.published import obtain, publish_pictures, shard_requests

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
