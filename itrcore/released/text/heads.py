"""How many attention heads a checkpoint's transformer has, which no weight's shape tells."""

from __future__ import annotations

from itrcore.errors import DataError
from itrcore.released.checkpoint import Checkpoint


def attention_heads(
    checkpoint: Checkpoint, option: str, hidden: int, configured: tuple[int, int] | None, of: str
) -> int:
    """The number of heads: the checkpoint's option if it divides `hidden`; else that of the settings if they have as many
    dimensions; else one per 64 dimensions, as in all BERTs and CLIPs of the original authors.

    option: its name; hidden: dimensions of the transformer; of: what users call it
    configured: dimensions and heads in the settings of one that starts at random; None: the settings have no sizes
    `DataError` where none of the three tells.
    """
    if isinstance(given := checkpoint.options.get(option), int) and given > 0 and hidden % given == 0:
        return given
    if configured is not None and configured[0] == hidden:
        return configured[1]
    if hidden % 64 == 0:
        return hidden // 64
    raise DataError.at(
        checkpoint.path,
        f"its {of} has {hidden} dimensions, which do not tell how many attention heads it has",
        "a multiple of 64",
        do="Lay a profile with its text.shape over the method, and name that with --profile.",
    )
