"""What flows do with DVC's remote, as a process that ends with the flow: python -m flows.remote send|fetch|take …

send TARGET…: what stages made; fetch PATH=DIGEST… TARGET…: outputs that another machine has sent, then what any machine made by
stages of the inputs that are here, up to the first that is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from flows.targets import LAST_LINES, TargetFailed, run
from itrcore import remote
from itrcore.terminal import user_errors

_FOUND = " is cached - skipping run"  # as DVC says it


def send(targets: Sequence[str], hear: Callable[[str], None]) -> None:
    """Put what stages made into the default remote. hear: called with each line of output; `TargetFailed`"""
    _run("send", targets, hear)


def fetch(targets: Sequence[str], hear: Callable[[str], None], given: Mapping[str, str] | None = None) -> set[str]:
    """Those of the stages whose outputs the remote has, which are here now. Otherwise as `send`.

    given: path → digest of outputs that another machine has sent, to be put in place before
    """
    arguments = [*(f"{path}={digest}" for path, digest in (given or {}).items()), *targets]
    return {line.removesuffix(_FOUND) for line in _run("fetch", arguments, hear) if line.endswith(_FOUND)}


def _run(what: str, arguments: Sequence[str], hear: Callable[[str], None]) -> list[str]:
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        hear(line)

    if code := run([sys.executable, "-m", __name__, what, *arguments], keep):
        raise TargetFailed(f"DVC's remote: {what} failed (exit status {code})", lines[-LAST_LINES:])
    return lines


def main(what: str, *arguments: str) -> None:
    """The process."""
    with user_errors():
        if what == "send":
            remote.send(arguments)
            return
        given = dict(argument.rsplit("=", 1) for argument in arguments if "=" in argument)
        if given:
            remote.take(given)
        targets = [argument for argument in arguments if "=" not in argument]
        found = remote.fetched(targets)
        for target in targets:
            if target in found:
                print(f"{target}{_FOUND}")


if __name__ == "__main__":
    main(*sys.argv[1:])
