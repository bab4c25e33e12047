"""Stage `vocab@<data>`: the vocabulary of train and dev, or a released one."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.config import Params
from itrcore.data import captions
from itrcore.data.vocabulary import Vocabulary, tokenizer_for
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Build (or take over) the vocabulary."""
    settings = params.dataset(name).vocabulary
    if settings.released:
        vocabulary = Vocabulary.load(Path(settings.released), layout.NLTK)
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


if __name__ == "__main__":
    run_stage(main)
