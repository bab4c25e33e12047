"""`itr check`: whether a params.yaml is valid, what it would run, and what that costs."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from textwrap import wrap
from typing import TYPE_CHECKING

import typer

from itrcore import layout, network_disk
from itrcore.answer import Answer
from itrcore.errors import first_line
from itrcore.terminal import remark, warn

if TYPE_CHECKING:
    from itrcore.costs.disk import Disk
    from itrcore.costs.downloads import Missing
    from itrcore.costs.plan import Group
    from itrcore.costs.rates import Rates
    from itrcore.settings.params import Params
    from itrcore.settings.runs import RunSettings

_COLUMNS = 80  # of lists in prose; names are never cut
_GPUS = ("/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")  # where the systems that torch knows show them


def check(
    path: Path = typer.Argument(Path("params.yaml"), help="the file to check"),
    cost: bool = typer.Option(False, "--cost", help="Measure how long the runs would take, with real training steps."),
    within: float = typer.Option(120.0, min=1.0, help="Seconds that measuring may take, about."),
) -> Answer:
    """Check a params.yaml and list what it would run, what that costs, and what is done already."""
    from itrcore.settings.experiments import check_steps
    from itrcore.settings.load import load

    params = load(path)
    check_steps(params, path.parent)
    with contextlib.chdir(path.parent):
        from itrcore.costs.plan import groups

        found = groups(params)
        device, rates = _measured(params, found, within) if cost else _estimated(params, found)
        room = _room(params, found, rates)
        # No table: names may be long, and a narrow terminal would crop them.
        lines = [*_described(params, found, device, rates), *_summary(params, found, device, rates), *room.lines()]
        if advised := network_disk.advice(Path()):
            warn(advised)
        value = {
            "params": path, "device": device, "runs": [*params.runs], "ensembles": [*params.ensembles],
            "transfers": [*params.transfers],
            "groups": [_as_json(params, group, device, rate) for group, rate in zip(found, rates, strict=True)],
            "not_there": dict(_missing(params).values()), "downloads": room.downloads, "disks": room.disks,
        }  # fmt: skip
    lines.append(f"{path}: valid. {len(params.runs)} runs, {len(params.ensembles)} ensembles.")
    return Answer(value, "\n".join(lines))


def _as_json(params: Params, group: Group, device: str, rate: Rates) -> dict[str, object]:
    from itrcore.costs.rates import times

    seconds = None
    if group.counts is not None and (rate.how != "estimated" or device == "cpu"):  # the estimate is for a CPU
        seconds = times(rate, group.settings, group.counts, params.training.selection.captions)
    parts = ("data", "method", "changes", "trainings", "to_train", "to_evaluate", "steps")
    known = {key: getattr(group, key) for key in parts}
    return {"runs": group.names, **known, "parameters": rate.parameters, "seconds": seconds, "how": rate.how}


def _estimated(params: Params, groups: Sequence[Group]) -> tuple[str, list[Rates]]:
    from itrcore.costs.operations import estimated

    threads = params.training.threads
    return _device(params), [estimated(group.settings, group.shape, group.n_tokens, threads) for group in groups]


def _device(params: Params) -> str:
    """What torch would compute on. It is asked only where there may be something to find: loading it takes seconds."""
    device = params.training.device
    if device == "auto" and (sys.platform == "darwin" or any(Path(place).exists() for place in _GPUS)):
        import torch

        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return "cpu" if device == "auto" else device


def _measured(params: Params, groups: Sequence[Group], within: float) -> tuple[str, list[Rates]]:
    """Each group that has something to do, in its share of the time; of the others, and where that fails, the estimate."""
    # A group's model is gone before the next one's is made: they may be large.
    from itrcore.device import make_accelerator
    from itrcore.progress import count_bars
    from itrcore.training.rehearsal import Rehearsal

    device = make_accelerator(params.training).device.type
    _, rates = _estimated(params, groups)
    waiting = [at for at, group in enumerate(groups) if group.to_train or group.to_evaluate]
    remark(f"Measuring steps of {len(waiting)} kinds of runs, which takes about {within:.0f} s at most …")
    end, left_out = time.monotonic() + within, list[str]()
    with count_bars() as bars:
        for done, at in enumerate(waiting):
            bars.show("measured", done, len(waiting))
            group, share = groups[at], (end - time.monotonic()) / (len(waiting) - done)
            if share <= 0:
                left_out.append(f"{group.method} on {group.data}")
                continue
            try:
                rates[at] = Rehearsal(group.settings, params.training, group.shape, group.n_tokens, group.data).rates(
                    share
                )
            except Exception as error:  # of a library or for want of memory: the other groups can still be measured
                warn(f"{group.method} on {group.data} cannot be measured here: {first_line(error)}")
    if left_out:
        warn(f"no time was left to measure {', '.join(left_out)}; give more with --within SECONDS")
    remark("")
    return device, rates


def _described(params: Params, groups: Sequence[Group], device: str, rates: Sequence[Rates]) -> Iterator[str]:
    """Runs that differ only in their seed below one heading, with what one costs; then the ensembles."""
    for group, rate in zip(groups, rates, strict=True):
        yield f"{group.method} on {group.data}, {group.changes}"
        if group.trainings:
            recipe = group.settings.recipe
            yield f"  {recipe.epochs} epochs, batch {recipe.batch_size}, learning rate {recipe.learning_rate:g}"
            yield f"  {_cost(params, group, device, rate)}"
        for name in group.names:
            trained = " (trained)" if name in {*group.trainings} - {*group.to_train} else ""
            state = trained if name in group.to_evaluate else " (done)"
            yield f"  {_origin(params.runs[name])}: {name}{state}"
        yield ""
    for name, ensemble in params.ensembles.items():
        yield f"ensemble {name} on {ensemble.data}"
        yield from (f"  {run}" for run in ensemble.runs)
        yield ""
    for name, each in params.transfers.items():
        yield f"transfer {name}: {each.run}, trained on {each.trained_on}, evaluated on {each.data}"


def _cost(params: Params, group: Group, device: str, rate: Rates) -> str:
    from itrcore.costs import words
    from itrcore.costs.rates import times

    if group.counts is None or group.steps is None:
        return f"steps: known after dvc repro splits@{group.data}"
    each = f" each, {len(group.trainings)} times" if len(group.trainings) > 1 else ""
    if rate.how == "estimated" and device != "cpu":  # the estimate is for a CPU
        return f"{group.steps:,} steps{each}"
    taken = times(rate, group.settings, group.counts, params.training.selection.captions)
    dev = f", {words.time(taken.dev)} of it for dev" if taken.dev > 0.1 * taken.steps else ""
    how = " (from smaller batches)" if rate.how == "measured in smaller batches" else ""
    about = "roughly" if rate.how == "estimated" else "about"
    return f"{group.steps:,} steps{each}: {about} {words.time(taken.steps + taken.dev)}{dev}{how}"


def _origin(run: RunSettings) -> str:
    if run.checkpoint is not None:
        return f"imported from {run.checkpoint.source or run.checkpoint.path}"
    return "zero-shot" if run.seed is None else f"seed {run.seed}"


def _summary(params: Params, groups: Sequence[Group], device: str, rates: Sequence[Rates]) -> Iterator[str]:
    """What is to do in all, how long it takes and on what, what is downloaded, and what disks it fills."""
    to_train, to_evaluate = (sum(len(getattr(group, kind)) for group in groups) for kind in ("to_train", "to_evaluate"))
    steps = sum((group.steps or 0) * len(group.to_train) for group in groups)
    done = len(params.runs) - to_evaluate
    yield f"To do: {to_train} trainings ({steps:,} steps), {to_evaluate} evaluations; {done} runs are done"
    yield from _duration(params, groups, device, rates)
    for name, (setting, path) in _missing(params).items():
        yield f"Not there: {path}, which is {setting}; without it dvc repro stops at {name}"


def _missing(params: Params) -> dict[str, tuple[str, str]]:
    """Of each data set that reads what is not there, and what no download or step makes: the setting, and its path."""
    found = dict[str, tuple[str, str]]()
    for name, dataset in params.datasets.items():
        for key, path in {"reads": dataset.reads, **dataset.paths()}.items():
            made = PurePath(path).parts[:1] in (layout.DOWNLOADS.parts, layout.code("x").parts[:1])
            if not made and not Path(path).exists():
                found[name] = f"datasets.{name}.{key}", str(path)
                break
    return found


def _duration(params: Params, groups: Sequence[Group], device: str, rates: Sequence[Rates]) -> Iterator[str]:
    """How long all that is to do takes, one run after the other."""
    from itrcore.costs import words
    from itrcore.costs.rates import LONG_ON_CPU, times

    total, longest, measured = 0.0, 0.0, True
    for group, rate in zip(groups, rates, strict=True):
        if group.counts is None or not group.to_evaluate:
            continue
        taken = times(rate, group.settings, group.counts, params.training.selection.captions)
        total += len(group.to_train) * (taken.steps + taken.dev) + len(group.to_evaluate) * taken.test
        longest = max(longest, taken.steps if group.to_train else 0.0)
        measured &= rate.how != "estimated"
    unknown = sorted({group.data for group in groups if group.counts is None})
    if unknown:
        yield f"How much {', '.join(unknown)} holds is known after the stage splits; it is not counted here"
    if not total:
        return
    if device != "cpu" and not measured:
        yield f"On {device}: how long that takes, itr check --cost measures"
        return
    where = "this CPU" if device == "cpu" else device
    found = "No GPU found: " if device == "cpu" and params.training.device == "auto" else "In all "
    how, remark = ("about", "") if measured else ("roughly", "; itr check --cost measures it")
    yield f"{found}{how} {words.time(total)} on {where}{remark}"
    if device == "cpu" and params.training.device == "auto" and longest > LONG_ON_CPU:
        yield from _prose("A training of more than a day stops on a CPU unless training.device is cpu")


@dataclass(frozen=True)
class _Room:
    """What is downloaded, and what disks it fills."""

    downloads: Sequence[Missing]
    disks: Sequence[Disk]

    def lines(self) -> Iterator[str]:
        """For people."""
        from itrcore.costs import words

        known = sum(part.bytes or 0 for part in self.downloads)
        unknown = ", ".join(part.name for part in self.downloads if part.bytes is None)
        sizes = [words.size(known)] * bool(known) + [f"of unknown size {unknown}"] * bool(unknown)
        yield from _prose(f"Downloads: {' and '.join(sizes) or 'none'}")
        for disk in self.disks:
            named = [f"{need.name} {words.size(need.bytes)}" for need in disk.needs]
            yield from _prose(
                f"Disk: about {words.size(disk.bytes)} more, {words.size(disk.free)} are free ({', '.join(named)})"
            )
        yield ""


def _room(params: Params, groups: Sequence[Group], rates: Sequence[Rates]) -> _Room:
    """With a warning for each disk that is too small."""
    from itrcore.costs import words
    from itrcore.costs.disk import disks, needs
    from itrcore.costs.downloads import missing

    parts = missing(params, groups)
    known = sum(part.bytes or 0 for part in parts)
    found = disks(needs(params, groups, [rate.parameters for rate in rates], known))
    for disk in found:
        if disk.bytes > disk.free:
            warn(
                f"the disk of {disk.where} has {words.size(disk.free)} free, and about {words.size(disk.bytes)} will be "
                "written there; make room, or let a folder of it be a link to a larger disk (docs/data.md)"
            )
    return _Room(parts, found)


def _prose(text: str) -> Iterator[str]:
    """Lines of text that no terminal cuts."""
    yield from wrap(text, _COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
