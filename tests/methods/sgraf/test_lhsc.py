"""SGR, SAF and LHSC as methods: from regions and captions to similarities, their weights, regions of any number, attention."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from itrcore import layout
from itrcore.data import captions
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.feeding.prepared import open_split
from itrcore.data.image_inputs import RegionInput
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.evaluation import explanations
from itrcore.evaluation.scoring import encode, score
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Attends
from itrcore.methods.sgraf.settings import LHSCSettings, SGRAFSettings
from itrcore.methods.sgraf.sgraf import AlignmentMethod
from itrcore.protocols.contract import Judged
from itrcore.protocols.retrieved import retrieved
from itrcore.runs.examples import Explained
from itrcore.runs.folder import EXPLAINED, RETRIEVED, read, write
from tests.support.helpers import image_batch, loss_of, method_of, method_settings, pair_batch, text_batch
from tests.support.plain_attention import attention, filtration, measured, reasoning
from tests.support.tiny_project import prepared

WIDTH, DIM, N_WORDS, WORD_DIM, ALIGNMENT_DIM = 12, 16, 30, 8, 8
FAMILIES = ["sgr_bigru", "saf_bigru", "lhsc_bigru"]
EACH = pytest.mark.parametrize("name", FAMILIES)


def built(name: str, width: int = WIDTH, n_words: int = N_WORDS, **model: Any) -> AlignmentMethod:
    """A method with batch norms that have learned something, so that LHSC's graph layers are not the identity."""
    settings = method_settings(name)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=model)})
    method = method_of(settings, width, n_words, 0)
    assert isinstance(method, AlignmentMethod)
    torch.manual_seed(1)
    for layer in method.modules():
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.uniform_(layer.weight, 0.2, 0.8)
            nn.init.normal_(layer.bias, std=0.1)
            layer.get_buffer("running_mean").normal_(std=0.1)
            layer.get_buffer("running_var").uniform_(0.5, 2)
    return method


def item(batch: RegionBatch | TextBatch, row: int) -> Any:
    """One image or caption alone, without padding."""
    n = int(batch.lengths[row])
    if isinstance(batch, RegionBatch):
        return RegionBatch(batch.regions[row : row + 1, :n], batch.lengths[row : row + 1])
    return TextBatch(batch.ids[row : row + 1, :n], batch.lengths[row : row + 1])


@EACH
@pytest.mark.parametrize("training", [False, True])
def test_similarities_are_those_of_whole_vectors_and_members_pair_by_pair(name: str, training: bool) -> None:
    method = built(name).double().eval()
    batch, texts = image_batch([5, 2, 4, 1], WIDTH), text_batch([4, 1, 20, 9, 4], N_WORDS)
    images = RegionBatch(batch.regions.double(), batch.lengths)
    sets: tuple[list[Tensor], list[Tensor]] = [], []
    with torch.no_grad():
        for row in range(4):  # item by item: nothing that pads can take part
            (features, lengths) = method.regions(item(images, row))
            members = features / (features.norm(dim=-1, keepdim=True) + 1e-8)
            sets[0].append(torch.cat([method.region_pooling(members, lengths), members[0]]))
        for row in range(5):
            one = item(texts, row)
            features = method.words(one)
            members = features / (features.norm(dim=-1, keepdim=True) + 1e-8)
            sets[1].append(torch.cat([method.word_pooling(members, one.lengths), members[0]]))
        encoded = method.encode_images(images), method.encode_texts(texts)
        weights = {key: value.clone() for key, value in method.measure.state_dict().items()}
        similarity = method.train(training).similarity(*encoded)
    for side, items in zip(encoded, sets, strict=True):
        assert side.lengths.tolist() == [len(one) for one in items]
        torch.testing.assert_close(side.vectors, torch.cat(items), rtol=0, atol=1e-10)
    pool = reasoning(weights, 2) if name == "sgr_bigru" else filtration(weights, training)
    torch.testing.assert_close(similarity, measured(weights, sets[0], sets[1], 9.0, pool), rtol=0, atol=1e-10)


@EACH
@pytest.mark.parametrize("value", [math.nan, 1e30])
def test_what_pads_regions_and_captions_is_never_looked_at(name: str, value: float) -> None:
    images, texts = image_batch([5, 2, 4], WIDTH), text_batch([4, 2, 6], N_WORDS)
    regions, ids = images.regions.clone(), texts.ids.clone()
    regions[1, 2:], regions[2, 4:], ids[0, 4:], ids[1, 2:] = value, value, 7, 3
    outcomes: list[list[Tensor]] = []
    for batch, text in ((images, texts), (RegionBatch(regions, images.lengths), TextBatch(ids, texts.lengths))):
        method = built(name).train()
        scores = method.similarity(method.encode_images(batch), method.encode_texts(text))
        outcomes.append([scores.detach(), *(buffer.double() for buffer in method.buffers())])
    for one, two in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@EACH
