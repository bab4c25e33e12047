"""OpenAI's CLIP as its own code names it, and what a checkpoint's weights say of its towers' sizes.

ESL's released code builds CLIP by OpenAI's code (`load_clip`): queries, keys and values of an attention are one matrix, and
projections are the transposes of transformers'. Activation (QuickGELU) and all else are those of transformers' CLIP.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from itrcore.pretrained import clip
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.heads import attention_heads
from itrcore.released.rules import Rule, plain
from itrcore.settings.encoders import CLIPSettings, CLIPShape

if TYPE_CHECKING:
    from transformers import CLIPConfig

# What OpenAI released with one vector of 64 dimensions per attention head, by the name that `load_clip` takes.
_BASE = CLIPShape(
    picture=224,
    patch=16,
    image_hidden=768,
    image_layers=12,
    image_heads=12,
    image_intermediate=3072,
    text_hidden=512,
    text_layers=12,
    text_heads=8,
    text_intermediate=2048,
    positions=77,
)
_LARGE = _BASE.model_copy(
    update={
        "patch": 14,
        "image_hidden": 1024,
        "image_layers": 24,
        "image_heads": 16,
        "image_intermediate": 4096,
        "text_hidden": 768,
        "text_heads": 12,
        "text_intermediate": 3072,
    }
)
PUBLISHED: dict[str, CLIPShape] = {
    "ViT-B/16": _BASE,
    "ViT-B/32": _BASE.model_copy(update={"patch": 32}),
    "ViT-L/14": _LARGE,
    "ViT-L/14@336px": _LARGE.model_copy(update={"picture": 336}),
}


def _tower(released: str, ours: str) -> tuple[Rule, ...]:
    block, layer = f"clip.{released}transformer.resblocks.#.", f"clip.{ours}encoder.layers.#."
    fused = [
        Rule(f"{block}attn.in_proj_{kind}", tuple(f"{layer}self_attn.{part}_proj.{kind}" for part in "qkv"))
        for kind in ("weight", "bias")
    ]
    names = {
        "attn.out_proj.": "self_attn.out_proj.",
        "ln_1.": "layer_norm1.",
        "ln_2.": "layer_norm2.",
        "mlp.c_fc.": "mlp.fc1.",
        "mlp.c_proj.": "mlp.fc2.",
    }
    return (*fused, *plain({block + theirs: layer + own for theirs, own in names.items()}))


_VISION, _TEXT = "vision_model.", "text_model."
_PROJECTIONS = ("clip.visual_projection.weight", "clip.text_projection.weight")
NAMES: tuple[Rule, ...] = (
    *_tower("visual.", _VISION),
    *_tower("", _TEXT),
    *plain(
        {
            "clip.visual.class_embedding": f"clip.{_VISION}embeddings.class_embedding",
            "clip.visual.conv1.": f"clip.{_VISION}embeddings.patch_embedding.",
            "clip.visual.positional_embedding": f"clip.{_VISION}embeddings.position_embedding.weight",
            "clip.visual.ln_pre.": f"clip.{_VISION}pre_layrnorm.",
            "clip.visual.ln_post.": f"clip.{_VISION}post_layernorm.",
            "clip.token_embedding.": f"clip.{_TEXT}embeddings.token_embedding.",
            "clip.positional_embedding": f"clip.{_TEXT}embeddings.position_embedding.weight",
            "clip.ln_final.": f"clip.{_TEXT}final_layer_norm.",
            "clip.logit_scale": "clip.logit_scale",
        }
    ),
    Rule("clip.visual.proj", _PROJECTIONS[:1], transposed=True),
    Rule("clip.text_projection", _PROJECTIONS[1:], transposed=True),
    # A CLIP that transformers saved has our names already. Last: what stands above is what is written.
    *plain({name: name for name in (f"clip.{_VISION}", f"clip.{_TEXT}", *_PROJECTIONS)}),
)

HEADS = ("image_heads", "text_heads")  # in the configuration of checkpoints exported here; no released code writes them


def config(
    checkpoint: Checkpoint, found: Mapping[str, Tensor], text: CLIPSettings, tokens: int, dim: int
) -> CLIPConfig:
    """The configuration as the weights (under our names) have it, ViT-B/16's where one is missing.

    tokens, dim: token ids and the dimensions that both towers end in
    `DataError` where the number of a tower's attention heads cannot be known; see `attention_heads`.
    """
    known = _BASE.model_dump()
    for key, name, axis in (
        ("patch", f"{_VISION}embeddings.patch_embedding.weight", -1),
        ("image_hidden", f"{_VISION}embeddings.class_embedding", 0),
        ("image_intermediate", f"{_VISION}encoder.layers.0.mlp.fc1.weight", 0),
        ("text_hidden", f"{_TEXT}embeddings.token_embedding.weight", -1),
        ("text_intermediate", f"{_TEXT}encoder.layers.0.mlp.fc1.weight", 0),
        ("positions", f"{_TEXT}embeddings.position_embedding.weight", 0),
    ):
        if (tensor := found.get(f"clip.{name}")) is not None and tensor.dim():
            known[key] = tensor.shape[axis]
    for key, tower in (("image_layers", _VISION), ("text_layers", _TEXT)):
        pattern = re.compile(rf"clip\.{re.escape(tower)}encoder\.layers\.(\d+)\.")
        known[key] = len({match[1] for match in map(pattern.match, found) if match}) or known[key]
    cells = found.get(f"clip.{_VISION}embeddings.position_embedding.weight")
    if cells is not None and cells.dim() and len(cells):
        known["picture"] = known["patch"] * math.isqrt(len(cells) - 1)  # the first is the class token's
    for key, tower in (("image_heads", "image"), ("text_heads", "text")):
        width = f"{tower}_hidden"
        configured = (getattr(text.shape, width), getattr(text.shape, key)) if text.shape is not None else None
        known[key] = attention_heads(checkpoint, key, known[width], configured, f"CLIP's {tower} tower")
    return clip.config_of(CLIPShape.model_validate(known), tokens, dim)


def shape(config: CLIPConfig) -> CLIPShape:
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


def published_name(config: CLIPConfig) -> str | None:
    """By what name `load_clip` knows a CLIP of these sizes; None where OpenAI released none."""
    own = shape(config)
    return next((name for name, theirs in PUBLISHED.items() if theirs == own), None)
