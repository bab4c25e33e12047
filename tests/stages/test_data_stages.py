"""The data stages as DVC runs them: what each leaves, and that an error or a kill leaves nothing of its output."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

import stages.nltk_data
import stages.raw
import stages.shards
import stages.splits
import stages.vocab
from itrcore import layout
from itrcore.data import captions, source
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.sources import obtain
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.settings.params import Params
from tests.conftest import ROOT
from tests.support.data_stages import STAGES, write_params
from tests.support.scan_data import ScanFolder, write_punkt_folder, write_scan_folder
from tests.support.stamps import unstamped

OUTPUTS = {
    "raw": "raw", "splits": "captions.parquet", "nltk": "nltk", "vocab": "vocab", "concepts": "concepts", "shards": "shards",
}  # fmt: skip


@pytest.fixture
def scan_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanFolder:
    monkeypatch.chdir(tmp_path)
    return write_scan_folder(Path("scan"))


def left() -> set[str]:
    """Everything in data/ and data/toy/, hidden files too; for the two outputs of the stage `splits` the table stands."""
    names = {path.name for folder in (Path("data"), Path("data", "toy")) for path in folder.glob("*")}
    return names - {"toy"} - ({"splits.json"} if "captions.parquet" in names else set())  # one stage, two outputs


def run_until_error(params: Params) -> tuple[str, str]:
    for name, stage in STAGES.items():
        try:
            stage(params, "toy")
        except DataError as error:
            return name, str(error)
    raise AssertionError("no stage found the damage")


def test_a_sound_folder_becomes_shards_a_table_and_a_vocabulary(scan_folder: ScanFolder) -> None:
    params = write_params()
    for name, stage in STAGES.items():
        stage(params, "toy")
        assert OUTPUTS[name] in left()
    assert left() == set(OUTPUTS.values())
    assert source.Source.read(layout.raw("toy")).features == "bottom-up attention"
    vocabulary = Vocabulary.load(layout.vocabulary("toy") / layout.WORDS, layout.NLTK)
    assert {"picture", "dev", "train"} <= set(vocabulary.words) and "test" not in vocabulary.words
    store = FeatureStore(layout.region_shards("toy"), "test")
    store.verify()
    assert store.image_ids == [image.image_id for image in captions.read(layout.captions("toy"), "test")]
    np.testing.assert_allclose(store.gather(range(4))[0], scan_folder.features["test"], rtol=2**-10)


def test_a_changed_file_outside_changes_the_record_that_later_stages_depend_on(scan_folder: ScanFolder) -> None:
    params = write_params()
    records = []
    for change in ("", "caps.txt", "ims.npy"):
        if change:
            corrupt(Path(f"scan/dev_{change}"), lambda b: b[:-1] + bytes([b[-1] ^ 1]))
        STAGES["raw"](params, "toy")
        records.append((layout.raw("toy") / "source.json").read_bytes())
        STAGES["raw"](params, "toy")
        assert (layout.raw("toy") / "source.json").read_bytes() == records[-1]
    assert len(set(records)) == 3


def test_made_features_cannot_be_passed_off_as_real_ones(scan_folder: ScanFolder) -> None:
    source.Source("simulated", {}, folder="scan").write(Path("scan"))
    with pytest.raises(DataError, match=r"these features are simulated, params\.yaml calls them bottom-up attention"):
        STAGES["raw"](write_params(), "toy")
    assert left() == set()


def corrupt(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def with_value(value: float) -> Callable[[ScanFolder], None]:
    def damage(scan_folder: ScanFolder) -> None:
        features = scan_folder.features["test"].copy()
        features[3, 0, 0] = value
        np.save("scan/test_ims.npy", features)

    return damage


DAMAGES: dict[str, tuple[Callable[[ScanFolder], Any], str, str]] = {
    "truncated": (lambda _: corrupt(Path("scan/dev_ims.npy"), lambda b: b[:-5]), "raw", "dev_ims.npy: the file has"),
    "pickled": (
        lambda _: corrupt(Path("scan/dev_ims.npy"), lambda b: pickle.dumps([1])),
        "raw",
        "dev_ims.npy: not a readable",
    ),
    "width": (lambda _: np.save("scan/test_ims.npy", np.ones((4, 3, 9), "f4")), "raw", "found feature width 9"),
    "no multiple": (lambda _: corrupt(Path("scan/train_caps.txt"), lambda b: b + b"one more\n"), "raw", "a multiple"),
    "id twice": (lambda _: corrupt(Path("scan/train_ids.txt"), lambda b: b.replace(b"104", b"101")), "raw", "row 4"),
    "id in two splits": (
        lambda _: corrupt(Path("scan/test_ids.txt"), lambda b: b.replace(b"112", b"101")),
        "raw",
        "in split train as well",
    ),
    "not UTF-8": (
        lambda _: corrupt(Path("scan/test_caps.txt"), lambda b: b.replace(b"picture 111", b"\xe9")),
        "raw",
        "test_caps.txt, row 2: bytes that are not UTF-8",
    ),
    "empty caption": (
        lambda _: corrupt(Path("scan/dev_caps.txt"), lambda b: b.replace(b"the dev picture 108 says 1", b"")),
        "raw",
        "dev_caps.txt, row 3",
    ),
    "no features": (lambda _: Path("scan/train_ims.npy").unlink(), "raw", "train_ims.npy: no such file"),
    "unnamed image": (
        lambda _: Path("scan/id_mapping.json").write_text('{"100": "a.jpg"}'),
        "splits",
        "no entry for image id 101",
    ),
    "NaN in the last image": (with_value(np.nan), "shards", "test_ims.npy, row 3: found nan"),
    "inf in the last image": (with_value(-np.inf), "shards", "test_ims.npy, row 3: found -inf"),
    "too large": (with_value(1e5), "shards", "test_ims.npy, row 3: 100000 does not fit float16"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_source_leaves_no_output_of_the_stage_that_finds_it(scan_folder: ScanFolder, name: str) -> None:
    damage, found_by, message = DAMAGES[name]
    damage(scan_folder)
    stage, error = run_until_error(write_params())
    assert stage == found_by and message in error
    finished = list(OUTPUTS.values())[: list(OUTPUTS).index(found_by)]
    assert left() == set(finished)


def test_a_folder_changed_after_it_was_checked_is_found(scan_folder: ScanFolder) -> None:
    params = write_params()
    for name in ("raw", "splits", "nltk", "vocab", "concepts"):
        STAGES[name](params, "toy")
    corrupt(Path("scan/dev_ims.npy"), lambda b: b[:-5])
    with pytest.raises(DataError, match=r"dev_ims\.npy"):
        stages.shards.main(params, "toy")
    assert left() == set(OUTPUTS.values()) - {"shards"}


def test_a_vocabulary_that_cannot_be_made_leaves_none(scan_folder: ScanFolder) -> None:
    params = write_params(vocabulary={"min_count": 1000})
    assert run_until_error(params)[0] == "vocab"
    Vocabulary.build(["a dog"], 1, WordSplitter(None)).save(Path("released.json"))
    corrupt(Path("released.json"), lambda b: b.replace(b'"sentence_split": false', b'"sentence_split": true'))
    with pytest.raises(DataError, match=r"released\.json: .* sentence data is missing in data/nltk"):
        stages.vocab.main(write_params(vocabulary={"min_count": 4, "released": "released.json"}), "toy")
    assert left() == {"raw", "captions.parquet", "nltk"}


def test_sentence_data_of_another_checksum_leave_nothing(scan_folder: ScanFolder) -> None:
    params = write_params(nltk_sources=[str(write_punkt_folder(Path("nltk_data")))])
    with pytest.raises(DataError, match="sha256"):
        stages.nltk_data.main(params, "")
    assert left() == set()


def test_an_error_keeps_the_output_of_an_earlier_run(scan_folder: ScanFolder) -> None:
    params = write_params()
    for stage in STAGES.values():
        stage(params, "toy")
    before = read_json(layout.region_shards("toy") / "shards.json")
    with_value(np.nan)(scan_folder)
    changed = r"scan/test_ims\.npy: its bytes have changed; .*repro --force --single-item raw@toy"
    with pytest.raises(DataError, match=changed):
        stages.shards.main(params, "toy")
    STAGES["raw"](params, "toy")
    with pytest.raises(DataError, match="found nan"):
        stages.shards.main(params, "toy")
    assert read_json(layout.region_shards("toy") / "shards.json") == before and left() == set(OUTPUTS.values())


def test_a_source_interrupted_while_it_is_made_leaves_nothing(scan_folder: ScanFolder) -> None:
    scenes = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))["datasets"]["scenes"]["source"]
    small = {"images": {"train": 4, "dev": 2, "test": 2}, "picture_size": 32}
    settings = write_params(source=scenes | small).datasets["toy"].source

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain.make(settings, layout.raw("toy"), interrupt)
    assert left() == set()


def start(stage: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.Popen([sys.executable, "-m", f"stages.{stage}", "toy"], env=environment, text=True, **options)


def test_a_user_sees_one_sentence_and_no_traceback(scan_folder: ScanFolder) -> None:
    params = write_params()
    with_value(np.nan)(scan_folder)
    for name in ("raw", "splits"):
        STAGES[name](params, "toy")
    child = start("shards", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, shown = child.communicate()
    assert child.returncode == 1 and "Traceback" not in shown
    assert unstamped(shown).strip().startswith("error: scan/test_ims.npy, row 3: found nan; expected finite numbers.")


@pytest.mark.slow
def test_a_stage_killed_while_it_writes_leaves_nothing_that_counts_as_its_output(scan_folder: ScanFolder) -> None:
    """A real SIGKILL; 170 MB of features in a file without blocks on the disk."""
    n = 600
    with open("scan/train_ims.npy", "wb") as handle:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, 36, 2048)}
        np.lib.format.write_array_header_1_0(handle, header)
        handle.truncate(handle.tell() + n * 36 * 2048 * 4)
    Path("scan/train_ids.txt").write_text("".join(f"{i}\n" for i in range(1000, 1000 + n)))
    Path("scan/train_caps.txt").write_text("a dog runs\n" * n)
    for name, rows in (("dev", 3), ("test", 4)):
        np.save(f"scan/{name}_ims.npy", np.ones((rows, 36, 2048), "f4"))
    params = write_params(shards={"regions": {"dtype": "float16", "samples_per_shard": 50}})
    for name in ("raw", "splits"):
        STAGES[name](params, "toy")

    child = start("shards", stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(Path("state").rglob("train-00001.tar")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert left() == {"raw", "captions.parquet"} and not any(Path("state").rglob("shards.json"))
    with pytest.raises(DataError, match=r"data/toy/shards/regions/shards\.json: cannot be read"):
        FeatureStore(layout.region_shards("toy"), "train")

    stages.shards.main(params, "toy")
    store = FeatureStore(layout.region_shards("toy"), "train")
    store.verify()
    assert len(store) == n and left() == {"raw", "captions.parquet", "shards"}