def test_images_of_any_number_of_regions_are_learned_from_and_evaluated(name: str) -> None:
    method = built(name).train()
    images, texts = image_batch(list(range(1, 51)), WIDTH), text_batch([3] * 50, N_WORDS)
    scores = method.similarity(method.encode_images(images), method.encode_texts(texts))
    scores.diagonal().sum().backward()  # type: ignore[no-untyped-call]
    for key, weight in method.named_parameters():
        assert weight.grad is None or bool(weight.grad.isfinite().all()), key
    weight = method.region_pooling.local_norm.weight
    assert tuple(weight.shape) == (1,) and weight.grad is not None and bool(weight.grad.any())
    with torch.no_grad():
        alone = method.eval().similarity(method.encode_images(item(images, 36)), method.encode_texts(texts))
        assert torch.allclose(alone, method.similarity(method.encode_images(images), method.encode_texts(texts))[36:37])


@EACH
def test_weights_for_each_regions_place_refuse_images_of_another_number_as_they_are_opened(name: str) -> None:
    assert built(name).input == RegionInput()
    fitting, other = built(name, 16, ranked_regions=6).eval(), built(name, 16, ranked_regions=36)
    assert tuple(fitting.region_pooling.local_norm.weight.shape) == (6,)
    with contextlib.chdir(prepared()):  # whose images have 6 regions
        vocabulary = Vocabulary.load(layout.vocabulary("tiny") / layout.WORDS, layout.NLTK)
        assert isinstance(fitting.input, RegionInput)
        images = open_split("tiny", "test", vocabulary, fitting.input).images
        assert len(fitting.encode_images(images.batch(range(8)))) == 8
        assert isinstance(other.input, RegionInput)
        with pytest.raises(
            DataError, match=r"image \d+ has 6 regions .*(?s:.)*36 regions.*model\.ranked_regions(?s:.)*Choose"
        ):
            open_split("tiny", "test", vocabulary, other.input)


@EACH
def test_batches_of_a_training_step_have_gradients_that_are_finite_at_published_size(name: str) -> None:
    method = built(name, width=64, dim=1024, alignment_dim=256).train()
    losses = loss_of(method_settings(name), method, pair_batch(4, 1, 64, N_WORDS), Progress(5, 0))
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None or bool(weight.grad.isfinite().all()) for weight in method.parameters())


@pytest.mark.parametrize("padding", ["masked", "released"])
def test_captions_are_taken_as_the_released_evaluation_has_them_where_padding_takes_part(
    padding: Literal["masked", "released"],
) -> None:
    assert built("lhsc_bigru", padding=padding).captions_together == (None if padding == "masked" else 100)


