"""What the released evaluations of SCAN, SGRAF and LHSC make of an exported file: restated pair by pair, nothing shared.

They read the file's own options alone, as those evaluations do.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from itrcore.released.contract import Sizes
from tests.support.helpers import released_file
from tests.support.released_modules import released_modules


def unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(-1, keepdim=True).sqrt() + 1e-8)


def evaluated(path: Path, sizes: Sizes[Any, Any], regions: Tensor, captions: Sequence[Sequence[int]]) -> Tensor:
    """(n, m) similarities. regions: (n, k, width); captions: their ids, one batch that is padded to its longest."""
    content = released_file(path)
    modules = [module.eval() for module in released_modules(sizes)]
    for module, part in zip(modules, content["model"], strict=True):
        module.load_state_dict(part, strict=True)
    images, texts, *measure = modules
    longest = max(map(len, captions))
    assert max(map(max, captions)) < content["opt"].vocab_size == texts.embed.num_embeddings  # type: ignore[union-attr]
    with torch.no_grad():
        sets = [encoded_image(images, image) for image in regions]
        words = [encoded_caption(texts, list(ids), longest) for ids in captions]
        pair: Any = (lambda v, e: aligned(measure[0], v, e)) if measure else (lambda v, e: scan(content["opt"], v, e))
        return torch.tensor([[float(pair(v, e)) for e in words] for v in sets])


def encoded_image(images: Any, regions: Tensor) -> Tensor:
    """(k, d)"""
    v = images.fc(regions)
    for number in range(1, 5):
        if (layer := getattr(images, f"IM_GCN_{number}", None)) is None:
            break
        x = v.T[None]
        sides = [
            torch.cat([getattr(layer, f"{side}{head}")(x)[0] for head in ("", 1, 2, 3)]).T for side in ("theta", "phi")
        ]
        relation = layer.fc1(sides[0]) @ layer.fc2(sides[1]).T / len(v)
        v = v + layer.W((relation @ layer.g(x)[0].T).T[None])[0].T
    return unit(v)


def encoded_caption(texts: Any, ids: list[int], longest: int) -> Tensor:
    """The encoded words of a caption, (l, d). longest: words of the longest one in its batch; 0 pads it to that."""
    x = texts.embed(torch.tensor(ids + [0] * (longest - len(ids))))
    for number in range(1, 5):
        if (layer := getattr(texts, f"W_att{number}", None)) is None:
            break
        x = layer.embedding_local(x) @ layer.embedding_global(x).T / longest @ layer.embedding_v(x) + x
    gru = texts.rnn if hasattr(texts, "rnn") else texts.cap_rnn
    out = gru(x[None, : len(ids)])[0][0]
    return unit(sum(out.chunk(2, dim=1)) / 2)


def attended(queries: Tensor, among: Tensor, scale: float) -> Tensor:
    """What each query attends to: scores are of unit length over the queries."""
    scores = nn.functional.leaky_relu(among @ queries.T, 0.1)
    return torch.softmax(unit(scores).T * scale, dim=1) @ among


def scan(opt: Namespace, regions: Tensor, words: Tensor) -> Tensor:
    assert (opt.raw_feature_norm, opt.bi_gru, opt.no_imgnorm, opt.no_txtnorm) == ("clipped_l2norm", True, False, False)
    queries, among = (words, regions) if opt.cross_attn == "t2i" else (regions, words)
    row = nn.functional.cosine_similarity(queries, attended(queries, among, opt.lambda_softmax), dim=1)
    return row.mean() if opt.agg_func == "Mean" else (row * opt.lambda_lse).exp().sum().log() / opt.lambda_lse


def whole(pooling: Any, local: Tensor) -> Tensor:
    """(d,) of a set."""
    score = pooling.embedding_local(local[None])[0] * pooling.embedding_global(local.mean(0)[None])
    return unit(torch.softmax(pooling.embedding_common(score), dim=0).T @ local)[0]


def aligned(measure: Any, regions: Tensor, words: Tensor) -> Tensor:
    local = unit(measure.sim_tranloc_w((unit(attended(words, regions, 9.0)) - words) ** 2))
    both = (whole(measure.v_global_w, regions) - whole(measure.t_global_w, words)) ** 2
    x = torch.cat([unit(measure.sim_tranglo_w(both))[None], local])
    if hasattr(measure, "SGR_module"):
        for step in measure.SGR_module:
            edges = torch.softmax(step.graph_query_w(x) @ step.graph_key_w(x).T, dim=1)
            x = torch.relu(step.sim_graph_w(edges @ x))
        vector = x[0]
    else:
        saf = measure.SAF_module if hasattr(measure, "SAF_module") else measure.cal_sim_base_atten
        gates = torch.sigmoid(saf.bn(saf.attn_sim_w(x)))
        vector = unit((gates / (gates.sum() + 1e-8)).T @ x)[0]
    return torch.sigmoid(measure.sim_eval_w(vector))
