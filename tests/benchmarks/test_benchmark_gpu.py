"""The GPU's script at tiny sizes on the CPU, and what it counts with: floors, budgets, traces."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from benchmarks import released_similarity
from benchmarks.gpu import __main__ as script
from benchmarks.gpu import same, scoring, speed, watching
from benchmarks.gpu.budget import Budget, shared
from benchmarks.gpu.cases import Case, Sizes, precisions, recipes
from benchmarks.gpu.floors import floor
from benchmarks.operations import watch
from itrcore.data.feeding.batches import RegionBatch
from itrcore.data.feeding.regions import HeldRegions
from itrcore.evaluation.scoring import encode
from itrcore.files import read_json
from itrcore.layers import basics

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--tiny", "--json", str(path), *options])
    return script.main(), read_json(path)


def test_every_section_runs_and_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, written = run(tmp_path / "gpu.json", monkeypatch, "--recipes", "saf_bigru", "esl_h_clip")
    assert code == 0 and not written["wrong"]
    assert {"card", "date", "torch", "python"} <= set(written["machine"])
    sections = written["sections"]
    for recipe in ("saf_bigru", "esl_h_clip"):
        checked = sections["a"][recipe]
        assert checked["similarity"]["float32"] <= 1e-4
        assert checked["training"]["last"] < checked["training"]["first"]
        assert checked["resumed"]["same_bits"]
        steps = sections["b"][recipe]
        assert steps["loss_apart"] < 1e-5 and steps["same_batches"]
        assert steps["times_released"] == pytest.approx(
            {
                name: way["steps_per_s"] / steps["ways"]["released float32"]["steps_per_s"]
                for name, way in steps["ways"].items()
                if name != "released float32"
            }
        )
    assert sections["c"]["saf_bigru"]["tiny float32"]["floor_multiplications"] > 0
    assert sections["d"]["esa_bigru"]["steps"] == 20
    said = capsys.readouterr().out
    assert "wanted 10 times the released formulation" in said and "wanted: 3 times the floor" in said


@pytest.mark.slow
def test_every_recipe_is_scored_and_one_of_each_other_kind_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, written = run(tmp_path / "c.json", monkeypatch, "--only", "c")
    assert code == 0 and not written["wrong"]
    assert set(written["sections"]["c"]) == set(recipes())
    others = ("vse_infty_bert", "esa_bert_grid", "scan_i2t_avg_bigru")
    code, written = run(tmp_path / "a.json", monkeypatch, "--only", "a", "--recipes", *others)
    assert code == 0 and not written["wrong"]
    assert set(written["sections"]["a"]) == set(others)


def test_what_fails_or_is_not_right_is_written_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(case: Case, device: torch.device) -> dict[str, Any]:
        if case.settings.model.kind == "vse":
            raise RuntimeError("out of memory")
        return {"float32": 1.0, "kept": False}

    monkeypatch.setattr(same, "similarity", breaks)
    monkeypatch.setattr(same, "resumed", lambda case: {"apart": 0.0, "same_bits": True, "kept": True})
    code, written = run(tmp_path / "gpu.json", monkeypatch, "--only", "a", "--recipes", "vse_pp_bigru", "esa_bigru")
    assert code == 1
    assert written["wrong"] == ["a vse_pp_bigru", "a esa_bigru: similarity"]
    assert written["sections"]["a"]["vse_pp_bigru"]["failed"] == "RuntimeError: out of memory"
    assert "NOT AS WANTED" in capsys.readouterr().out


def test_a_released_formulation_that_computes_something_else_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = released_similarity.unit
    monkeypatch.setattr(released_similarity, "unit", lambda x: 1.2 * unit(x))
    code, written = run(tmp_path / "gpu.json", monkeypatch, "--only", "b", "--recipes", "saf_bigru")
    assert code == 1
    assert written["wrong"] == ["b saf_bigru: not what the released formulation computes"]


def test_what_has_no_time_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, written = run(tmp_path / "gpu.json", monkeypatch, "--minutes", "0", "--recipes", "esa_bigru")
    assert code == 0
    left_out = {"esa_bigru": "skipped: no time left"}
    assert written["sections"] == {"a": left_out, "b": left_out, "c": left_out, "d": left_out}


def test_one_process_computes_in_one_precision_after_another() -> None:
    AcceleratorState._reset_state()
    Accelerator(cpu=True, mixed_precision="bf16")
    case = Case("vse_pp_bigru", script.TINY)
    assert case.trainer("float32", "host").accelerator.mixed_precision == "no"
    assert precisions()[0] == "float32"


def test_a_budget_counts_down_and_others_times_are_shared() -> None:
    now = [100.0]
    budget = Budget(10.0, lambda: now[0])
    now[0] = 107.0
    assert budget.left() == pytest.approx(3.0)
    assert budget.room() and budget.room(2.9) and not budget.room(3.1)
    now[0] = 111.0
    assert not budget.room()
    assert shared(60.0, {"a": 0.3, "b": 0.5, "c": 0.2}, ["a", "c"]) == pytest.approx({"a": 36.0, "c": 24.0})


@pytest.mark.parametrize(
    ("per_pair", "left", "images"),
    [(0.0, 5.0, 100), (1e-3, 10.0, 100), (1e-3, 4.0, 40), (1e-3, 0.5, 0), (0.0, -1.0, 0)],
)
def test_as_many_images_are_scored_as_there_is_time_for(per_pair: float, left: float, images: int) -> None:
    assert scoring.fitting(scoring.Split("ten seconds", 100, 100), per_pair, left) == images


@pytest.mark.parametrize(
    "recipe",
    ["esa_bigru", "scan_t2i_lse_bigru", "scan_i2t_avg_bigru", "sgr_bigru", "saf_bigru", "lhsc_bigru", "esl_h_bert"],
)
def test_the_floor_is_what_the_method_multiplies(recipe: str) -> None:
    case = Case(recipe, Sizes(4, 64, 12, 16, (8, 8), 64, each=1, different=8))
    method = case.objective.method.eval()
    encoded = encode(method, case.split, 64, CPU)
    with torch.inference_mode():
        done = watch(lambda: method.similarity(encoded.images, encoded.texts), method).multiply_adds
    least = floor(case.settings, encoded.images, encoded.texts).multiplications
    assert least <= done <= 1.15 * least  # rows are filled up


def test_a_trace_says_how_long_the_device_computes_and_what_waits() -> None:
    def event(category: str, name: str, start: float, duration: float) -> dict[str, Any]:
        return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": duration}

    seen = watching.of_trace(
        [
            event("kernel", "gemm", 0, 40),
            event("kernel", "add", 20, 10),  # beside it, on another stream
            event("kernel", "softmax", 60, 20),
            event("gpu_user_annotation", "Optimizer.step", 0, 100),
            event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 5, 5),
            event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 50, 5),
            event("cuda_runtime", "cudaStreamSynchronize", 90, 5),
            event("cuda_runtime", "cudaDeviceSynchronize", 95, 5),
            {"ph": "M", "name": "process_name"},
        ],
        steps=2,
    )
    assert seen.kernels == 1.5 and seen.kernel_ms == pytest.approx(0.030)
    assert seen.copies == {"HtoD (Pinned -> Device)": 1.0}
    assert seen.waits == {"cudaStreamSynchronize": 0.5}


def test_a_line_that_waits_for_the_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    norm = torch.linalg.vector_norm

    def waits(*given: Any, **named: Any) -> torch.Tensor:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return norm(*given, **named)  # type: ignore[no-any-return]

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(torch.linalg, "vector_norm", waits)
    with watching.waiting_lines(torch.device("cuda")) as lines:
        basics.l2(torch.ones(2, 3))
        basics.l2(torch.ones(2, 3))
    ((line, number),) = lines.items()
    assert line.startswith("itrcore/layers/basics.py:") and number == 2
    assert modes == ["warn", "default"]


def test_a_batch_on_the_device_that_is_another_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("vse_pp_bigru", script.TINY)
    assert speed.same_batches(case, CPU, 8)
    gather = HeldRegions.gather

    def early(self: HeldRegions, *given: Any) -> RegionBatch:  # as one that is read before it is whole
        batch = gather(self, *given)
        batch.regions[-1] = 0
        return batch

    monkeypatch.setattr(HeldRegions, "gather", early)
    assert not speed.same_batches(case, CPU, 8)


def test_the_time_of_kernels_over_that_of_a_step_is_how_busy_a_device_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watching.Watched(kernels=100.0, kernel_ms=8.0, copies={}, waits={})
    monkeypatch.setattr(speed, "watched", lambda *_: seen)
    assert speed.busy(lambda: None, 110.0, CPU)["busy"] == pytest.approx(0.88)
    assert not speed.busy(lambda: None, 110.0, CPU)["busy_kept"] and speed.busy(lambda: None, 120.0, CPU)["busy_kept"]
    monkeypatch.setattr(speed, "watched", lambda *_: replace(seen, kernels=0.0))
    assert speed.busy(lambda: None, 110.0, CPU) == {"not_profiled": "the profiler saw no kernels"}


def test_a_way_without_memory_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> dict[str, Any]:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(speed, "_released", fails)
    found = speed.measured("saf_bigru", script.TINY, CPU, Budget(60.0), 0.01)
    assert found["ways"]["released float32"] == "failed: out of memory"
    assert found["ways"]["float32 device"]["steps_per_s"] > 0
    assert "failed: out of memory" in speed.line(found)


def test_speeds_are_compared_with_the_released_one() -> None:
    ways = {
        "released float32": {"steps_per_s": 2.0},
        "bf16 device": {"steps_per_s": 12.0},
        "bf16 host": {"steps_per_s": 9.0},
        "tf32 device": "skipped: no time left",
    }
    found = speed.compared(ways, 5.0)
    assert found["fastest"] == "bf16 device" and found["kept"]
    assert found["times_released"]["bf16 host"] == 4.5
    assert not speed.compared(ways, 6.5)["kept"]
