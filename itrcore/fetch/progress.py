"""What a download tells about itself while it runs; silent here, shown by the stage."""

from __future__ import annotations


class Progress:
    """Hooks that do nothing; a subclass shows them."""

    def bytes(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of `what` are there; total is None where the server does not say."""

    def say(self, line: str) -> None:
        """Something is finished, or is given up."""


SILENT = Progress()
