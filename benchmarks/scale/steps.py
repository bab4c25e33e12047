"""What a method's training step, encoding and scoring take on a GPU that is not here: an estimate from their operations.

They run as they are, at published size, on a device that has shapes but no values. Each operation takes the longest of three:
its multiplications at the rate of large products, its bytes at the memory's, or the start of a kernel. Recurrent kernels cannot
run there; their products are counted, and so much for each word that has to wait for the one before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from itrcore.assets import assets
from itrcore.costs.rates import Rates
from itrcore.data.feeding.batches import Batch, RegionBatch, TextBatch
from itrcore.data.feeding.random_captions import F30K_IDS, PIECES, WORDS
from itrcore.layers.progress import Progress
from itrcore.methods.build import build
from itrcore.methods.objective import Objective
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.methods import MethodSettings
from itrcore.training.step import Stepper

_META = torch.device("meta")
_EPOCH = 10  # of the step: after warm-ups, at which fewer parts learn


@dataclass(frozen=True)
class Card:
    """A GPU as its maker describes it, and how much of that is reached.

    bf16, float32: operations a second of dense products; bytes: of memory a second; kernel: seconds to start one from Python;
    word: seconds of a recurrent kernel for each word; products, memory: shares that are reached
    """

    name: str
    bf16: float
    float32: float
    bytes: float
    kernel: float = 8e-6
    word: float = 2e-5
    products: float = 0.4
    memory: float = 0.6


CARDS = {
    "h100": Card("H100 SXM", 989e12, 67e12, 3.35e12),
    "a100": Card("A100 80 GB SXM", 312e12, 19.5e12, 2.04e12),
}


@dataclass
class Counted(TorchDispatchMode):
    """Sums the operations that run inside. rate: of products, operations a second"""

    card: Card
    rate: float
    kernels: int = 0
    operations: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.is_view:
            return result
        tensors = [
            each
            for each in tree_leaves((args, kwargs, result))
            if isinstance(each, Tensor) and each.device.type == "meta"
        ]
        if not tensors:
            return result
        count = flop_registry.get(function._overloadpacket)
        operations = count(*args, **(kwargs or {}), out_val=result) if count else 0
        n_bytes = sum(each.numel() * each.element_size() for each in tensors)
        card = self.card
        self.kernels += 1
        self.operations += operations
        self.seconds += max(operations / (self.rate * card.products), n_bytes / (card.bytes * card.memory), card.kernel)
        return result


def rates(settings: MethodSettings, card: Card, regions: int = 36, width: int = 2048) -> tuple[Rates, float]:
    """On this card; and the operations of a training step. regions, width: of an image's features"""
    with _kernels_replaced() as words:
        objective, n_tokens, lengths = _objective(settings, width)
        size, views = settings.recipe.batch_size, settings.model.n_views
        rng = np.random.default_rng(0)
        stepper = Stepper(objective, settings.recipe, 1, 1000, Accelerator(cpu=True))
        objective.method.begin_epoch(_EPOCH)
        objective.train()
        stepper.take(
            _batch(size, size * views, regions, width, n_tokens, lengths, rng), Progress(_EPOCH, 0)
        )  # its state
        batch = _batch(size, size * views, regions, width, n_tokens, lengths, rng)
        words.clear()
        with Counted(card, card.bf16) as step:
            stepper.take(batch, Progress(_EPOCH, 1))
        seconds = step.seconds + 3 * sum(words) * card.word  # forward, and backward twice as long

        method = objective.method.eval()
        batch = _batch(256, 256, regions, width, n_tokens, lengths, rng)
        parts: dict[str, float] = {}
        with torch.no_grad():  # in inference mode products inside of other operations would not be seen
            with Counted(card, card.float32) as counted:
                images = method.encode_images(batch.images)
            parts["image"] = counted.seconds / 256
            words.clear()
            with Counted(card, card.float32) as counted:
                texts = method.encode_texts(batch.texts)
            parts["caption"] = (counted.seconds + sum(words) * card.word) / 256
            with Counted(card, card.float32) as counted:
                method.similarity(images, texts)
            parts["pair"] = counted.seconds / 256**2
    parameters = sum(each.numel() for each in objective.method.parameters())
    return Rates(step=seconds, **parts, parameters=parameters, how="estimated"), step.operations


def _objective(settings: MethodSettings, width: int) -> tuple[Objective, int, np.ndarray[Any, Any]]:
    """With weights without values; tokens of its vocabulary; how often captions have 0, 1, 2, … tokens."""
    image, text, concepts = assets.untrained(settings.model, width, F30K_IDS.size)
    lengths = np.array(WORDS if isinstance(settings.model.text, BiGRUSettings) else PIECES, float)
    with _META:
        objective = Objective.of(settings, build(settings, image, text.source, 1, concepts))
    return objective, F30K_IDS.size, lengths / lengths.sum()


def _batch(
    images: int, captions: int, regions: int, width: int, n_tokens: int, lengths: Any, rng: np.random.Generator
) -> Batch:
    drawn = rng.choice(len(lengths), captions, p=lengths)
    texts = TextBatch.pad([rng.integers(4, n_tokens, length) for length in drawn])
    given = RegionBatch(torch.zeros(images, regions, width), torch.full((images,), regions))
    return Batch(given, texts, list(range(images)), list(range(images))).to(_META)


@contextlib.contextmanager
def _kernels_replaced() -> Iterator[list[int]]:
    """What torch's recurrent kernel computes, without the order; autocast knows no device without values. Words of each call."""
    words: list[int] = []

    def gru(self: nn.GRU, values: Tensor) -> tuple[Tensor, None]:
        words.append(values.shape[1])
        ends = []
        for way in ("", "_reverse"):
            gates = values @ getattr(self, f"weight_ih_l0{way}").T
            state = gates[..., : self.hidden_size]
            ends.append(state + (state @ getattr(self, f"weight_hh_l0{way}").T)[..., : self.hidden_size])
        return torch.cat(ends, dim=-1), None

    with (
        patch.object(nn.GRU, "forward", gru),
        patch.object(nn.utils.rnn, "pack_padded_sequence", lambda values, lengths, batch_first: values),
        patch.object(nn.utils.rnn, "pad_packed_sequence", lambda values, batch_first, total_length: (values, None)),
        patch.object(torch, "autocast", lambda *_, **__: contextlib.nullcontext()),
    ):
        yield words
