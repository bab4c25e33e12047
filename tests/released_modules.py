"""Modules whose state dicts have the names and shapes of those that the released evaluations build."""

from __future__ import annotations

from typing import Any

from torch import nn

from itrcore.models.encoder_settings import BiGRUSettings
from itrcore.models.settings import ESLCLIPSettings, LevelSettings
from itrcore.released.convert import Sizes
from tests.openai_clip import OpenAIClip


class Named(nn.Module):
    """A module of the given parts."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def released_modules(sizes: Sizes) -> list[nn.Module]:
    """One per part of the checkpoint."""
    model = sizes.settings.model
    if isinstance(model, ESLCLIPSettings):
        assert sizes.clip is not None
        shape: Any = sizes.clip
        clip = OpenAIClip(model.dim, sizes.n_tokens, shape.text_config.max_position_embeddings)
        return [Named(clip=clip, pool_frames=Named(cross_attn=similarity(model)))]
    dim, text = model.dim, model.text
    mlp = Named(
        layers=nn.ModuleList([nn.Linear(sizes.width or 0, dim // 2), nn.Linear(dim // 2, dim)]),
        bns=nn.ModuleList([nn.BatchNorm1d(dim // 2), nn.BatchNorm1d(dim)]),
    )
    images = Named(fc=nn.Linear(sizes.width or 0, dim), mlp=mlp)
    if isinstance(text, BiGRUSettings):
        texts = Named(
            embed=nn.Embedding(sizes.n_tokens, text.word_dim), rnn=nn.GRU(text.word_dim, dim, bidirectional=True)
        )
    else:
        from transformers import BertModel

        assert sizes.bert is not None
        texts = Named(bert=BertModel(sizes.bert), linear=nn.Linear(sizes.bert.hidden_size, dim))
    if isinstance(model, LevelSettings):
        return [images, texts, similarity(model)]
    for module in (images, texts):
        if model.kind == "esa":
            module.add_module("linear1", nn.Linear(dim, dim))
        else:
            pooling = Named(gru=nn.GRU(32, 32, bidirectional=True), linear=nn.Linear(32, 1, bias=False))
            module.add_module("gpool", pooling)
    return [images, texts]


def similarity(model: LevelSettings) -> nn.Module:
    """ESL's levels, which it counts from 1, and its measure of 9 blocks."""
    widths = [model.dim // model.kernel**level for level in range(9)]

    def levels(side: str) -> Named:
        if model.strategy == "heuristic":
            kernels = {f"kernel_{side}_{level}": nn.Conv1d(1, 4, model.kernel, bias=False) for level in range(1, 9)}
            return Named(**kernels)
        return Named(**{f"masks_{level}": nn.Embedding(widths[level], widths[level - 1]) for level in range(1, 9)})

    parts: dict[str, nn.Module] = {f"masks_{level}": nn.Embedding(width, width) for level, width in enumerate(widths)}
    if model.kind == "esl":
        parts |= {f"lynorm_{level}": nn.LayerNorm([width, width]) for level, width in enumerate(widths)}
    for name, inputs in (("sim_eval", 9), ("temp_scale", 1), ("temp_scale_1", 1), ("temp_scale_2", 1)):
        parts[name] = nn.Linear(inputs, 1, bias=False)
    encoders = Named(text_levels=levels("txt"), image_levels=levels("img"))
    return Named(plus_encoder=Named(encoders_1=encoders), sims=Named(calculator_1=Named(**parts)))
