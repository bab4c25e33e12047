"""LHSC's encoders: graph layers over regions and attention between words, against plain loops; what padding may touch."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.text.glove import WordVectors
from itrcore.layers.basics import length_mask
from itrcore.layers.text_encoders import BiGRUEncoder
from itrcore.methods.sgraf.graph import GraphLayer, GraphRegionEncoder
from itrcore.methods.sgraf.word_attention import WordAttention, WordAttentionEncoder
from itrcore.settings.encoders import BiGRUSettings
from tests.support.helpers import image_batch, text_batch

WIDTH, DIM, HEADS, N_WORDS, WORD_DIM = 10, 8, 2, 20, 6
SETTINGS = BiGRUSettings(kind="bigru", word_dim=WORD_DIM, dropout=0.0, init="random")
CPU = torch.device("cpu")
Padding = Literal["masked", "released"]


def stirred(layer: GraphLayer) -> GraphLayer:
    """With batch norms that have learned something, so that the layer is not the identity."""
    for parameter in (layer.norm.weight, layer.norm.bias):
        nn.init.normal_(parameter)
    layer.norm.get_buffer("running_mean").normal_()
    layer.norm.get_buffer("running_var").uniform_(0.5, 2)
    return layer


def graph_layer(training: bool = False) -> GraphLayer:
    torch.manual_seed(1)
    return stirred(GraphLayer(DIM, HEADS).double()).train(training)


def region_encoder(training: bool) -> GraphRegionEncoder:
    torch.manual_seed(2)
    encoder = GraphRegionEncoder(WIDTH, DIM, 3, HEADS).train(training)
    for layer in encoder.graph:
        assert isinstance(layer, GraphLayer)
        stirred(layer)
    return encoder


def of_row(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return layer.weight @ x + layer.bias


def naive_relations(layer: GraphLayer, regions: Tensor) -> list[Tensor]:
    """`out` of what each region gathers from one image's regions, (k, d) without padding: what is normalised."""
    queries = [of_row(layer.query, torch.cat([of_row(head, v) for head in layer.theta])) for v in regions]
    keys = [of_row(layer.key, torch.cat([of_row(head, v) for head in layer.phi])) for v in regions]
    gathered = []
    for query in queries:
        y = torch.zeros(DIM, dtype=torch.float64)
        for key, v in zip(keys, regions, strict=True):
            y = y + (query @ key) / len(regions) * of_row(layer.value, v)
        gathered.append(of_row(layer.out, y))
    return gathered


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("lengths", [[4, 4, 4], [5, 2, 3]])
def test_a_graph_layer_relates_an_images_own_regions(lengths: list[int], training: bool) -> None:
    layer, before = graph_layer(training), graph_layer()
    batch = image_batch(lengths, DIM)
    regions = batch.regions.double()
    mask = length_mask(batch.lengths, max(lengths), CPU)
    with torch.no_grad():
        out = layer(regions, batch.lengths)
        rows = torch.stack(
            [row for image, n in zip(regions, lengths, strict=True) for row in naive_relations(before, image[:n])]
        )
    mean, variance = before.norm.get_buffer("running_mean"), before.norm.get_buffer("running_var")
    if training:
        torch.testing.assert_close(layer.norm.running_mean, 0.9 * mean + 0.1 * rows.mean(0))
        torch.testing.assert_close(layer.norm.running_var, 0.9 * variance + 0.1 * rows.var(0))
        mean, variance = rows.mean(0), rows.var(0, correction=0)
    normal = (rows - mean) / torch.sqrt(variance + 1e-5) * before.norm.weight + before.norm.bias
    torch.testing.assert_close(out[mask], normal + regions[mask], rtol=1e-10, atol=1e-10)
    assert torch.equal(out[~mask], torch.zeros_like(out[~mask]))


@pytest.mark.parametrize("training", [False, True])
def test_graph_layers_start_as_the_identity(training: bool) -> None:
    encoder = GraphRegionEncoder(WIDTH, DIM, 4, HEADS).train(training)
    batch = image_batch([4, 2, 3], WIDTH)
    with torch.no_grad():
        out, lengths = encoder(batch)
        plain = encoder.fc(batch.regions)
    assert lengths is batch.lengths
    for row, length in enumerate([4, 2, 3]):
        torch.testing.assert_close(out[row, :length], plain[row, :length])


