"""One training step of SAF and LHSC as their released code takes it: stated plainly, caption by caption, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import Batch, RegionBatch, TextBatch
from itrcore.layers.progress import Progress
from itrcore.methods.sgraf.sgraf import AlignmentMethod
from itrcore.settings.methods import MethodSettings
from tests.support.helpers import image_batch, loss_of, method_of, method_settings, text_batch
from tests.support.plain_attention import linear, unit

REGIONS, WIDTH, N_WORDS = 4, 12, 30
LENGTHS = [4, 7, 3, 7, 5, 3]  # equal ones are taken in the order of the batch
MODELS: dict[str, dict[str, Any]] = {
    "saf_bigru": {"module": {"kind": "saf", "gate_norm": "caption"}},
    "lhsc_bigru": {"gate_norm": "caption", "padding": "released"},
}


class FixedDropout(nn.Module):
    """Dropout of 0.4 whose masks are known: one for each call, in order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator, self.masks = torch.Generator().manual_seed(seed), list[Tensor]()

    def forward(self, values: Tensor) -> Tensor:
        self.masks.append((torch.rand(values.shape, generator=self.generator) > 0.4).to(values) / 0.6)
        return values * self.masks[-1]


def built(name: str) -> tuple[MethodSettings, Any]:
    settings = method_settings(name)
    model = settings.model.model_dump() | {"ranked_regions": REGIONS} | MODELS[name]
    settings = MethodSettings.model_validate(settings.model_dump() | {"model": model})
    method = method_of(settings, WIDTH, N_WORDS)
    assert isinstance(method, AlignmentMethod)
    torch.manual_seed(1)
    for layer in method.modules():
        if isinstance(layer, nn.BatchNorm1d):  # else LHSC's graph layers are the identity
            nn.init.uniform_(layer.weight, 0.2, 0.8)
            nn.init.normal_(layer.bias, std=0.1)
    for seed, part in enumerate((method.words, method.region_pooling, method.word_pooling)):
        part.dropout = FixedDropout(seed)  # type: ignore[assignment]
    return settings, method.double().train()


def given() -> Batch:
    images = image_batch([REGIONS] * len(LENGTHS), WIDTH)
    numbers = list(range(len(LENGTHS)))
    return Batch(RegionBatch(images.regions.double(), images.lengths), text_batch(LENGTHS, N_WORDS), numbers, numbers)


