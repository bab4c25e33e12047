"""CPU seconds that processes take before they do anything: the command line, each stage, and all that a BiGRU training imports.

    python -m benchmarks.startup --runs 5 --json startup.json

User and system time together, the least of several runs; and as a ratio to `import torch` in the same run: compare these
ratios between machines. The demo starts about thirty processes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from itrcore import layout
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.files import write_json

ROOT = Path(__file__).parents[1]
COMMAND_LIMIT = 0.5  # seconds that `itr --help` and `itr check` may take on an idle core, which is all CPU time
TORCH = "import torch"
# The text side is opened, and torch's optimisers import its compiler when the first of them is made.
TRAINING = """
from pathlib import Path
import torch
import stages.train
from itrcore.data.text.vocabulary import Vocabulary
words = Vocabulary.load(Path({words!r}), Path("no nltk data"))
words.encode("a man rides a horse")
torch.optim.AdamW(torch.nn.GRU(2, 2).parameters())
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="of each process; the least counts")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, layout.WORDS)
        Vocabulary.build(["a man rides a horse"], 1, WordSplitter(None)).save(words)
        codes = {
            "torch": TORCH,
            **{f"itr {argument}": _command(argument) for argument in ("--help", "check")},
            **{f"stages.{name}": f"import stages.{name}" for name in _stages()},
            "a BiGRU training": TRAINING.format(words=str(words)),
        }
        seconds = {name: min(_cpu_seconds(code) for _ in range(given.runs)) for name, code in codes.items()}
    print(f"{'':<20} CPU s  / torch")
    for name, taken in seconds.items():
        print(f"{name:<20} {taken:5.2f} {taken / seconds['torch']:8.2f}")
    if given.json:
        write_json(
            given.json,
            {
                "runs": given.runs,
                "cores": os.cpu_count(),
                "seconds": seconds,
                "of_torch": {name: taken / seconds["torch"] for name, taken in seconds.items()},
            },
        )
    return 0 if max(seconds[f"itr {argument}"] for argument in ("--help", "check")) <= COMMAND_LIMIT else 1


def _command(argument: str) -> str:
    return f"from itrcore.cli.app import app; app([{argument!r}])"


def _stages() -> list[str]:
    return sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")


def _cpu_seconds(code: str) -> float:
    """Of a fresh process, from its start to its end."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    sys.exit(main())