def test_graph_weights_start_as_in_the_released_code() -> None:
    torch.manual_seed(0)
    encoder = GraphRegionEncoder(200, 100, 2, 4)
    assert 0.99 * math.sqrt(6 / 300) < encoder.fc.weight.abs().max() <= math.sqrt(6 / 300)
    assert torch.equal(encoder.fc.bias, torch.zeros(100))
    for name, parameter in encoder.graph.named_parameters():
        if ".norm." in name:
            assert torch.equal(parameter, torch.zeros(100)), name
        else:  # torch's own start of Linear and Conv1d, of biases too
            assert 0.07 < parameter.abs().max() <= 0.1, name


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_no_region_nor_the_batchs_statistics_whatever_it_holds(training: bool) -> None:
    batch = image_batch([4, 2, 3], WIDTH)
    longer = RegionBatch(nn.functional.pad(batch.regions, (0, 0, 0, 3), value=math.nan), batch.lengths)
    plain, padded = region_encoder(training), region_encoder(training)
    with torch.no_grad():
        expected, out = plain(batch)[0], padded(longer)[0]
    torch.testing.assert_close(out[:, :4], expected)
    assert torch.equal(out[:, 4:], torch.zeros(3, 3, DIM))
    assert torch.equal(out[1, 2:4], torch.zeros(2, DIM))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(padded.state_dict()[name], value, msg=name)


def test_an_image_is_encoded_alike_in_any_batch() -> None:
    encoder, batch = region_encoder(False), image_batch([4, 2, 3, 1, 4], WIDTH)
    with torch.no_grad():
        together, _ = encoder(batch)
        for row, length in enumerate(batch.lengths.tolist()):
            alone, _ = encoder(RegionBatch(batch.regions[row : row + 1, :length], batch.lengths[row : row + 1]))
            torch.testing.assert_close(together[row, :length], alone[0])


def test_gradients_of_a_graph_layer_are_right_and_reach_no_padded_region() -> None:
    layer, batch = graph_layer(training=True), image_batch([3, 1, 2], DIM)
    mask = length_mask(batch.lengths, 3, CPU)
    regions = batch.regions.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, batch.lengths)[mask], (regions,))
    layer(regions, batch.lengths)[mask].square().sum().backward()
    assert regions.grad is not None and torch.equal(regions.grad[~mask], torch.zeros(3, DIM, dtype=torch.float64))
    # What comes before a batch norm cannot learn by a constant: `out`'s bias has no gradient, everything else has.
    still = {name for name, p in layer.named_parameters() if p.grad is None or float(p.grad.abs().max()) < 1e-12}
    assert still == {"out.bias"}


def text_encoder(padding: Padding, settings: BiGRUSettings = SETTINGS, layers: int = 2) -> WordAttentionEncoder:
    torch.manual_seed(3)
    return WordAttentionEncoder(N_WORDS, DIM, settings, None, layers, padding).eval()


def naive_attention(encoder: WordAttentionEncoder, ids: Tensor) -> Tensor:
    """The words below the GRU, of one caption, whose every id takes part."""
    words = [encoder.embed.weight[i] for i in ids]
    for layer in encoder.attention:
        assert isinstance(layer, WordAttention)
        related = []
        for x in words:
            y = x
            for other in words:
                weight = torch.tanh(of_row(layer.local, x)) @ torch.tanh(of_row(layer.context, other)) / len(words)
                y = y + weight * torch.tanh(of_row(layer.value, other))
            related.append(y)
        words = related
    return torch.stack(words)


@pytest.mark.parametrize("padding", ["masked", "released"])
def test_words_attend_to_their_caption_or_as_released_to_its_padding_too(padding: Padding) -> None:
    encoder, batch = text_encoder(padding).double(), text_batch([5, 2, 7, 1], N_WORDS)
    nn.init.normal_(encoder.embed.weight)  # large enough for tanh to bend
    with torch.no_grad():
        out = encoder(batch)
        assert out.shape == (4, 7, DIM)
        for row, length in enumerate(batch.lengths.tolist()):
            words = naive_attention(encoder, batch.ids[row, : length if padding == "masked" else None])[:length]
            forward, backward = encoder.gru(words[None])[0][0].chunk(2, dim=-1)
            torch.testing.assert_close(out[row, :length], (forward + backward) / 2, rtol=1e-10, atol=1e-10)
            assert torch.equal(out[row, length:], torch.zeros(7 - length, DIM, dtype=torch.float64))


