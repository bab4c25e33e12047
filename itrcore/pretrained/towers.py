"""Published dual encoders: any that transformers has of the kinds below, from the hub or a folder, and their vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from itrcore.compiled import compilable
from itrcore.pretrained import weights
from itrcore.settings.published_sizes import sizes_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Kind:
    """What towers of a `model_type` differ in.

    filled: captions are filled up to the longest length, and what fills them is read as well, as in training
    lower: captions are lower-cased, as in training: the tokeniser of some of them does not
    masked: what is beyond a caption's end has to be masked; else the tower looks at nothing beyond it
    temperature: similarities are divided by a learned temperature, not multiplied by a scale
    """

    filled: bool = False
    lower: bool = False
    masked: bool = False
    temperature: bool = False


KINDS = {
    "clip": Kind(),
    "siglip": Kind(filled=True, lower=True),  # SigLIP 2 too, but for those of variable resolution
    "align": Kind(masked=True, temperature=True),
}


class _AnyConfig:
    """transformers' configuration of the kind that the values are of."""

    @staticmethod
    def from_dict(values: dict[str, Any]) -> PreTrainedConfig:
        """`ValueError` where the kind is not one of `KINDS`."""
        from transformers import CONFIG_MAPPING

        _check_known(values)
        config: PreTrainedConfig = CONFIG_MAPPING[values["model_type"]].from_dict(values)
        return config


def configured(config: PreTrainedConfig) -> PreTrainedModel:
    """Towers whose weights are drawn at random."""
    from transformers import AutoModel

    model: PreTrainedModel = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    return model


def pretrained(name: str, revision: str | None = None) -> PreTrainedModel:
    """Published towers, in float32: their name on the Hugging Face hub, with a `revision` of it, or a folder.

    `DataError` where they cannot be had, are of no kind of `KINDS`, or lack weights: transformers would draw these at random.
    """
    from transformers import AutoModel

    model: PreTrainedModel = weights.pretrained("dual encoder", AutoModel, name, revision, _check_known)
    return model


def known_config(name: str, revision: str | None = None) -> PreTrainedConfig:
    """The configuration of published towers, for their sizes; where it is not on this disk, as the name tells them."""
    from transformers import AutoConfig, CLIPConfig, SiglipConfig

    if (known := weights.config_on_disk(AutoConfig, name, revision)) is not None and known.model_type in KINDS:
        found: PreTrainedConfig = known
        return found
    sizes = sizes_of(name)
    image, text = (
        {
            "hidden_size": tower.hidden,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
            "intermediate_size": tower.intermediate,
        }
        for tower in (sizes.image, sizes.text)
    )
    image |= {"image_size": sizes.picture, "patch_size": sizes.patch}
    text |= {"vocab_size": sizes.n_tokens, "max_position_embeddings": sizes.positions}
    if sizes.filled:
        return SiglipConfig(text_config=text | {"projection_size": sizes.image.hidden}, vision_config=image)
    return CLIPConfig(text_config=text, vision_config=image, projection_dim=sizes.text.hidden)


def read_config(path: Path) -> PreTrainedConfig:
    """Read what `save_config` wrote; `DataError` where it is missing or damaged."""
    config: PreTrainedConfig = weights.read_config("dual encoder", _AnyConfig, path)
    return config


def width_of(config: Any) -> int:
    """Dimensions of the vectors that both towers end in."""
    if config.model_type == "siglip":
        return int(config.text_config.projection_size)
    return int(config.projection_dim)


@compilable
def image_features(towers: Any, pixels: Tensor) -> Tensor:
    """The projected vectors of pictures, not normalised. pixels: (n, 3, h, w) → (n, d)"""
    features: Tensor = towers.get_image_features(pixels).pooler_output
    return features


@compilable
def text_features(towers: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
    """The projected vectors of captions, not normalised. ids: (m, l); mask: (m, l), what is read, None: all → (m, d)"""
    features: Tensor = towers.get_text_features(ids, attention_mask=mask).pooler_output
    return features


def _check_known(config: dict[str, Any]) -> None:
    if (kind := config.get("model_type")) not in KINDS:
        raise ValueError(f"its config.json says {kind}; known are {', '.join(KINDS)}")
