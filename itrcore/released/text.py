"""The text side of an imported run: the checkpoint's own vocabulary, and the configuration of its BERT or CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itrcore import layout
from itrcore.assets.clip import CLIPSource, CLIPText
from itrcore.assets.pieces import BertSource, Pieces
from itrcore.assets.text import TextSide
from itrcore.assets.words import Words
from itrcore.data.text.clip_tokens import CLIPTokens
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.pretrained import bert, clip
from itrcore.released import clip_vocabulary
from itrcore.released.convert import Sizes
from itrcore.settings.encoders import BertSettings, BiGRUSettings, CLIPSettings
from itrcore.settings.methods import MethodSettings

if TYPE_CHECKING:
    from transformers import BertConfig, CLIPConfig


def text_of(sizes: Sizes, vocabulary: Path | None, data: str) -> TextSide:
    """The text side with a given vocabulary, else with that of the data set or of the BERT or CLIP that settings name.

    `DataError` where there is none, or it has another size than the checkpoint.
    """
    source = sizes.source
    if vocabulary is not None and not vocabulary.is_file():
        raise DataError.at(vocabulary, "no such file", "the vocabulary that the checkpoint was trained with")
    match source:
        case BertSource(settings, config):
            return Pieces(settings, _pieces(settings, vocabulary, data, sizes.n_tokens), config)
        case CLIPSource(settings, config):
            return CLIPText(settings, _tokens(settings, vocabulary, data, sizes.n_tokens), config)
    path = vocabulary or _of_data(data, layout.WORDS)
    words = Vocabulary.load(path, layout.NLTK)
    _check_size(path, words.token_ids.size, sizes.n_tokens)
    return Words(source.settings, words)


def own_vocabulary(settings: MethodSettings, data: str) -> str:
    """What a run that was given no vocabulary is read with, for people."""
    text = settings.model.text
    if isinstance(text, BertSettings | CLIPSettings) and text.shape is None:
        return f"the {'word pieces' if isinstance(text, BertSettings) else 'tokens'} of {text.weights}"
    return f"the vocabulary of {data}"


def config_of(settings: MethodSettings) -> BertConfig | CLIPConfig | None:
    """Of a BERT or CLIP whose folder the settings name; weights alone do not tell all of it."""
    text = settings.model.text
    if isinstance(text, BiGRUSettings) or not (path := Path(text.weights) / "config.json").is_file():
        return None
    return bert.read_config(path) if isinstance(text, BertSettings) else clip.read_config(path)


def _pieces(settings: BertSettings, vocabulary: Path | None, data: str, wanted: int) -> WordPieces:
    where = settings.weights
    if vocabulary is None and settings.shape is None:
        try:
            pieces = WordPieces.pretrained(where, settings.revision)
        except DataError as error:
            raise DataError(f"{error} Or name the BERT's vocab.txt with --vocab.") from error
    else:
        path = vocabulary or _of_data(data, layout.PIECES)
        where, pieces = str(path), WordPieces.read(path)
    _check_size(where, len(pieces), wanted)
    return pieces


def _tokens(settings: CLIPSettings, vocabulary: Path | None, data: str, wanted: int) -> CLIPTokens | WordPieces:
    tokens: CLIPTokens | WordPieces
    where = settings.weights
    if settings.shape is not None:
        path = vocabulary or _of_data(data, layout.PIECES)
        where, tokens = str(path), WordPieces.read(path)
    elif vocabulary is not None:
        where, tokens = str(vocabulary), clip_vocabulary.read(vocabulary)
    else:
        try:
            tokens = CLIPTokens.pretrained(where, settings.revision)
        except DataError as error:
            files = f"tokenizer.json or OpenAI's {clip_vocabulary.NAME}"
            raise DataError(f"{error} Or name the CLIP's {files} with --vocab.") from error
    _check_size(where, len(tokens), wanted)
    return tokens


def _of_data(data: str, file: str) -> Path:
    path = layout.vocabulary(data) / file
    if not path.exists():
        raise DataError.at(
            path,
            "no such file",
            f"the vocabulary of {data}",
            do=f"Run: dvc repro vocab@{data}. Or name the checkpoint's own with --vocab.",
        )
    return path


def _check_size(path: Path | str, tokens: int, wanted: int) -> None:
    if tokens != wanted:
        raise DataError.at(
            path,
            f"a vocabulary of {tokens} tokens, the mask token included",
            f"{wanted}, as many as the checkpoint has embeddings for",
            do="A checkpoint works with the vocabulary that it was trained with and no other: name it with --vocab.",
        )
