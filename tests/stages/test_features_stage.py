"""Stages `extractor` and `features`: from pictures in shards to region shards that a run reads, and after a kill."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from itrcore import layout
from itrcore.data import scan_writing
from itrcore.data.shards import image_writer, writing
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import ConfigError, DataError
from itrcore.extraction import shards
from itrcore.extraction.load import load, load_described
from itrcore.files import read_json
from itrcore.runs import inputs
from itrcore.settings.datasets import SPLITS, ImageShardSettings
from itrcore.settings.load import load as load_params
from itrcore.settings.params import Params
from stages import extractor, features
from tests.support import extractors
from tests.support.data_stages import STAGES, write_params
from tests.support.killing import Killed
from tests.support.picture_data import encoded, photo
from tests.support.project import ROOT

IMAGES = {"samples_per_shard": 4, "max_megapixels": 1}
IDS = {"train": range(7), "dev": range(7, 9), "test": range(9, 11)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of pictures alone whose features a small ResNet has computed, in as many processes as there are cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("done"))
        params = _prepare()
        extractor.main(params, "toy")
        features.main(params, "toy")
    return folder


def _prepare() -> Params:
    extractors.write(Path("resnet"), "resnet")
    Path("photos").mkdir()
    Path("scan").mkdir()
    for split, ids in IDS.items():
        for i in ids:
            Path(f"photos/{i}.jpg").write_bytes(encoded(photo(i, (64 + 8 * (i % 3), 48))))
        scan_writing.write_captions(Path("scan"), split, ids, [[f"a picture {i}"] for i in ids], "caption")
    scan_writing.write_id_mapping(Path("scan"), {i: f"{i}.jpg" for ids in IDS.values() for i in ids})
    chosen = {"kind": "resnet", "weights": "resnet", "framing": "published"}
    wanted = {"extractor": chosen, "dtype": "float16", "samples_per_shard": 3}
    source = {"kind": "scan", "folder": "scan", "features": "none", "splits": {split: split for split in SPLITS}}
    params = write_params(
        source=source | {"pictures": "photos"}, shards={"images": IMAGES}, features=wanted, vocabulary={"min_count": 1}
    )
    for stage in ("raw", "splits"):
        STAGES[stage](params, "toy")
    wanted_images, work = ImageShardSettings(samples_per_shard=4, max_megapixels=1.0), Path("work/images")
    finished = image_writer.write(layout.captions("toy"), Path("photos"), wanted_images, work, processes=1)
    writing.move(finished, layout.image_shards("toy"))
    return params


@pytest.fixture(autouse=True)
def params(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Of a copy of it, the current folder."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return load_params()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pictures_become_region_shards_that_runs_read(params: Params) -> None:
    settings = params.dataset("toy").features
    assert settings is not None
    model = load(settings.extractor)
    for split, ids in IDS.items():
        store, pictures = (
            FeatureStore(layout.region_shards("toy"), split),
            ImageStore(layout.image_shards("toy"), split),
        )
        expected = model([pictures.image(row) for row in range(len(ids))])
        found, _ = store.gather(range(len(ids)))
        np.testing.assert_allclose(found, expected.features, rtol=2e-3, atol=1e-3)  # float16
        np.testing.assert_array_equal(store.boxes(len(ids) - 1), expected.boxes[-1])
        assert store.image_ids == list(ids)
    description = read_json(layout.region_shards("toy") / "shards.json")
    assert (description["features"], description["width"]) == ("ResNet grid", extractors.WIDTH)
    np.testing.assert_array_equal(
        load_described(description["extractor"])([photo(1)]).features, model([photo(1)]).features
    )
    # What a run's record says of them, and that it says nothing where there are none.
    method = params.recipes["vse_infty_bigru"].settings
    assert inputs._extractor("toy", method) == {"extractor": description["extractor"]}
    assert inputs._extractor("other", method) == {}


def test_after_a_kill_the_missing_shards_alone_are_made_with_the_same_bytes(params: Params, tmp_path: Path) -> None:
    settings = params.dataset("toy").features
    assert settings is not None

    def write(progress: Any = None) -> Path:
        images, table, device = layout.image_shards("toy"), layout.captions("toy"), torch.device("cpu")
        return shards.write(
            images, table, "ResNet grid", settings, tmp_path / "work" / "regions", device, None, progress, 1
        )

    def kill(done: int, total: int) -> None:
        if done == 6:
            raise Killed

    with pytest.raises(Killed):
        write(kill)
    left = {path.name: path.stat().st_ino for path in (tmp_path / "work").glob("*/shards/*.tar")}
    assert set(left) == {"train-00000.tar", "train-00001.tar"}
    finished = write()
    assert content(finished) == content(layout.region_shards("toy"))  # made by several processes
    assert {name: (finished / name).stat().st_ino for name in left} == left


def test_another_model_is_noticed_and_none_is_recorded(params: Params, capsys: Any) -> None:
    config = Path("resnet/preprocessor_config.json")
    config.write_text(config.read_text().replace('"resample": 3', '"resample": 2'))
    with pytest.raises(
        ConfigError, match=r"not what decides toy now \(weights: others\)\. Run: dvc repro features@toy; with"
    ):
        features.main(params, "toy")
    without = write_params(source=params.dataset("toy").source.model_dump(mode="json"), shards={"images": IMAGES})
    extractor.main(without, "toy")
    features.main(without, "toy")
    assert read_json(layout.extraction("toy")) == {} and set(content(layout.features("toy"))) == {"files.json"}
    assert "toy: no features are computed; datasets.toy.features asks for some" in capsys.readouterr().out
    assert layout.region_shards("toy") == layout.shards("toy") / "regions"


def test_a_damaged_picture_is_one_error_that_names_its_shard(params: Params) -> None:
    path = layout.image_shards("toy") / "dev-00000.tar"
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"images/dev-00000\.tar: this file is damaged: its bytes have changed"):
        features.main(params, "toy")


def test_whatever_reads_shards_waits_for_those_that_are_computed() -> None:
    """They lie in a folder of their own, which only exists where features are computed."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    for name, stage in stages.items():
        deps = stage.get("do", stage).get("deps", [])
        for read in (path for path in deps if path.endswith("/shards")):
            assert name == "extractor" or read.removesuffix("shards") + "features" in deps, name
