"""CLIPs: published ones from the hub or a folder, small ones that start at random, and the vectors of their two towers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from itrcore.compiled import compilable
from itrcore.data.image_inputs import PixelInput
from itrcore.pretrained import weights
from itrcore.settings.encoders import CLIPShape

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

# Of the pictures that OpenAI trained CLIP on, red, green, blue. Every CLIP since reads pictures normalised with these.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def configured(config: CLIPConfig) -> CLIPModel:
    """A CLIP whose weights are drawn at random, as OpenAI's code draws them."""
    from transformers import CLIPModel

    return CLIPModel(config)


def config_of(shape: CLIPShape, n_tokens: int, projection: int) -> CLIPConfig:
    """The configuration of a CLIP that starts at random; what `shape` leaves open is as in OpenAI's.

    projection: dimensions of the vectors that both towers end in
    """
    from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

    text = CLIPTextConfig(
        vocab_size=n_tokens,
        hidden_size=shape.text_hidden,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        intermediate_size=shape.text_intermediate,
        max_position_embeddings=shape.positions,
        projection_dim=projection,
        # `text_features` finds a caption's end by its place; transformers wants some id within the vocabulary.
        bos_token_id=None,
        eos_token_id=0,
    )
    image = CLIPVisionConfig(
        image_size=shape.picture,
        patch_size=shape.patch,
        hidden_size=shape.image_hidden,
        num_hidden_layers=shape.image_layers,
        num_attention_heads=shape.image_heads,
        intermediate_size=shape.image_intermediate,
        projection_dim=projection,
    )
    return CLIPConfig(text_config=text, vision_config=image, projection_dim=projection)


def pretrained(name: str, revision: str | None = None) -> CLIPModel:
    """A published CLIP, in float32: its name on the Hugging Face hub, with a `revision` of it, or a folder.

    `DataError` where it cannot be had, is no CLIP, or lacks weights: transformers would draw these at random.
    """
    from transformers import CLIPModel

    model: CLIPModel = weights.pretrained("CLIP", CLIPModel, name, revision, _is_clip)
    return model


def known_config(name: str, revision: str | None = None) -> CLIPConfig:
    """The configuration of a published CLIP, for its sizes: where it is not on this disk, a ViT-B's with the patch of its name."""
    from transformers import CLIPConfig

    patch = re.search(r"patch(\d+)", name)
    base = CLIPConfig(vision_config={"patch_size": int(patch[1])} if patch else {})
    config: CLIPConfig = weights.config_on_disk(CLIPConfig, name, revision) or base
    return config


def _is_clip(config: dict[str, Any]) -> None:
    if (kind := config.get("model_type")) != "clip":
        raise ValueError(f"its config.json says {kind}" if kind else "no config.json that says it is one")


def read_config(path: Path) -> CLIPConfig:
    """Read what `save_config` wrote; `DataError` where it is missing or damaged."""
    from transformers import CLIPConfig

    config: CLIPConfig = weights.read_config("CLIP", CLIPConfig, path)
    return config


def pixel_input(config: CLIPConfig) -> PixelInput:
    """The pictures that its tower reads. Training reads the same as evaluation: ESL's released code augments nothing."""
    tower: Any = config.vision_config
    return PixelInput(
        picture=tower.image_size,
        framing="crop",
        mean=_MEAN,
        std=_STD,
        scale=255.0,
        bgr=False,
        random_crop=None,
        flip=False,
    )


@compilable
def image_features(clip: CLIPModel, pixels: Tensor) -> Tensor:
    """The projected vectors of pictures, not normalised. pixels: (n, 3, h, w) → (n, d)"""
    features: Tensor = clip.get_image_features(pixels).pooler_output
    return features


@compilable
def text_features(clip: CLIPModel, ids: Tensor, last: Tensor) -> Tensor:
    """The projected vector of each caption's last token, not normalised. ids: (m, l); last: (m,), its place → (m, d)

    A token attends to none after it, so that padding needs no mask. The last token is found by its place: transformers looks
    for CLIP's own end token, which the word pieces of a CLIP that starts at random do not have.
    """
    hidden = clip.text_model(ids).last_hidden_state
    features: Tensor = clip.text_projection(hidden[torch.arange(len(ids), device=ids.device), last])
    return features
