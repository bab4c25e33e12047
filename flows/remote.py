"""What flows do with DVC's remote, as a process that ends with the flow: python -m flows.remote send|fetch|take …

send TARGET…: what stages made; fetch TARGET…: what any machine made by them of the inputs that are here, up to the first that is
not there; take PATH=DIGEST…: outputs that another machine has sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from flows.targets import TargetFailed, run
from itrcore import remote
from itrcore.terminal import user_errors

_FOUND = " is cached - skipping run"  # as DVC says it
_LAST_LINES = 15


def send(targets: Sequence[str], hear: Callable[[str], None]) -> None:
    """Put what stages made into the default remote. hear: called with each line of output; `TargetFailed`"""
    _run("send", targets, hear)


def fetch(targets: Sequence[str], hear: Callable[[str], None]) -> set[str]:
    """Those of the stages whose outputs the remote has, which are here now. Otherwise as `send`."""
    return {line.removesuffix(_FOUND) for line in _run("fetch", targets, hear) if line.endswith(_FOUND)}


def take(given: Mapping[str, str], hear: Callable[[str], None]) -> None:
    """Get outputs that another machine has sent: path → digest. Otherwise as `send`."""
    _run("take", [f"{path}={digest}" for path, digest in given.items()], hear)


def _run(what: str, arguments: Sequence[str], hear: Callable[[str], None]) -> list[str]:
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        hear(line)

    if code := run([sys.executable, "-m", __name__, what, *arguments], keep):
        raise TargetFailed(f"DVC's remote: {what} failed (exit status {code})", lines[-_LAST_LINES:])
    return lines


def main(what: str, *arguments: str) -> None:
    """The process."""
    with user_errors():
        if what == "send":
            remote.send(arguments)
        elif what == "fetch":
            found = remote.fetched(arguments)
            for target in arguments:
                if target in found:
                    print(f"{target}{_FOUND}")
        else:
            remote.take(dict(argument.rsplit("=", 1) for argument in arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