def expected_sizes(name: str) -> dict[str, tuple[int, ...]]:
    """Of all weights but the GRU's; a linear layer's and a batch norm's by their sizes."""
    linear: dict[str, tuple[int, int]] = {
        "regions.fc": (DIM, WIDTH),
        **{f"{side}_pooling.{layer}": (DIM, DIM) for side in ("region", "word") for layer in ("local", "mean")},
        "region_pooling.score": (1, DIM),
        "word_pooling.score": (1, DIM),
        "measure.local": (ALIGNMENT_DIM, DIM),
        "measure.whole": (ALIGNMENT_DIM, DIM),
        "measure.score": (1, ALIGNMENT_DIM),
    }
    norms = {"region_pooling.local_norm": 1, "region_pooling.mean_norm": DIM}
    if name == "sgr_bigru":
        for step in range(2):
            linear |= {f"measure.reasoning.{step}.{k}": (ALIGNMENT_DIM, ALIGNMENT_DIM) for k in ("query", "key", "out")}
    else:
        linear["measure.filtration.weights"], norms["measure.filtration.norm"] = (1, ALIGNMENT_DIM), 1
    if name == "lhsc_bigru":
        for layer in range(2):
            graph = f"regions.graph.{layer}"
            linear |= {f"{graph}.{side}.{head}": (DIM // 2, DIM) for side in ("theta", "phi") for head in range(2)}
            linear |= {f"{graph}.{part}": (DIM, DIM) for part in ("query", "key", "value", "out")}
            norms[f"{graph}.norm"] = DIM
            linear |= {
                f"words.attention.{layer}.{part}": (WORD_DIM, WORD_DIM) for part in ("local", "context", "value")
            }
    sizes: dict[str, tuple[int, ...]] = {"words.embed.weight": (N_WORDS, WORD_DIM)}
    for layer_name, (out, width) in linear.items():
        sizes |= {f"{layer_name}.weight": (out, width), f"{layer_name}.bias": (out,)}
    for norm, channels in norms.items():
        sizes |= {f"{norm}.{key}": (channels,) for key in ("weight", "bias", "running_mean", "running_var")}
        sizes[f"{norm}.num_batches_tracked"] = ()
    return sizes


@EACH
def test_weights_have_the_names_and_sizes_that_checkpoints_rely_on(name: str) -> None:
    state = built(name).state_dict()
    sizes = {key: tuple(value.shape) for key, value in state.items() if not key.startswith("words.gru.")}
    assert sizes == expected_sizes(name)
    assert state["words.gru.weight_ih_l0_reverse"].shape == (3 * DIM, WORD_DIM)


@EACH
def test_layers_start_as_released_xavier_and_biases_0(name: str) -> None:
    settings = method_settings(name)
    method = method_of(settings, WIDTH, N_WORDS, 0)
    for key, weight in method.named_parameters():
        if not key.startswith(("region_pooling", "word_pooling", "measure")) or "norm" in key:
            continue
        if key.endswith("bias"):
            assert not weight.any(), key
        else:
            bound = math.sqrt(6 / sum(weight.shape))
            assert 0.6 * bound < weight.abs().max() <= bound, key


def test_settings_reach_the_parts_that_they_are_of() -> None:
    sgr = built("sgr_bigru", softmax_scale=4.0, dropout=0.3)
    assert isinstance(method_settings("sgr_bigru").model, SGRAFSettings)
    assert (sgr.measure.softmax_scale, len(sgr.measure.reasoning)) == (4.0, 2)
    assert (sgr.region_pooling.dropout.p, sgr.word_pooling.dropout.p) == (0.3, 0.3)
    lhsc = built("lhsc_bigru", layers=3, heads=4, softmax_scale=5.0, dropout=0.2)
    assert isinstance(method_settings("lhsc_bigru").model, LHSCSettings)
    assert (len(lhsc.regions.graph), len(lhsc.words.attention), lhsc.measure.softmax_scale) == (3, 3, 5.0)  # type: ignore[arg-type]
    assert (lhsc.region_pooling.dropout.p, lhsc.word_pooling.dropout.p) == (0.2, 0.2)


@pytest.mark.parametrize("name", ["scan_t2i_lse_bigru", "sgr_bigru", "lhsc_bigru"])
def test_what_words_attend_to_is_drawn_for_the_report(name: str, tmp_path: Path) -> None:
    with contextlib.chdir(prepared()):
        vocabulary = Vocabulary.load(layout.vocabulary("tiny") / layout.WORDS, layout.NLTK)
        split = open_split("tiny", "test", vocabulary, RegionInput())
        images = captions.read(layout.captions("tiny"), "test")
        method = method_of(method_settings(name), 16, len(vocabulary.words))
        assert isinstance(method, Attends)
        encoded = encode(method, split, 4, torch.device("cpu"))
        matrix = score(method, encoded.images, encoded.texts, 4)
        write(tmp_path / RETRIEVED, retrieved(Judged("a run", matrix, images), 6, 3))
        explanations.write(tmp_path, method, split, vocabulary)
    one = read(tmp_path / EXPLAINED, Explained, "judge").text_to_image[0][0]
    row = next(i for i, image in enumerate(images) if image.image_id == one.image_id)
    caption = vocabulary.encode(one.caption).ids
    with torch.no_grad():
        image = encoded.images[row : row + 1].vectors
        words = method.eval().encode_texts(TextBatch.pad([np.array(caption)])).vectors
    first = 0 if name.startswith("scan") else 1  # behind the whole vector
    weights = attention(words[first:], image[first:], 9.0)[1:-1]  # without <start> and <end>
    assert len(one.words) == len(weights) == len(caption) - 2
    for word, looks in zip(one.words, weights, strict=True):
        best = int(looks.argmax())
        assert word.looks[0].region == best
        assert word.looks[0].weight == pytest.approx(float(looks[best]), abs=1e-4)