def normed(weights: dict[str, Tensor], name: str, values: Tensor) -> Tensor:
    """Batch normalisation of all but the last axis."""
    over = list(range(values.dim() - 1))
    mean = values.mean(over)
    spread = ((values - mean) ** 2).mean(over)
    return (values - mean) / (spread + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def units(rows: Tensor) -> Tensor:
    return torch.stack([unit(row) for row in rows])


def by_row(weights: dict[str, Tensor], name: str, rows: Tensor) -> Tensor:
    return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def encoded_images(weights: dict[str, Tensor], images: Tensor, layers: int) -> list[Tensor]:
    sets = by_row(weights, "regions.fc", images)
    for number in range(layers):
        name, moved = f"regions.graph.{number}", []
        for v in sets:
            query = by_row(
                weights, f"{name}.query", torch.cat([by_row(weights, f"{name}.theta.{h}", v) for h in (0, 1)], 1)
            )
            key = by_row(weights, f"{name}.key", torch.cat([by_row(weights, f"{name}.phi.{h}", v) for h in (0, 1)], 1))
            relation = query @ key.T / len(v)
            moved.append(by_row(weights, f"{name}.out", relation @ by_row(weights, f"{name}.value", v)))
        sets = sets + normed(weights, f"{name}.norm", torch.stack(moved))
    return [units(v) for v in sets]


def whole_images(weights: dict[str, Tensor], sets: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
    """Each region's place is normalised by itself, over the images and the features."""
    local = torch.stack([by_row(weights, "region_pooling.local", v) for v in sets])
    places = [
        (part - part.mean()) / (((part - part.mean()) ** 2).mean() + 1e-5).sqrt() * gain + bias
        for part, gain, bias in zip(
            local.unbind(1),
            weights["region_pooling.local_norm.weight"],
            weights["region_pooling.local_norm.bias"],
            strict=True,
        )
    ]
    means = torch.stack([linear(weights, "region_pooling.mean", v.mean(0)) for v in sets])
    guides = normed(weights, "region_pooling.mean_norm", means).tanh() * masks[1]
    local = torch.stack(places, 1).tanh() * masks[0]
    return [pooled(weights, "region_pooling", v, x * guide) for v, x, guide in zip(sets, local, guides, strict=True)]


def pooled(weights: dict[str, Tensor], name: str, members: Tensor, common: Tensor) -> Tensor:
    return unit(torch.softmax(by_row(weights, f"{name}.score", common)[:, 0], 0) @ members)


def encoded_captions(method: Any, weights: dict[str, Tensor], texts: TextBatch, layers: int) -> list[Tensor]:
    words = weights["words.embed.weight"][texts.ids] * method.words.dropout.masks[0]
    for number in range(layers):
        local, context, value = (
            by_row(weights, f"words.attention.{number}.{part}", words).tanh() for part in ("local", "context", "value")
        )
        words = local @ context.transpose(1, 2) / words.shape[1] @ value + words
    read = [method.words.gru(x[None, :n])[0][0] for x, n in zip(words, texts.lengths.tolist(), strict=True)]
    return [units(sum(out.chunk(2, 1)) / 2) for out in read]


def released_loss(method: Any, batch: Batch, layers: int) -> tuple[Tensor, list[Tensor]]:
    """The step's loss, and the mean and variance that the gate's running statistics have after it."""
    weights = {**dict(method.named_parameters()), **{name: value.clone() for name, value in method.named_buffers()}}
    assert isinstance(batch.images, RegionBatch)
    images = encoded_images(weights, batch.images.regions, layers)
    captions = encoded_captions(method, weights, batch.texts, layers)
    whole = whole_images(weights, images, method.region_pooling.dropout.masks)
    local_masks, guide_masks = method.word_pooling.dropout.masks
    gate = "measure.filtration"
    running = [weights[f"{gate}.norm.running_mean"], weights[f"{gate}.norm.running_var"]]
    columns = {}
    for number in sorted(range(len(captions)), key=lambda number: len(captions[number]), reverse=True):
        words, n = captions[number], len(captions[number])
        guide = linear(weights, "word_pooling.mean", words.mean(0)).tanh() * guide_masks[number]
        local = by_row(weights, "word_pooling.local", words).tanh() * local_masks[number, :n]
        caption = pooled(weights, "word_pooling", words, local * guide)
        alignments = []
        for regions, image in zip(images, whole, strict=True):
            attn = regions @ words.T
            attn = units(torch.where(attn > 0, attn, 0.1 * attn))
            seen = units(torch.softmax(9.0 * attn.T, 1) @ regions)
            one = unit(linear(weights, "measure.whole", (image - caption) ** 2))
            alignments.append(torch.cat([one[None], units(by_row(weights, "measure.local", (seen - words) ** 2))]))
        logits = torch.stack([by_row(weights, f"{gate}.weights", x)[:, 0] for x in alignments])
        for place, now in enumerate((logits.mean(), logits.var())):
            running[place] = 0.9 * running[place] + 0.1 * now.detach()
        gates = normed(weights, f"{gate}.norm", logits.flatten()[:, None]).view_as(logits).sigmoid()
        vectors = [unit(g / (g.sum() + 1e-8) @ x) for g, x in zip(gates, alignments, strict=True)]
        columns[number] = torch.stack([linear(weights, "measure.score", x).sigmoid()[0] for x in vectors])
    scores = torch.stack([columns[number] for number in range(len(captions))], 1)
    loss = scores.new_zeros(())
    for row in range(len(scores)):
        others = [column for column in range(len(scores)) if column != row]
        loss = loss + max((0.2 + scores[row, k] - scores[row, row]).clamp(min=0) for k in others)
        loss = loss + max((0.2 + scores[k, row] - scores[row, row]).clamp(min=0) for k in others)
    return loss, running


@pytest.mark.parametrize("name", MODELS)
def test_with_the_gate_normalised_by_caption_a_step_is_that_of_the_released_loop(name: str) -> None:
    settings, method = built(name)
    batch, named = given(), dict(method.named_parameters())
    before = {key: value.clone() for key, value in method.measure.filtration.norm.named_buffers()}
    ours = loss_of(settings, method, batch, Progress(epoch=1, step=1)).total
    gradients = torch.autograd.grad(ours, list(named.values()), allow_unused=True)
    norm = method.measure.filtration.norm
    after = [norm.running_mean.clone(), norm.running_var.clone()]
    for key, value in before.items():
        norm.get_buffer(key).copy_(value)
    theirs, running = released_loss(method, batch, 2 if name == "lhsc_bigru" else 0)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    expected = torch.autograd.grad(theirs, list(named.values()), allow_unused=True)
    for key, one, other in zip(named, gradients, expected, strict=True):
        assert (one is None) == (other is None), key
        if one is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12, msg=key)
    torch.testing.assert_close(after, [value.view(1) for value in running], rtol=0, atol=1e-12)
