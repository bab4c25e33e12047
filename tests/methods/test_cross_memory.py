"""What SCAN's and SGRAF's similarities cost: bounded memory, in a process of its own, and no loop over captions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.processes import in_fresh_process, resident_peak
from itrcore.layers.encoded import Sets
from itrcore.methods.contract import Method
from itrcore.methods.scan import scan
from itrcore.methods.sgraf import alignment
from tests.support.helpers import method_of, method_settings
from tests.support.plain_attention import make_sets, packed

DIM, ALIGNMENT_DIM, REGIONS, WORDS = 64, 32, 36, 12  # words: on average
FAMILIES = ["scan_t2i_lse_bigru", "scan_i2t_lse_bigru", "sgr_bigru", "saf_bigru"]


def built(name: str) -> Method:
    settings = method_settings(name, dim=DIM)
    if not name.startswith("scan"):
        model: Any = settings.model.model_copy(update={"alignment_dim": ALIGNMENT_DIM})
        settings = settings.model_copy(update={"model": model})
    return method_of(settings, 8, 20, 0).eval()


def sides(n_images: int, lengths: list[int]) -> tuple[Sets, Sets]:
    images, texts = (make_sets(of, DIM, seed, torch.float32) for seed, of in enumerate(([REGIONS] * n_images, lengths)))
    return packed(images), packed(texts)


def taken() -> dict[str, int]:
    """Bytes that similarities add to the most that this process has held: of many images, and of many captions."""
    many, few = ([5 + number % (2 * WORDS - 9) for number in range(count)] for count in (5000, 300))
    pairs = sides(400, few), sides(20, many)
    added = {}
    with torch.inference_mode():
        built(FAMILIES[0]).similarity(pairs[0][0][:1], pairs[0][1][:1])
        for name in FAMILIES:
            before = resident_peak()
            for images, texts in pairs:
                built(name).similarity(images, texts)
            added[name] = resident_peak() - before
    return added


def test_memory_is_that_of_a_few_blocks_not_of_all_pairs() -> None:
    # The products alone, of 14,400 regions × 3,600 words and of 720 × 60,000, would take 210 and 170 MB.
    added = in_fresh_process(taken)
    assert sum(added.values()) < 150e6, added


@pytest.mark.parametrize("name", FAMILIES)
def test_captions_of_one_length_are_scored_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = scan if name.startswith("scan") else alignment
    blocks, attend = [], module.attend

    def counted(attn: torch.Tensor, *others: Any) -> Any:
        blocks.append((len(attn), attn.shape[2]))
        return attend(attn, *others)

    monkeypatch.setattr(module, "attend", counted)
    with torch.inference_mode():
        built(name).similarity(*sides(3, [WORDS + (not name.startswith("scan"))] * 2000))
    assert sum(captions * images for captions, images in blocks) == 2000 * 3
    assert len(blocks) <= 30  # of a thousand words or more each
