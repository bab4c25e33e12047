"""From an archive somewhere to shards through DVC: nothing is fetched or made twice, and a changed archive is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from itrcore.data import captions, karpathy, scan_writing
from itrcore.data.karpathy import KarpathyImage
from itrcore.files import read_json
from itrcore.settings.datasets import SPLITS
from tests.support.project import ROOT, Project, tiny_params
from tests.support.scan_data import ScanFolder, write_scan_folder

pytestmark = pytest.mark.slow
KARPATHY_SPLITS = {"train": "train", "dev": "val", "test": "test"}


def publish(scan_folder: ScanFolder, folder: Path) -> Path:
    """What others publish: the features in an archive with another data set's, Karpathy's JSON in one of its own."""
    shutil.copytree(scan_folder.path, folder / "in" / "data" / "toy_precomp")
    shutil.copytree(scan_folder.path, folder / "in" / "data" / "other_precomp")
    described = [
        KarpathyImage(i, f"{i}.jpg", KARPATHY_SPLITS[split], [10 * i, 10 * i + 1], texts)
        for split in SPLITS
        for i, texts in zip(scan_folder.ids[split], scan_folder.captions[split], strict=True)
    ]
    (folder / "json").mkdir()
    karpathy.write(folder / "json" / "dataset_toy.json", "toy", described)
    karpathy.write(folder / "json" / "dataset_other.json", "other", described)
    shutil.make_archive(str(folder / "data"), "zip", folder / "in")
    shutil.make_archive(str(folder / "caption_datasets"), "zip", folder / "json")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    mirror = publish(write_scan_folder(tmp_path / "made"), tmp_path / "mirror")
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", warm=True)
    params = tiny_params(project.params)
    params["downloads"] = {
        "toy": {
            "features": {
                "sources": [str(tmp_path / "gone.zip"), str(mirror / "data.zip")],
                "only": ["*toy_precomp/*"],
                "into": "precomp",
            },
            "karpathy": {"sources": [str(mirror / "caption_datasets.zip")], "only": ["dataset_toy.json"]},
        }
    }
    params["datasets"] = {
        "toy": {
            "reads": "downloads/toy.json",
            "source": {
                "kind": "scan",
                "folder": "downloads/toy",
                "features": "synthetic",
                "splits": {"train": "train", "dev": "dev", "test": "test"},
            },
            "vocabulary": {"min_count": 1},
            "shards": {"regions": {"dtype": "float32", "samples_per_shard": 3}},
        }
    }
    params |= {"runs": {}, "ensembles": {}}
    project.write_params(params)
    return project


def test_an_archive_becomes_shards_once(project: Project, tmp_path: Path) -> None:
    project.repro("shards@toy", "vocab@toy")
    folder = project.folder
    assert sorted(path.name for path in (folder / "downloads" / "toy").glob("[!.]*")) == ["dataset_toy.json", "precomp"]
    counts = read_json(folder / "data" / "toy" / "splits.json")
    assert counts["train"]["karpathy"] == {"described": 7, "in_order": True, "equal": 14, "differing": []}
    assert (folder / "data" / "toy" / "shards" / "regions" / "train-00002.tar").exists()
    assert "Running stage" not in project.repro("shards@toy", "vocab@toy").stdout

    # Another list of mirrors: fetched files are looked at again, and as they are the same nothing after them runs.
    params = project.params
    params["downloads"]["toy"]["features"]["sources"].pop(0)
    project.write_params(params)
    out = project.repro("shards@toy", "vocab@toy").stdout
    assert "Running stage 'fetch@toy'" in out and "Running stage 'raw@toy'" not in out

    # A file that vanished is fetched again.
    (folder / "downloads" / "toy" / "precomp" / "dev_ims.npy").unlink()
    project.run(project.python, "-m", "dvc", "repro", "--force", "--single-item", "fetch@toy")
    assert (folder / "downloads" / "toy" / "precomp" / "dev_ims.npy").exists()


@pytest.mark.parametrize("name", ["f30k", "coco"])
def test_the_shipped_settings_of_the_real_data_sets_take_a_small_archive_of_their_layout(
    tmp_path: Path, name: str
) -> None:
    """Only the sources are others than in experiments/{name}: where from, not what."""
    scan_folder = write_scan_folder(
        tmp_path / "made", {"train": 7, "dev": 3, "testall" if name == "coco" else "test": 4}
    )
    for data in ("f30k", "coco"):
        shutil.copytree(scan_folder.path, tmp_path / "in" / "data" / f"{data}_precomp")
    (tmp_path / "json").mkdir()
    described = [
        KarpathyImage(i, f"{i}.jpg", {"train": "train", "dev": "val"}.get(split, "test"), [10 * i, 10 * i + 1], texts)
        for split, ids in scan_folder.ids.items()
        for i, texts in zip(ids, scan_folder.captions[split], strict=True)
    ]
    for file in ("dataset_flickr30k.json", "dataset_coco.json", "dataset_flickr8k.json"):
        karpathy.write(tmp_path / "json" / file, file, described)
    scan_writing.write_id_mapping(tmp_path, {i: f"{i}.jpg" for ids in scan_folder.ids.values() for i in ids})
    (tmp_path / "glove").mkdir()
    (tmp_path / "glove" / "glove.840B.300d.txt").write_text(
        "".join(f"{word}{' 0.5' * 300}\n" for word in ("picture", ". ."))
    )
    sources = {
        "glove": shutil.make_archive(str(tmp_path / "glove.840B.300d"), "zip", tmp_path / "glove"),
        "features": shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "in"),
        "karpathy": shutil.make_archive(str(tmp_path / "caption_datasets"), "zip", tmp_path / "json"),
        "id_mapping": str(tmp_path / "id_mapping.json"),
    }
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", warm=True)
    params = YAML(typ="safe", pure=True).load((ROOT / "experiments" / name / "params.yaml").read_text("utf-8"))
    params["root"] = "."  # in a copy of the project, in place of its own experiment
    params["datasets"][name]["vocabulary"]["min_count"] = 1
    for part, settings in params["downloads"][name].items():
        settings["sources"] = [sources[part]]
        for unknown in ("bytes", "sha256"):
            settings.pop(unknown, None)
    project.write_params(params)
    out = project.repro(f"shards@{name}", f"vocab@{name}").stdout
    assert "have a vector in glove.840B.300d.txt" in out
    counts = read_json(project.folder / "data" / name / "splits.json")
    assert {split: (counts[split]["images"], counts[split]["karpathy"]["equal"]) for split in SPLITS} == {
        "train": (7, 14), "dev": (3, 6), "test": (4, 8),
    }  # fmt: skip
    [image, *_] = captions.read(project.folder / "data" / name / "captions.parquet", "test")
    assert image.file_name == f"{image.image_id}.jpg"


def test_other_content_than_was_recorded_is_refused_and_nothing_after_it_runs(project: Project, tmp_path: Path) -> None:
    project.repro("raw@toy")
    before = (project.folder / "downloads" / "toy.json").read_bytes()
    changed = tmp_path / "mirror" / "in" / "data" / "toy_precomp" / "dev_caps.txt"
    changed.write_text(changed.read_text("utf-8").replace("says 0", "says zero"), "utf-8")
    shutil.make_archive(str(tmp_path / "mirror" / "new"), "zip", tmp_path / "mirror" / "in")
    shutil.rmtree(project.folder / "downloads" / "toy")
    params = project.params
    params["downloads"]["toy"]["features"]["sources"] = [str(tmp_path / "mirror" / "new.zip")]
    project.write_params(params)
    failed = project.repro("raw@toy", check=False)
    assert failed.returncode != 0 and "dev_caps.txt" in failed.stdout and "sha256" in failed.stdout
    assert (project.folder / "downloads" / "toy.json").read_bytes() == before