def farthest_in_batches(encoder: WordAttentionEncoder) -> float:
    """How far a caption's vectors go from those it has alone, at most, in batches of captions of 1 to 20 words."""
    rng = np.random.default_rng(0)
    captions = [rng.integers(1, N_WORDS, length) for length in np.repeat(np.arange(1, 21), 5)]
    farthest = 0.0
    with torch.no_grad():
        alone = [encoder(TextBatch.pad([caption]))[0] for caption in captions]
        for size in (2, 3, 7, 32, 100):
            order = rng.permutation(len(captions))
            for block in np.array_split(order, len(order) // size):
                for row, vectors in zip(block, encoder(TextBatch.pad([captions[i] for i in block])), strict=True):
                    farthest = max(farthest, float((vectors[: len(captions[row])] - alone[row]).abs().max()))
    return farthest


@pytest.mark.parametrize("init", ["small", "large"])
def test_a_caption_has_the_same_vectors_in_any_batch_but_not_as_released(init: str) -> None:
    distances = {}
    for padding in ("masked", "released"):
        encoder = text_encoder(padding, layers=4)
        if init == "large":
            nn.init.normal_(encoder.embed.weight)
        distances[padding] = farthest_in_batches(encoder)
    assert distances["masked"] < 1e-6
    assert distances["released"] > (1e-2 if init == "large" else 1e-5)


def test_both_ways_of_padding_are_one_where_all_captions_have_one_length() -> None:
    batch = text_batch([6, 6, 6], N_WORDS)
    masked, released = text_encoder("masked"), text_encoder("released")
    with torch.no_grad():
        nn.init.normal_(masked.embed.weight)
        released.load_state_dict(masked.state_dict())
        torch.testing.assert_close(masked(batch), released(batch))
        longer = TextBatch(nn.functional.pad(batch.ids, (0, 2)), batch.lengths)
        assert not torch.allclose(masked(longer), released(longer), atol=1e-3)


def test_gradients_of_word_attention_are_right_and_reach_no_padded_word() -> None:
    torch.manual_seed(0)
    layer, words = WordAttention(WORD_DIM).double(), torch.randn(2, 3, WORD_DIM, dtype=torch.float64)
    mask = length_mask(torch.tensor([3, 1]), 3, CPU)
    words.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, mask)[mask], (words,))
    assert torch.autograd.gradcheck(lambda x: layer(x, None), (words,))
    layer(words, mask)[mask].square().sum().backward()
    assert words.grad is not None and torch.equal(words.grad[~mask], torch.zeros(2, WORD_DIM, dtype=torch.float64))
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in layer.parameters())


@pytest.mark.parametrize(("padding", "learns"), [("masked", False), ("released", True)])
def test_the_embedding_of_padding_learns_only_as_released(padding: Padding, learns: bool) -> None:
    encoder = text_encoder(padding).train()
    encoder(text_batch([5, 2], N_WORDS)).square().sum().backward()
    gradient = encoder.embed.weight.grad
    assert gradient is not None and bool(gradient.any())
    assert bool(gradient[0].any()) is learns


def test_text_weights_start_as_in_the_released_code() -> None:
    encoder = text_encoder("released", BiGRUSettings(kind="bigru", word_dim=100, dropout=0.0, init="random"))
    assert 0.095 < encoder.embed.weight[0].abs().max() <= 0.1
    assert encoder.embed.weight.abs().max() <= 0.1
    bound = math.sqrt(6 / 200)
    for name, parameter in encoder.attention.named_parameters():
        if name.endswith("bias"):
            assert torch.equal(parameter, torch.zeros(100)), name
        else:
            assert 0.99 * bound < parameter.abs().max() <= bound, name


def test_word_vectors_and_dropout_are_those_of_the_plain_text_encoder() -> None:
    rng = np.random.default_rng(0)
    known = rng.random(N_WORDS - 1) < 0.5
    values = rng.standard_normal((N_WORDS - 1, WORD_DIM)).astype(np.float32)
    settings = BiGRUSettings(kind="bigru", word_dim=WORD_DIM, dropout=0.5, init="glove")
    vectors, batch = WordVectors(values, known, "", ""), text_batch([6, 4], N_WORDS)
    torch.manual_seed(4)
    plain = BiGRUEncoder(N_WORDS, DIM, settings, vectors)
    torch.manual_seed(4)
    encoder = WordAttentionEncoder(N_WORDS, DIM, settings, vectors, 0, "masked")
    torch.testing.assert_close(encoder.embed.weight, plain.embed.weight)
    np.testing.assert_array_equal(encoder.embed.weight.detach().numpy()[:-1][known], values[known])
    with torch.no_grad():
        torch.manual_seed(5)
        expected = plain(batch)
        torch.manual_seed(5)
        torch.testing.assert_close(encoder(batch), expected)
        assert not torch.equal(encoder(batch), expected)
