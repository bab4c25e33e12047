"""CLIP in released checkpoints: what the weights say of its towers, its tokens, and what the released code builds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrcore import layout
from itrcore.assets.clip import CLIPSource, CLIPText
from itrcore.data.text.clip_tokens import CLIPTokens
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.pretrained import clip
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Shape, Size, Sizes, Unused, Weights, axis, is_coco
from itrcore.released.rules import Rule
from itrcore.released.text import clip_vocabulary, openai_clip
from itrcore.released.text.heads import attention_heads
from itrcore.released.text.openai_clip import TEXT, VISION
from itrcore.released.text.vocabularies import check_size, of_data
from itrcore.settings.encoders import CLIPSettings, CLIPShape

if TYPE_CHECKING:
    from transformers import CLIPConfig

RULES: tuple[Rule, ...] = openai_clip.RULES
UNUSED: Mapping[str, Unused] = {
    f"clip.{tower}embeddings.position_ids": Unused("0, 1, 2, …: a constant that transformers up to 4.30 writes")
    for tower in (TEXT, VISION)
}
BUILT: Mapping[str, Shape] = {}
N_TOKENS: Size = axis(f"clip.{TEXT}embeddings.token_embedding.weight", 0)

_HEADS = ("image_heads", "text_heads")  # in the options of checkpoints exported here; no released code writes them
_OPENAI = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_STRIPPED: Mapping[str, str] = {"f30k": ".", "coco": ""}  # off both ends of a caption, before CLIP sees it
_SIZES = (
    ("patch", f"{VISION}embeddings.patch_embedding.weight", -1),
    ("image_hidden", f"{VISION}embeddings.class_embedding", 0),
    ("image_intermediate", f"{VISION}encoder.layers.0.mlp.fc1.weight", 0),
    ("text_hidden", f"{TEXT}embeddings.token_embedding.weight", -1),
    ("text_intermediate", f"{TEXT}encoder.layers.0.mlp.fc1.weight", 0),
    ("positions", f"{TEXT}embeddings.position_embedding.weight", 0),
)


def own_config(settings: CLIPSettings) -> CLIPConfig | None:
    """Of a CLIP whose folder the settings name."""
    path = Path(settings.weights) / "config.json"
    return clip.read_config(path) if path.is_file() else None


def source(
    checkpoint: Checkpoint,
    weights: Weights,
    settings: CLIPSettings,
    config: CLIPConfig | None,
    n_tokens: int,
    dim: int,
) -> CLIPSource:
    """A CLIP of the given configuration, else of the weights' sizes; what they do not tell is as in ViT-B/16.

    dim: of the vectors that both towers end in
    `DataError` where the number of a tower's attention heads cannot be known; see `attention_heads`.
    """
    config = config or clip.config_of(_sizes(checkpoint, weights, settings), n_tokens, dim)
    if settings.shape is not None:
        settings = settings.model_copy(update={"shape": _shape(config)})
    return CLIPSource(settings, config)


def side(sizes: Sizes[Any, CLIPSource], vocabulary: Path | None, data: str) -> CLIPText:
    """With the tokens of a given list, else of the CLIP that the settings name; one at random has word pieces.

    vocabulary: OpenAI's list of byte pairs or a tokenizer.json; for a CLIP that starts at random, a vocab.txt
    `DataError` where they cannot be had, or are not as many as the checkpoint's.
    """
    settings = sizes.source.settings
    tokens: CLIPTokens | WordPieces
    where = settings.weights
    if settings.shape is not None:
        path = vocabulary or of_data(data, layout.PIECES)
        where, tokens = str(path), WordPieces.read(path)
    elif vocabulary is not None:
        where, tokens = str(vocabulary), clip_vocabulary.read(vocabulary)
    else:
        try:
            tokens = CLIPTokens.pretrained(where, settings.revision)
        except DataError as error:
            files = f"tokenizer.json or OpenAI's {clip_vocabulary.NAME}"
            raise DataError(f"{error} Or name the CLIP's {files} with --vocab.") from error
    check_size(where, len(tokens), sizes.n_tokens)
    return CLIPText(settings, tokens, sizes.source.config)


def own_vocabulary(settings: CLIPSettings, data: str) -> str:
    """The published CLIP's, else the data set's."""
    return f"the tokens of {settings.weights}" if settings.shape is None else f"the vocabulary of {data}"


def options(source: CLIPSource) -> dict[str, Any]:
    """What OpenAI's code builds, and what an import here cannot tell from the weights."""
    shape = _shape(source.config)
    return {
        "input_res": shape.picture,
        "clip_arch": "none of OpenAI's" if any(_other_sizes(source.config)) else _published_name(source.config),
        **{key: getattr(shape, key) for key in _HEADS},
    }


