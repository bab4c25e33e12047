"""Modules whose state dicts have the names and shapes of those that the released evaluations build."""

from __future__ import annotations

from typing import Any

from torch import nn

from itrcore.methods.esl.settings import ESLCLIPSettings, LevelSettings
from itrcore.methods.sgraf.settings import AlignmentSettings, LHSCSettings, ReasoningSettings, SGRAFSettings
from itrcore.released.contract import Sizes
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.methods import CrossSettings
from tests.support.openai_clip import OpenAIClip


class Named(nn.Module):
    """A module of the given parts."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def released_modules(sizes: Sizes[Any, Any]) -> list[nn.Module]:
    """One per part of the checkpoint."""
    model = sizes.settings.model
    if isinstance(model, ESLCLIPSettings):
        clip = OpenAIClip(model.dim, sizes.n_tokens, sizes.source.config.text_config.max_position_embeddings)
        return [Named(clip=clip, pool_frames=Named(cross_attn=similarity(model)))]
    if isinstance(model, CrossSettings):
        return cross_attention(model, sizes)
    dim, text = model.dim, model.text
    mlp = Named(
        layers=nn.ModuleList([nn.Linear(sizes.image.width, dim // 2), nn.Linear(dim // 2, dim)]),
        bns=nn.ModuleList([nn.BatchNorm1d(dim // 2), nn.BatchNorm1d(dim)]),
    )
    images = Named(fc=nn.Linear(sizes.image.width, dim), mlp=mlp)
    if isinstance(text, BiGRUSettings):
        texts = Named(
            embed=nn.Embedding(sizes.n_tokens, text.word_dim), rnn=nn.GRU(text.word_dim, dim, bidirectional=True)
        )
    else:
        from transformers import BertModel

        config = sizes.source.config
        texts = Named(bert=BertModel(config), linear=nn.Linear(config.hidden_size, dim))
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


def cross_attention(model: CrossSettings, sizes: Sizes[Any, Any]) -> list[nn.Module]:
    """SCAN's two encoders; of SGRAF and LHSC the similarity too, for 36 regions. Their vocabularies have no mask token."""
    assert isinstance(model.text, BiGRUSettings)
    dim, width = model.dim, model.text.word_dim
    images = Named(fc=nn.Linear(sizes.image.width, dim))
    texts = Named(embed=nn.Embedding(sizes.n_tokens - 1, width))
    gru = nn.GRU(width, dim, batch_first=True, bidirectional=True)
    texts.add_module("rnn" if model.kind == "scan" else "cap_rnn", gru)
    if not isinstance(model, AlignmentSettings):
        return [images, texts]
    if isinstance(model, LHSCSettings):
        for layer in range(1, 5):
            images.add_module(f"IM_GCN_{layer}", graph_layer(dim))
            names = ("embedding_local", "embedding_global", "embedding_v")
            attention = {name: nn.Sequential(nn.Linear(width, width), nn.Tanh()) for name in names}
            texts.add_module(f"W_att{layer}", Named(**attention))
    d = model.alignment_dim

    def pooling(*norms: nn.Module) -> Named:
        local, mean = ((nn.Linear(dim, dim), *norms[at : at + 1], nn.Tanh()) for at in range(2))
        common = nn.Sequential(nn.Linear(dim, 1))
        return Named(
            embedding_local=nn.Sequential(*local), embedding_global=nn.Sequential(*mean), embedding_common=common
        )

    measure = Named(
        v_global_w=pooling(nn.BatchNorm1d(36), nn.BatchNorm1d(dim)),
        t_global_w=pooling(),
        sim_tranloc_w=nn.Linear(dim, d),
        sim_tranglo_w=nn.Linear(dim, d),
        sim_eval_w=nn.Linear(d, 1),
    )
    if isinstance(model, SGRAFSettings) and isinstance(model.module, ReasoningSettings):
        names = ("graph_query_w", "graph_key_w", "sim_graph_w")
        steps = [Named(**{name: nn.Linear(d, d) for name in names}) for _ in range(model.module.steps)]
        measure.add_module("SGR_module", nn.ModuleList(steps))
    else:
        name = "cal_sim_base_atten" if isinstance(model, LHSCSettings) else "SAF_module"
        measure.add_module(name, Named(attn_sim_w=nn.Linear(d, 1), bn=nn.BatchNorm1d(1)))
    return [images, texts, measure]


def graph_layer(dim: int) -> nn.Module:
    """One of LHSC's layers between regions."""
    heads = {f"{side}{head or ''}": nn.Conv1d(dim, dim // 4, 1) for side in ("theta", "phi") for head in range(4)}
    out = nn.Sequential(nn.Conv1d(dim, dim, 1), nn.BatchNorm1d(dim))
    return Named(g=nn.Conv1d(dim, dim, 1), W=out, fc1=nn.Linear(dim, dim), fc2=nn.Linear(dim, dim), **heads)
