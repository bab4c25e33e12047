"""What all kinds of layers use: unit length, padded sets and their own rows, initial weights as published.

Nothing here or in the layers waits for the device. How many rows each set has is known on the CPU, and what follows from that,
such as an index of all rows, is made there and sent. A boolean index would be counted on the device first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def l2(x: Tensor, out: Tensor | None = None) -> Tensor:
    """(…, d) scaled to unit length along the last axis. As released, 1e-8 is added to the norm, outside the square root.

    out: where to write the result, if no gradient is needed
    """
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.div(x, norm + 1e-8, out=out)


def unit(x: Tensor) -> Tensor:
    """As `l2`, with nothing added to the norm."""
    scaled: Tensor = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return scaled


def widened(x: Tensor) -> Tensor:
    """In float32, if it is of a narrower type."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def length_mask(lengths: Tensor, longest: int, device: torch.device) -> Tensor:
    """(n, longest), True at the valid positions of each item: its first ones. lengths: (n,), how many"""
    return torch.arange(longest, device=device) < send(lengths, device)[:, None]


def send(values: Tensor, device: torch.device) -> Tensor:
    """Small values to a device, without waiting for its work. values: on the CPU"""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def pack(padded: Tensor, lengths: Tensor) -> Tensor:
    """The rows of all sets, one after the other. padded: (n, k, …); lengths: (n,) on the CPU, how many → (sum of lengths, …)"""
    rows = padded.flatten(0, 1)
    places = _places(lengths, padded.shape[1])
    return rows if places is None else rows.index_select(0, send(places, rows.device))


def unpack(rows: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """The reverse of `pack`: (sum of lengths, …) → (n, longest, …), filled up with 0."""
    places = _places(lengths, longest)
    if places is not None:
        padded = rows.new_zeros(len(lengths) * longest, *rows.shape[1:])
        rows = padded.index_copy(0, send(places, rows.device), rows)
    return rows.view(len(lengths), longest, *rows.shape[1:])


def _places(lengths: Tensor, longest: int) -> Tensor | None:
    """Where the rows of all sets are among those of the padded sets, all (n · longest); None where none is padded."""
    if int(lengths.min()) == longest:
        return None
    before = torch.arange(len(lengths)) * longest - (lengths.cumsum(0) - lengths)
    return torch.arange(int(lengths.sum())) + before.repeat_interleave(lengths)


def xavier(layer: nn.Linear) -> nn.Linear:
    """The layer, its weights drawn anew: uniform in ±sqrt(6 / (in + out)), bias 0."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def row_by_row(function: Callable[[Tensor], Tensor], sets: Tensor, lengths: Tensor) -> Tensor:
    """Apply a function to the rows of all sets; padded rows take no part and come out as 0.

    function: (rows, width) → (rows, d); sets: (n, k, width), padded; lengths: (n,) on the CPU → (n, k, d)
    """
    return unpack(function(pack(sets, lengths)), lengths, sets.shape[1])


def recurrent(gru: nn.GRU, sets: Tensor, lengths: Tensor) -> Tensor:
    """A bidirectional GRU over the rows of each set: the mean of the two directions, padded rows 0.

    sets: (n, k, width), padded; lengths: (n,) on the CPU → (n, k, d)
    """
    # Sorted here: torch sorts on the CPU too, but sends the order, and fetches it back, waiting for the device.
    order = lengths.sort(descending=True).indices  # the order that it takes
    packed = nn.utils.rnn.pack_padded_sequence(
        sets.index_select(0, send(order, sets.device)), lengths[order], batch_first=True
    )
    out, _ = nn.utils.rnn.pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=sets.shape[1])
    forward, backward = out.chunk(2, dim=-1)
    return ((forward + backward) / 2).index_select(0, send(order.argsort(), sets.device))
