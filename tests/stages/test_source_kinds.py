"""The sources that are not SCAN's files alone, from params.yaml to what training reads: the real stages, the real check."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from itrcore import layout
from itrcore.cli.app import app
from itrcore.data import captions, karpathy, scan_writing
from itrcore.data.feeding.prepared import open_split
from itrcore.data.image_inputs import RegionInput
from itrcore.data.karpathy import KarpathyImage
from itrcore.data.shards.images import ImageStore
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.fetch.parts import fetch
from itrcore.settings.datasets import SPLITS
from itrcore.settings.downloads import DownloadSettings
from tests.support.data_stages import STAGES, write_params
from tests.support.helpers import regions_of
from tests.support.picture_data import encoded, photo
from tests.support.scan_data import write_scan_folder

KARPATHY_SPLITS = {"train": "train", "dev": "val", "test": "test"}
REGIONS = {"dtype": "float16", "samples_per_shard": 3}
IMAGES = {"samples_per_shard": 3, "max_megapixels": 1}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_stages(**changes: Any) -> None:
    params = write_params(**changes)
    for stage in STAGES.values():
        stage(params, "toy")


def write_pictures(folder: Path, ids: list[int]) -> dict[int, bytes]:
    folder.mkdir(parents=True)
    pictures = {image_id: encoded(photo(image_id)) for image_id in ids}
    for image_id, data in pictures.items():
        (folder / f"{image_id}.jpg").write_bytes(data)
    return pictures


def check() -> str:
    done = CliRunner().invoke(app, ["data", "check", "toy"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_karpathys_json_and_pictures_become_image_shards() -> None:
    scan_folder = write_scan_folder(Path("unused"))
    described = [
        KarpathyImage(i, f"{i}.jpg", KARPATHY_SPLITS[split], [10 * i, 10 * i + 1], texts)
        for split in SPLITS
        for i, texts in zip(scan_folder.ids[split], scan_folder.captions[split], strict=True)
    ]
    karpathy.write(Path("dataset_toy.json"), "toy", described)
    pictures = write_pictures(Path("pictures"), [image.imgid for image in described])
    source = {"kind": "karpathy", "file": "dataset_toy.json", "pictures": "pictures", "captions_per_image": 1}
    run_stages(source=source, shards={"images": IMAGES})
    for split in SPLITS:
        store = ImageStore(layout.image_shards("toy"), split)
        assert store.image_ids == scan_folder.ids[split]
        assert [store.bytes(row) for row in range(len(store))] == [pictures[i] for i in scan_folder.ids[split]]
        assert [i.captions for i in captions.read(layout.captions("toy"), split)] == [
            c[:1] for c in scan_folder.captions[split]
        ]
    assert not layout.region_shards("toy").exists()
    assert "JPEG" in check()


def test_features_and_pictures_in_vse_inftys_layout_become_both_kinds_of_shards() -> None:
    scan_folder = write_scan_folder(Path("data_in/toy/precomp"))
    ids = [i for split in SPLITS for i in scan_folder.ids[split]]
    scan_writing.write_id_mapping(Path("data_in/toy"), {i: f"{i}.jpg" for i in ids})
    write_pictures(Path("data_in/toy/images"), ids)
    source = {
        "kind": "scan", "folder": "data_in", "features": "synthetic",
        "splits": {"train": "train", "dev": "dev", "test": "test"},
    }  # fmt: skip
    run_stages(source=source, shards={"regions": REGIONS, "images": IMAGES})
    assert len(ImageStore(layout.image_shards("toy"), "train")) == 7
    vocabulary = Vocabulary.load(layout.vocabulary("toy") / layout.WORDS, layout.NLTK)
    features = regions_of(open_split("toy", "test", vocabulary, RegionInput()).images.batch([2]))
    np.testing.assert_allclose(features.regions[0], scan_folder.features["test"][2], rtol=2**-10)


def test_a_picture_that_is_cut_short_leaves_no_shards_of_either_kind() -> None:
    scan_folder = write_scan_folder(Path("scan"))
    ids = [i for split in SPLITS for i in scan_folder.ids[split]]
    scan_writing.write_id_mapping(Path("scan"), {i: f"{i}.jpg" for i in ids})
    write_pictures(Path("scan/images"), ids)
    path = Path("scan/images/108.jpg")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"108\.jpg"):
        run_stages(shards={"regions": REGIONS, "images": IMAGES})
    assert not layout.shards("toy").exists()
    path.write_bytes(encoded(photo(108)))
    run_stages(shards={"regions": REGIONS, "images": IMAGES})
    assert layout.region_shards("toy").is_dir() and layout.image_shards("toy").is_dir()


def test_links_that_lead_nowhere_or_in_circles_do_no_harm_where_no_caption_names_them() -> None:
    write_scan_folder(Path("scan"))
    Path("scan/images").mkdir()
    Path("scan/images/gone.jpg").symlink_to("nowhere.jpg")
    Path("scan/images/up").symlink_to("..")
    run_stages()


def test_a_download_that_lost_a_file_is_named_with_what_to_do() -> None:
    """What is optional, such as counts and Karpathy's JSON, would silently be left out."""
    scan_folder = write_scan_folder(Path("mirror/toy_precomp"))
    np.save(scan_folder.path / "train_counts.npy", np.array([3, 1, 2, 3, 3, 3, 1]))
    features = {"sources": ["mirror"], "only": ["*toy_precomp/*"], "into": "precomp"}
    download = {"toy": {"features": features}}
    fetch("toy", {"features": DownloadSettings.model_validate(features)}, layout.DOWNLOADS)
    source = {
        "kind": "scan", "folder": "downloads/toy", "features": "synthetic",
        "splits": {"train": "train", "dev": "dev", "test": "test"},
    }  # fmt: skip
    run_stages(source=source, reads="downloads/toy.json", downloads=download)
    Path("downloads/toy/precomp/train_counts.npy").unlink()
    with pytest.raises(DataError, match=r"train_counts\.npy: .* fetch@toy"):
        run_stages(source=source, reads="downloads/toy.json", downloads=download)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A plain file server over the folder `bucket`."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "bucket"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_one_pipeline_publishes_another_reads(mirror: str) -> None:
    scan_folder = write_scan_folder(Path("scan"))
    run_stages()
    shutil.copytree("data/toy", "bucket/toy")
    vocabulary = (layout.vocabulary("toy") / layout.WORDS).read_bytes()
    shutil.rmtree("data")
    shutil.rmtree("scan")
    run_stages(source={"kind": "shards", "url": f"{mirror}/toy"}, shards={})
    assert (layout.vocabulary("toy") / layout.WORDS).read_bytes() == vocabulary
    assert not Path("cache").exists()
    split = open_split(
        "toy",
        "train",
        Vocabulary.load(layout.vocabulary("toy") / layout.WORDS, layout.NLTK),
        RegionInput(),
    )
    np.testing.assert_allclose(
        regions_of(split.images.batch([4])).regions[0], scan_folder.features["train"][4], rtol=2**-10
    )
    assert len(list(Path("cache/shards").glob("*.tar"))) == 3
    assert "bottom-up attention" in check()  # its features are looked at too