def other_values(text: CLIPText, data: str) -> Iterator[str]:
    """Where it is none of OpenAI's, or reads captions otherwise than the released code does."""
    yield from _other_sizes(text.config)
    for tower in ("vision", "text"):
        for key, value in _OPENAI.items():
            if (ours := getattr(getattr(text.config, f"{tower}_config"), key)) != value:
                yield f"the {key} of its CLIP's {tower} tower is {ours}; the released code builds OpenAI's, with {value}"
    name = "coco" if is_coco(data) else "f30k"
    if (strip := text.tokeniser.strip) != _STRIPPED[name]:
        yield f"{strip!r} is stripped off its captions; the released code strips {_STRIPPED[name]!r} off {name}'s"


def _sizes(checkpoint: Checkpoint, weights: Weights, settings: CLIPSettings) -> CLIPShape:
    """The sizes of both towers as the weights have them."""
    known = openai_clip.BASE.model_dump()
    for key, name, number in _SIZES:
        if (tensor := weights.get(f"clip.{name}")) is not None and tensor.dim():
            known[key] = tensor.shape[number]
    for key, tower in (("image_layers", VISION), ("text_layers", TEXT)):
        pattern = re.compile(rf"clip\.{re.escape(tower)}encoder\.layers\.(\d+)\.")
        known[key] = len({match[1] for match in map(pattern.match, weights) if match}) or known[key]
    cells = weights.get(f"clip.{VISION}embeddings.position_embedding.weight")
    if cells is not None and cells.dim() and len(cells):
        known["picture"] = known["patch"] * math.isqrt(len(cells) - 1)  # the first is the class token's
    for key, tower in zip(_HEADS, ("image", "text"), strict=True):
        width = f"{tower}_hidden"
        shape = settings.shape
        configured = (getattr(shape, width), getattr(shape, key)) if shape is not None else None
        known[key] = attention_heads(checkpoint, key, known[width], configured, f"CLIP's {tower} tower")
    return CLIPShape.model_validate(known)


def _shape(config: CLIPConfig) -> CLIPShape:
    """The configuration as `shape` in a method's settings."""
    image: Any = config.vision_config
    text: Any = config.text_config
    return CLIPShape(
        picture=image.image_size,
        patch=image.patch_size,
        image_hidden=image.hidden_size,
        image_layers=image.num_hidden_layers,
        image_heads=image.num_attention_heads,
        image_intermediate=image.intermediate_size,
        text_hidden=text.hidden_size,
        text_layers=text.num_hidden_layers,
        text_heads=text.num_attention_heads,
        text_intermediate=text.intermediate_size,
        positions=text.max_position_embeddings,
    )


def _other_sizes(config: CLIPConfig) -> Iterator[str]:
    """Where it has not the sizes of one of OpenAI's."""
    tower: Any = config.text_config
    name = _published_name(config)
    if name is None:
        names = ", ".join(openai_clip.PUBLISHED)
        yield f"its CLIP has the sizes of none of OpenAI's; the released code builds these alone: {names}"
    elif config.projection_dim != (width := openai_clip.projection(openai_clip.PUBLISHED[name])):
        yield f"its CLIP's vectors have {config.projection_dim} dimensions; those of OpenAI's {name} have {width}"
    if tower.vocab_size != openai_clip.N_TOKENS:
        yield f"its CLIP has {tower.vocab_size} tokens; the released code builds OpenAI's, with {openai_clip.N_TOKENS}"


def _published_name(config: CLIPConfig) -> str | None:
    """The name by which `load_clip` knows a CLIP whose towers have these sizes; None where OpenAI released none."""
    own = _shape(config)
    return next((name for name, theirs in openai_clip.PUBLISHED.items() if theirs == own), None)
