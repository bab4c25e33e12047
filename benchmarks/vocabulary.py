"""Seconds that building a vocabulary takes, and how its words differ from those of released copies.

    python -m benchmarks.vocabulary f30k_precomp --nltk nltk_data --released f30k_precomp_vocab.json --json vocabulary.json

The folder holds train and dev captions in SCAN's layout; without `--nltk` (a folder of nltk data with punkt_tab) captions
are not split into sentences, and some words differ.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from itrcore.data import scan
from itrcore.data.text import punkt
from itrcore.data.text.vocabulary import Vocabulary, splitter_for
from itrcore.files import read_json, write_json
from itrcore.settings.load import load

LIMIT_SECONDS = 20.0  # what the project promises for Flickr30K's 145,000 captions on 2 cores
MIN_COUNT = 4  # SCAN's


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nltk", type=Path, help="a folder of nltk data")
    parser.add_argument("--released", type=Path, nargs="*", default=[], help="released vocabularies to compare with")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    captions = [
        text for split in ("train", "dev") for group in scan.read_captions(given.folder, split)[1] for text in group
    ]
    with tempfile.TemporaryDirectory() as folder:
        sources = [str(given.nltk)] if given.nltk else []
        punkt.fetch(load().nltk.model_copy(update={"sources": sources}), Path(folder, "nltk"))
        started = time.perf_counter()
        built = Vocabulary.build(captions, MIN_COUNT, splitter_for(Path(folder, "nltk")))
        seconds = time.perf_counter() - started
    print(f"{len(captions):,} captions, {len(built):,} words, {seconds:.1f} s on {os.cpu_count()} cores")
    copies = {str(path): set(read_json(path)["word2idx"]) for path in given.released}
    differing = {path: sorted(words ^ set(built.words)) for path, words in copies.items()}
    for path, words in differing.items():
        print(f"{path}: {len(copies[path]):,} words, {len(words)} in one of the two only: {' '.join(words)}")
    if given.json:
        write_json(
            given.json,
            {"captions": len(captions), "words": len(built), "seconds": seconds, "differing": differing},
        )
    return 0 if seconds <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
