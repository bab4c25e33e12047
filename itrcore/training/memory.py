"""What is said where a step of a training needs more memory than there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from itrcore.errors import TrainingError, first_line
from itrcore.layers import together

# In messages of the CPU's allocator, CUDA, its libraries and oneDNN, which have no error of their own kind for it.
_WORDS = ("can't allocate memory", "bad_alloc", "out of memory", "ALLOC_FAILED", "could not create a")
_REMEDIES = (
    "What takes less: a lower recipe.batch_size in a profile, which changes results; training.precision: bf16 on a GPU; "
    "model.text.freeze: true for a BERT; no other program on this GPU; training.features: host. Else run it where there is more."
)


def ran_out(error: Exception) -> bool:
    """Whether an error says that there is no memory left, of a GPU or of the system."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def half(pairs: int, parts: int | None, said: str) -> int:
    """How many pairs a part may have from now on. pairs: of this process's batch; parts: before; said: by torch

    `TrainingError` where they cannot be fewer, and where several processes train: only one of them may have run out, and the others
    wait for it.
    """
    now = min(parts or pairs, pairs)
    if together.count() > 1:
        do = f"Set training.micro_batch: {max(1, now // 2)}, or less, in params.yaml: the loss stays that of the whole batch."
        raise TrainingError(
            f"out of memory at {now} pairs at once in each of {together.count()} processes ({said}). {do}"
        )
    if now == 1:
        raise TrainingError(
            f"out of memory at {pairs} pairs a step, even with one pair encoded at a time ({said}). {_REMEDIES}"
        )
    return -(-now // 2)


@contextmanager
def explained(pairs: int) -> Iterator[None]:
    """Around what needs memory for all parameters, whatever the batch: `TrainingError` where there is none."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise TrainingError(
            f"out of memory where gradients become new weights, after a step of {pairs} pairs ({first_line(error)}). {_REMEDIES}"
        ) from error
