"""What a recipe may say of encoders: sizes that fit, and either weights or a shape."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.small_experiment import BERT, SHAPE, VSE, plain

WRONG_BERTS: list[tuple[dict[str, Any], str]] = [
    ({"weights": "random"}, "weights: random needs shape (hidden, layers, heads, intermediate, positions)"),
    ({"shape": SHAPE}, "shape is for weights: random; those of lab/bert have their own"),
    ({"weights": "random", "shape": SHAPE, "revision": "v1"}, "revision is for weights from the hub; remove it"),
    ({"weights": "random", "shape": SHAPE | {"heads": 3}}, "hidden 16 must be a multiple of heads 3"),
    ({"weights": "random", "shape": SHAPE | {"positions": 7}}, "greater than or equal to 8, not 7"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_BERTS, ids=lambda value: str(value)[:40])
def test_a_bert_that_cannot_be_built_is_named(change: dict[str, Any], message: str, complaints: Any) -> None:
    data = plain()
    method = data["methods"]["vse"]
    method["model"]["text"], method["recipe"]["factors"] = BERT | change, {"bert": 0.1}
    [line] = complaints(data)
    assert line.startswith(f"{VSE}: model.text") and message in line
