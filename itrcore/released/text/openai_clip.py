"""OpenAI's CLIP as its own code names it, and the sizes of those that OpenAI released.

ESL's released code builds CLIP by OpenAI's code (`load_clip`): queries, keys and values of an attention are one matrix, and
projections are the transposes of transformers'. Activation (QuickGELU) and all else are those of transformers' CLIP.
"""

from __future__ import annotations

from itrcore.released.rules import Rule, plain
from itrcore.settings.encoders import CLIPShape

N_TOKENS = 49408

# What OpenAI released with one vector of 64 dimensions per attention head, by the name that `load_clip` takes.
BASE = CLIPShape(
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
_LARGE = BASE.model_copy(
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
    "ViT-B/16": BASE,
    "ViT-B/32": BASE.model_copy(update={"patch": 32}),
    "ViT-L/14": _LARGE,
    "ViT-L/14@336px": _LARGE.model_copy(update={"picture": 336}),
}


def projection(shape: CLIPShape) -> int:
    """The dimensions of the vectors that both towers of a released one end in: its text tower's width."""
    return shape.text_hidden


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


VISION, TEXT = "vision_model.", "text_model."
_PROJECTIONS = ("clip.visual_projection.weight", "clip.text_projection.weight")
RULES: tuple[Rule, ...] = (
    *_tower("visual.", VISION),
    *_tower("", TEXT),
    *plain(
        {
            "clip.visual.class_embedding": f"clip.{VISION}embeddings.class_embedding",
            "clip.visual.conv1.": f"clip.{VISION}embeddings.patch_embedding.",
            "clip.visual.positional_embedding": f"clip.{VISION}embeddings.position_embedding.weight",
            "clip.visual.ln_pre.": f"clip.{VISION}pre_layrnorm.",
            "clip.visual.ln_post.": f"clip.{VISION}post_layernorm.",
            "clip.token_embedding.": f"clip.{TEXT}embeddings.token_embedding.",
            "clip.positional_embedding": f"clip.{TEXT}embeddings.position_embedding.weight",
            "clip.ln_final.": f"clip.{TEXT}final_layer_norm.",
            "clip.logit_scale": "clip.logit_scale",
        }
    ),
    Rule("clip.visual.proj", _PROJECTIONS[:1], transposed=True),
    Rule("clip.text_projection", _PROJECTIONS[1:], transposed=True),
    # A CLIP that transformers saved has our names already. Last: what stands above is what is written.
    *plain({name: name for name in (f"clip.{VISION}", f"clip.{TEXT}", *_PROJECTIONS)}),
)
