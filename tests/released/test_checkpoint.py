"""Released checkpoint files: every form that released codes write is read, anything else is refused and never run."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itrcore.errors import DataError
from itrcore.released.checkpoint import Checkpoint
from tests.support.helpers import released_file

OPTIONS = {"data_name": "f30k_precomp", "margin": 0.2, "no_imgnorm": False, "resume": "", "lr_schedules": [15]}
OTHER_TYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.bool)


def content(**changes: Any) -> dict[str, Any]:
    parts = [OrderedDict({"fc.weight": torch.ones(3, 2), "n": torch.tensor(4)}), OrderedDict(embed=torch.zeros(5))]
    whole = {"epoch": 7, "model": parts, "best_rsum": 321.5, "opt": Namespace(**OPTIONS), "Eiters": 990}
    return whole | changes


def save(path: Path, value: Any, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def refusal(path: Path) -> str:
    """The one line that the error says, without the path that it begins with."""
    with pytest.raises(DataError) as caught:
        Checkpoint.read(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "torch before 1.6"])
def test_a_checkpoint_is_read_in_full(tmp_path: Path, zipped: bool) -> None:
    checkpoint = Checkpoint.read(save(tmp_path / "model_best.pth", content(), zipped))
    assert [sorted(part) for part in checkpoint.parts] == [["fc.weight", "n"], ["embed"]]
    assert checkpoint.parts[0]["fc.weight"].tolist() == [[1.0, 1.0]] * 3
    assert (checkpoint.epoch, checkpoint.best_rsum, checkpoint.iterations, checkpoint.options) == (
        7,
        321.5,
        990,
        OPTIONS,
    )


def test_what_a_file_leaves_out_besides_the_weights_is_none(tmp_path: Path) -> None:
    checkpoint = Checkpoint.read(save(tmp_path / "model.pth", {"model": content()["model"], "best_rsum": float("nan")}))
    assert (checkpoint.epoch, checkpoint.best_rsum, checkpoint.iterations, checkpoint.options) == (None, None, None, {})


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), True, "7", torch.tensor(7)], ids=repr)
def test_an_epoch_an_rsum_and_iterations_that_are_no_number_are_none(tmp_path: Path, value: Any) -> None:
    checkpoint = Checkpoint.read(save(tmp_path / "model.pth", content(epoch=value, best_rsum=value, Eiters=value)))
    assert (checkpoint.epoch, checkpoint.best_rsum, checkpoint.iterations) == (None, None, None)


def test_an_rsum_may_be_a_whole_number_and_an_epoch_nothing_else(tmp_path: Path) -> None:
    checkpoint = Checkpoint.read(save(tmp_path / "model.pth", content(epoch=7.5, best_rsum=321, Eiters=990.0)))
    assert (checkpoint.epoch, checkpoint.best_rsum, checkpoint.iterations) == (None, 321, None)


def test_a_checkpoint_saved_on_a_gpu_is_read_without_one(tmp_path: Path) -> None:
    path = save(tmp_path / "here.pth", content())
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "gpu.pth", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    assert b"cuda:0" in (tmp_path / "gpu.pth").read_bytes()
    assert Checkpoint.read(tmp_path / "gpu.pth").parts[0]["fc.weight"].device.type == "cpu"


def test_the_prefix_of_data_parallel_is_taken_off_where_a_whole_part_has_it(tmp_path: Path) -> None:
    one = torch.ones(1)
    parts = [{"module.fc": one, "module.module.x": one}, {"embed": one}, {"module.a": one, "b": one}]
    checkpoint = Checkpoint.read(save(tmp_path / "model.pth", content(model=parts)))
    assert [list(part) for part in checkpoint.parts] == [["fc", "module.x"], ["embed"], ["module.a", "b"]]


class Runs:
    """Unpickled carelessly, it calls `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "torch before 1.6"])
@pytest.mark.parametrize(("function", "named"), [(os.system, "posix.system"), (eval, "eval"), (open, "io.open")])
def test_code_in_a_checkpoint_is_named_and_not_run(
    tmp_path: Path, function: Callable[..., Any], named: str, zipped: bool
) -> None:
    target = tmp_path / "ran"
    arguments = {
        "posix.system": [f"touch '{target}'"],
        "eval": [f"open({str(target)!r}, 'w')"],
        "io.open": [str(target), "w"],
    }
    path = save(tmp_path / "model.pth", content(opt=Runs(function, *arguments[named])), zipped)
    said = refusal(path)
    assert said.startswith(f"it wants {named} to be loaded, which could run code; nothing of it was run; expected ")
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists()  # the file did hold it


@pytest.mark.parametrize(
    ("value", "named"),
    [(np.float64(321.5), "numpy"), (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"), (Path("x"), "pathlib")],
    ids=["numpy scalar", "module", "path"],
)
def test_what_no_released_code_writes_is_refused_by_name(tmp_path: Path, value: Any, named: str) -> None:
    assert f"it wants {named}" in refusal(save(tmp_path / "model.pth", content(best_rsum=value)))


def test_any_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    for zipped in (True, False):
        whole = save(tmp_path / "model.pth", content(), zipped).read_bytes()
        for end in range(0, len(whole) - 1, 37):
            (tmp_path / "cut.pth").write_bytes(whole[:end])
            assert "expected" in refusal(tmp_path / "cut.pth")


def _tar() -> bytes:
    with io.BytesIO() as raw, tarfile.open(fileobj=raw, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
        archive.close()
        return raw.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b'{"word2idx": {}}', "JSON"),
        (b"", "not a torch file"),
        (b"\x00" * 500, "not a torch file"),
        (pickle.dumps({"model": []}, 2), "not a torch file"),
        (_tar(), "not a torch file"),
    ],
    ids=["LFS pointer", "web page", "JSON", "empty", "zeros", "plain pickle", "tar"],
)
def test_another_file_is_named_for_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "model.pth").write_bytes(data)
    assert said in refusal(tmp_path / "model.pth")


def test_no_file_and_a_folder_are_said_to_be_that(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.pth").startswith("cannot be read (No such file or directory)")
    assert refusal(tmp_path).startswith("cannot be read (Is a directory)")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, 2], "no entry `model` or `state_dict` in what it holds (list)"),
        ({"weights": {}, "epoch": 3}, "no entry `model` or `state_dict` in what it holds (weights, epoch)"),
        ({"state_dict": [{}]}, "its `state_dict` is one list, not a state dict"),
        ({"model": OrderedDict(fc=torch.ones(1))}, "its `model` is one OrderedDict"),
        ({"model": [torch.ones(1)]}, "its `model` is one list, not a list of state dicts"),
        ({"model": [{"fc": 3.0}]}, "entry 'fc' of part 0 is a float; expected a tensor"),
        ({"model": [{}, {"fc": torch.tensor([1.0, torch.nan])}]}, "entry 'fc' of part 1 holds NaN or infinity"),
        ({"model": [{"module.fc": torch.tensor(torch.inf)}]}, "entry 'fc' of part 0 holds NaN or infinity"),
    ],
)
def test_a_torch_file_of_another_layout_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    assert refusal(save(tmp_path / "model.pth", value)).startswith(said)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch on nested, quantised and sparse tensors
@pytest.mark.parametrize(
    ("convert", "kind"),
    [
        (lambda weight: weight.to_sparse(), "sparse_coo float32 on cpu"),
        (lambda weight: weight.to_sparse_csr(), "sparse_csr float32 on cpu"),
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "strided qint8 on cpu"),
        (lambda weight: torch.nested.nested_tensor([weight, weight]), "nested strided float32 on cpu"),
        (lambda weight: weight.to("meta"), "strided float32 on meta"),
        *((lambda weight, t=t: weight.to(t), f"strided {t} on cpu".replace("torch.", "")) for t in OTHER_TYPES),
    ],
    ids=["sparse", "sparse rows", "quantised", "nested", "without values", *map(str, OTHER_TYPES)],
)
def test_a_tensor_that_is_not_plain_is_named_in_one_error(
    tmp_path: Path, convert: Callable[[torch.Tensor], torch.Tensor], kind: str
) -> None:
    parts = [{"n": torch.tensor(4)}, {"fc": torch.ones(3, 2), "odd": convert(torch.ones(3, 2))}]
    said = refusal(save(tmp_path / "model.pth", content(model=parts)))
    assert said == f"entry 'odd' of part 1 is {kind}; expected a plain float32 or int64 tensor."


@pytest.mark.parametrize("data_parallel", [True, False])
def test_what_is_written_is_read_again_and_by_old_torch(tmp_path: Path, data_parallel: bool) -> None:
    path = tmp_path / "out" / "model_best.pth"
    written = Checkpoint(path, [dict(part) for part in content()["model"]], 7, 321.5, 990, OPTIONS)
    written.write(data_parallel)
    again = Checkpoint.read(path)
    assert (again.epoch, again.best_rsum, again.iterations, again.options) == (7, 321.5, 990, OPTIONS)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(again.parts, written.parts, strict=True) for name in a)
    assert not zipfile.is_zipfile(path)  # torch before 1.6 reads no zip
    names = list(released_file(path)["model"][0])
    assert names == [("module." if data_parallel else "") + name for name in ("fc.weight", "n")]
