"""However large the features, reading them, storing them and training on them takes the same memory.

Each measure is the peak resident memory of a process of its own, mapped pages included. Features are zeros in a file
without blocks on the disk.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")

_PEAK = """
import sys
from pathlib import Path

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def write_sparse_split(folder: Path, split: str, n: int, first_id: int = 0) -> None:
    (folder / f"{split}_ids.txt").write_text("".join(f"{first_id + i}\n" for i in range(n)))
    (folder / f"{split}_caps.txt").write_text("a dog runs\n" * n)
    with open(folder / f"{split}_ims.npy", "wb") as handle:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, 36, 2048)}
        np.lib.format.write_array_header_1_0(handle, header)
        handle.truncate(handle.tell() + n * 36 * 2048 * 4)
    assert (folder / f"{split}_ims.npy").stat().st_blocks * 512 < 2**20


def measured(code: str, folder: Path) -> list[int]:
    """The numbers that `code` prints, run in a process of its own with `folder` as argument."""
    command = [sys.executable, "-c", _PEAK + code, str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [int(word) for word in run.stdout.split()]


_OPEN = """
from itrcore.data import scan
before = peak()
split = scan.open_split(Path(sys.argv[1]), "train")
for i in (0, len(split) // 2, len(split) - 1):
    [regions] = split.features_of(range(i, i + 1))
    assert regions.shape == (36, 2048)
print(peak() - before, split.features.nbytes // 1024)
"""


def test_opening_an_array_and_reading_rows(tmp_path: Path) -> None:
    write_sparse_split(tmp_path, "train", 20_000)
    grown, size = measured(_OPEN, tmp_path)
    assert size > 5_000_000 and grown < 50_000, f"{grown} KiB more for an array of {size} KiB"


_WHOLE = """
from itrcore.data.image_inputs import RegionInput
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.shards.regions import FeatureStore
from tests.support.helpers import words
from tests.support.scan_data import ScanFolder, write_shards
import numpy as np

def epochs(store, n):
    split = Split(RegionImages(store, RegionInput(0.2)), range(n), TokenTable.of(words([[1, 5, 2]] * n)), np.arange(n))
    for epoch in range(2):
        for batch in TrainingBatches(split, 16, 1, Views()).epoch(epoch):
            pass

folder = Path(sys.argv[1])
write_shards(ScanFolder(folder / "warm"), folder / "warm_out")  # once before, for what a first use loads
epochs(FeatureStore(folder / "warm_out" / "shards", "train"), 32)
before = peak()
out = write_shards(ScanFolder(folder / "scan"), folder / "out", "float16", 500)
written = peak()
store = FeatureStore(out, "train")
store.verify()
epochs(store, len(store))
print(written - before, peak() - before)
"""


def test_storing_and_training_on_a_whole_split(tmp_path: Path) -> None:
    """300 MB in, 150 MB of shards: a split held once in any form, or its pages left mapped, would show."""
    for name, n in (("warm", 32), ("scan", 1000)):
        (tmp_path / name).mkdir()
        write_sparse_split(tmp_path / name, "train", n)
        for other, first_id in (("dev", n), ("test", n + 1)):
            write_sparse_split(tmp_path / name, other, 1, first_id)
    written, trained = measured(_WHOLE, tmp_path)
    assert written < 60_000, f"{written} KiB more to write shards"
    assert trained < 60_000, f"{trained} KiB more after two epochs"
