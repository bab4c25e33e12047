"""Stage `concepts@<data>`: what the training captions speak of, or the record that no concepts are asked for."""

from __future__ import annotations

import numpy as np

from itrcore import intact, layout
from itrcore.announce import announced
from itrcore.data import captions
from itrcore.data.text.glove import WordVectors
from itrcore.files import replacing
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage

_TAGGERS = {
    "nltk": "nltk's tagger and WordNet",
    "rules": "rules of this project, as nltk's tagger or WordNet is not there",
}


def main(params: Params, name: str) -> None:
    """Build the concepts of a data set, if its vocabulary has any."""
    settings = params.dataset(name).vocabulary
    with replacing(layout.concepts(name)) as folder:
        folder.mkdir(parents=True)
        if settings.concepts is None:
            intact.seal(folder)
            say(f"{name}: no concepts; datasets.{name}.vocabulary.concepts asks for some")
            return
        from itrcore.data.concepts.build import build  # here: importing nltk takes long

        texts = [text for image in captions.read(layout.captions(name), "train") for text in image.captions]
        known = _vectors(name) if settings.glove else None
        with announced(f"{name}: finding concepts in {len(texts):,} captions") as count:
            concepts = build(texts, settings.concepts, settings.min_count, layout.NLTK, known, count)
        concepts.save(folder)
    edges = int((concepts.graph > 0).sum()) - len(concepts)
    without = int((~concepts.vectors.any(1)).sum())
    source = "GloVe" if concepts.source == "glove" else "the captions themselves"
    say(
        f"{name}: {len(concepts)} concepts ({concepts.numbers}), {edges:,} edges; parts of speech by {_TAGGERS[concepts.tagger]}; "
        f"vectors from {source}" + (f", {without} without one" if without else "")
    )


def _vectors(name: str) -> dict[str, np.ndarray]:
    """The words of the vocabulary that GloVe has, and their vectors."""
    from itrcore.data.text.vocabulary import Vocabulary

    folder = layout.vocabulary(name)
    intact.check_sealed(folder)
    words = Vocabulary.load(folder / layout.WORDS, layout.NLTK).words
    glove = WordVectors.load(folder / layout.VECTORS)
    return {word: vector for word, vector, found in zip(words, glove.vectors, glove.found, strict=True) if found}


if __name__ == "__main__":
    run_stage(main)
