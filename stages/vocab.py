"""Stage `vocab@<data>`: the vocabulary of train and dev, or a released one; word pieces; GloVe vectors."""

from __future__ import annotations

from pathlib import Path

from itrcore import intact, layout
from itrcore.data import captions
from itrcore.data.source import Source
from itrcore.data.sources import obtain
from itrcore.data.text import glove
from itrcore.data.text.vocabulary import Vocabulary, splitter_for
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.files import replacing, write_json
from itrcore.settings.datasets import VocabularySettings
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Build or take over the vocabulary; train word pieces and look up GloVe vectors, where the settings have them."""
    settings = params.dataset(name).vocabulary
    with replacing(layout.vocabulary(name)) as folder:
        folder.mkdir(parents=True)
        texts = [
            caption
            for split in ("train", "dev")
            for image in captions.read(layout.captions(name), split)
            for caption in image.captions
        ]
        vocabulary = _words(name, settings, texts)
        vocabulary.save(folder / layout.WORDS)
        how = "with" if vocabulary.splitter.sentence_data else "without"
        say(f"{name}: {len(vocabulary):,} words, captions split {how} nltk's sentence data")
        if settings.word_pieces:
            pieces = WordPieces.train(texts, settings.word_pieces.pieces, settings.word_pieces.min_count)
            pieces.save_vocabulary(folder / layout.PIECES)
            say(f"{name}: {len(pieces):,} word pieces")
        if settings.glove:
            vectors = glove.look_up(Path(settings.glove.file), vocabulary.words, settings.glove.width)
            vectors.save(folder / layout.VECTORS)
            missing = vectors.missing(vocabulary.words)
            record = {
                "source": vectors.source,
                "sha256": vectors.sha256,
                "hit_rate": vectors.hit_rate,
                "missing": missing,
            }
            write_json(folder / "glove.json", record)
            say(
                f"{name}: {len(vocabulary) - len(missing):,} of {len(vocabulary):,} words ({100 * vectors.hit_rate:.1f} %) "
                f"have a vector in {vectors.source}; {layout.vocabulary(name) / 'glove.json'} lists the others"
            )
        intact.seal(folder)


def _words(name: str, settings: VocabularySettings, texts: list[str]) -> Vocabulary:
    if settings.released:
        return Vocabulary.load(_released(name, settings.released), layout.NLTK)
    return Vocabulary.build(texts, settings.min_count, splitter_for(layout.NLTK))


def _released(name: str, given: str) -> Path:
    if given != "found":
        return Path(given)
    source = Source.read(layout.raw(name))
    obtain.check_unchanged(source, layout.raw(name), ".json")
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
