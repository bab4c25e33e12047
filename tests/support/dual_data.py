"""Tiny CLIPs, SigLIPs and ALIGNs as published ones lie in a folder: weights, tokeniser, image processor; made in a moment."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from itrcore.assets.towers import TowersSource
from itrcore.data.image_inputs import PixelInput
from itrcore.pretrained import towers
from itrcore.settings.encoders import TowersSettings
from tests.support import clip_data

CAPTIONS = [*clip_data.CAPTIONS[:3], "A red ball, and a BLUE box; left of it stands a small dog."]
DIM = clip_data.DIM
_TOWER = {"hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def clip_folder(folder: Path, seed: int = 0) -> Any:
    """A CLIP, with CLIP's own processor; its model."""
    from transformers import CLIPImageProcessorPil

    model = clip_data.clip_folder(folder, seed)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return model


def siglip_folder(folder: Path, seed: int = 0) -> Any:
    """A SigLIP, with a sentencepiece model as SigLIP has one; its model."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    pieces = sentencepiece(folder / "spiece.model")
    SiglipTokenizer(str(folder / "spiece.model"), model_max_length=16).save_pretrained(folder)
    torch.manual_seed(seed)
    text = {**_TOWER, "vocab_size": pieces, "max_position_embeddings": 16, "projection_size": DIM}
    config: Any = SiglipConfig(text_config=text, vision_config={**_TOWER, "image_size": 32, "patch_size": 16})
    model: Any = SiglipModel(config)
    with torch.no_grad():  # as in published ones; transformers draws both at random
        model.logit_scale.fill_(2.0)
        model.logit_bias.fill_(-3.0)
    model.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model.eval()


def align_folder(folder: Path, seed: int = 0) -> Any:
    """An ALIGN, with word pieces and EfficientNet's processor; its model."""
    from transformers import AlignConfig, AlignModel, BertTokenizer, EfficientNetImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,;'!"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(pieces), "utf-8")
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    torch.manual_seed(seed)
    image = {
        "image_size": 32, "width_coefficient": 1.0, "depth_coefficient": 0.1, "hidden_dim": DIM, "dropout_rate": 0.0,
        "drop_connect_rate": 0.0, "num_hidden_layers": 2, "in_channels": [32, 16], "out_channels": [16, DIM],
        "kernel_sizes": [3, 3], "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 6],
        "depthwise_padding": [],
    }  # fmt: skip
    text = {
        **_TOWER,
        "vocab_size": len(pieces),
        "max_position_embeddings": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    config: Any = AlignConfig(text_config=text, vision_config=image, projection_dim=DIM, temperature_init_value=0.25)
    model: Any = AlignModel(config)
    with torch.no_grad():  # its batch normalisation has statistics, as in published ones
        for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            norm.momentum = 1.0
        model.train().get_image_features(torch.randn(16, 3, 32, 32))
    model.save_pretrained(folder)
    EfficientNetImageProcessorPil(
        size={"height": 40, "width": 40},
        do_center_crop=True,
        crop_size={"height": 32, "width": 32},
        rescale_factor=1 / 127.5,
        rescale_offset=True,
    ).save_pretrained(folder)
    return model.eval()


FOLDERS: dict[str, Callable[[Path], Any]] = {"clip": clip_folder, "siglip": siglip_folder, "align": align_folder}


def sentencepiece(path: Path) -> int:
    """Write a model of unigrams of a few captions; the number of its pieces."""
    import sentencepiece as spm

    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([caption.lower() for caption in CAPTIONS] * 10),
        model_writer=out, vocab_size=48, hard_vocab_limit=False, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    path.write_bytes(out.getvalue())
    return len(spm.SentencePieceProcessor(model_proto=out.getvalue()))


def settings(folder: Path, epochs: int = 0, loss: dict[str, Any] | None = None, **recipe: Any) -> dict[str, Any]:
    """A recipe's values for the towers in a folder."""
    return {
        "model": {"kind": "dual", "dim": DIM, "text": {"kind": "towers", "weights": str(folder)}},
        "loss": loss or {"kind": "symmetric", "max_scale": 100.0},
        "recipe": {
            "optimiser": "adamw", "learning_rate": 2e-3, "weight_decay": 0.1, "batch_size": 8, "epochs": epochs,
            "evaluations": 1, "schedule": {"kind": "cosine", "warmup": 0.1}, "clip_norm": 1.0, **recipe,
        },
    }  # fmt: skip


def source(settings: TowersSettings, n_tokens: int, dim: int, picture: int) -> TowersSource:
    """A small CLIP, or SigLIP by the name of its weights, that starts at random. picture: side of what it sees"""
    config: Any = towers.known_config(settings.weights)
    hidden = dim if config.model_type == "siglip" else 16
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "hidden_size": hidden}
    for tower in (config.text_config, config.vision_config):
        tower.update(sizes)
    config.text_config.update(
        {"vocab_size": n_tokens, "projection_size": dim, "eos_token_id": 2}
    )  # 2: the highest id of each
    config.vision_config.update({"image_size": picture, "patch_size": 8})
    config.update({"projection_dim": dim})
    return TowersSource(settings, config, PixelInput(picture, "short", (0, 0, 0), (1, 1, 1), 255.0, False, None, False))
