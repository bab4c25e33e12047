"""Batches on their way to a device: the next one crosses while the device computes with one."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from itrcore.data.feeding.batches import Batch


def ready(batch: Batch, device: torch.device) -> Batch:
    """The batch as it crosses best."""
    return batch.pinned() if device.type == "cuda" else batch


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches on a device, in order. To a GPU each crosses on a stream of its own, one step ahead; see `ready`."""
    if device.type != "cuda":
        yield from (batch.to(device) for batch in batches)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    crossing: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
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
