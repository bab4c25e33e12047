"""Stage `vocab@<data>`: the vocabulary of train and dev, or a released one."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.config import Params
from itrcore.data import captions
from itrcore.data.source import Source
from itrcore.data.vocabulary import Vocabulary, tokenizer_for
from itrcore.errors import DataError
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Build (or take over) the vocabulary."""
    settings = params.dataset(name).vocabulary
    if settings.released:
        vocabulary = Vocabulary.load(_released(name, settings.released), layout.NLTK)
    else:
        texts = [
            caption
            for split in ("train", "dev")
            for image in captions.read(layout.captions(name), split)
            for caption in image.captions
        ]
        vocabulary = Vocabulary.build(texts, settings.min_count, tokenizer_for(layout.NLTK))
    vocabulary.save(layout.vocabulary(name))
    how = "with" if vocabulary.tokenizer.sentence_data else "without"
    print(f"{name}: {len(vocabulary):,} words, captions split {how} nltk's sentence data")


def _released(name: str, given: str) -> Path:
    if given != "found":
        return Path(given)
    source = Source.read(layout.raw(name))
    if source.vocabulary is None:
        raise DataError.at(
            source.folder or layout.raw(name),
            "no released vocabulary lies beside these files",
            "vocab/<name>_precomp_vocab.json as in SCAN's or VSE∞'s layout",
            do="Give vocabulary.released a path, or remove it to build one.",
        )
    return Path(source.vocabulary)


if __name__ == "__main__":
    run_stage(main)
