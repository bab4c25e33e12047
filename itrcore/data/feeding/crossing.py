"""Batches on their way to a device: the next one crosses while the device computes with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from itrcore.data.feeding.batches import Batch
from itrcore.data.feeding.split import Split
from itrcore.errors import ConfigError

_SHARE = 0.4  # of a GPU's free memory that images may take without being asked to


def fed(splits: Sequence[Split], device: torch.device, features: str) -> list[Split]:
    """Splits whose batches go to a device. features: `training.features`

    `ConfigError` where all images are to be on a GPU that has no room for them.
    """
    size = sum(split.images.n_bytes for split in splits)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    if features == "device" and free is not None and size > free:
        raise ConfigError(
            f"training.features is device, but the images take {size / 1e9:.1f} GB and {device} has {free / 1e9:.1f} GB free; "
            "set it to auto or host"
        )
    hold = features == "device" or (features == "auto" and free is not None and size <= _SHARE * free)
    return [split.feeding(device, hold) for split in splits]


def ready(batch: Batch, device: torch.device) -> Batch:
    """The batch as it crosses best."""
    return batch.pinned() if device.type == "cuda" else batch


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches on a device, in order. To a GPU each crosses on a stream of its own, one step ahead; see `ready`.

    Those of features that the GPU holds stay on the stream that computes, which gathers them: another one would not wait for that.
    """
    if device.type != "cuda":
        yield from (batch.to(device) for batch in batches)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    crossing: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        if batch.tensors()[0].is_cuda:
            yield batch.to(device)
            continue
        with torch.cuda.stream(stream):
            following = batch.to(device), stream.record_event()
        if crossing is not None:
            yield _arrived(*crossing)
        crossing = following
    if crossing is not None:
        yield _arrived(*crossing)


def _arrived(batch: Batch, event: torch.cuda.Event) -> Batch:
    """Once it is there the device goes on; the CPU does not wait."""
    using = torch.cuda.current_stream()
    using.wait_event(event)
    for values in batch.tensors():
        values.record_stream(using)  # its memory is not used again before
    return batch
