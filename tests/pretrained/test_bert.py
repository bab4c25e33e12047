"""BERTs: read as they were published or refused in one line, random ones as configured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from itrcore.data.text.wordpieces import SPECIAL
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.pretrained import bert, weights
from itrcore.settings.encoders import BertShape
from tests.support.helpers import bert_folder, offline

PIECES = [*SPECIAL, *"abcdefgh"]
SHAPE = BertShape(hidden=16, layers=2, heads=4, intermediate=24, positions=12)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def refusal(name: Path | str, revision: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        bert.pretrained(str(name), revision)
    said = str(caught.value)
    assert said.startswith(f"{name}: ") and "\n" not in said
    return said


def test_a_folders_weights_are_the_models_and_nothing_is_printed(tmp_path: Path, capsys: Any) -> None:
    written = bert_folder(tmp_path, PIECES)
    capsys.readouterr()
    read = bert.pretrained(str(tmp_path))
    assert same(read, written)
    assert not any("pooler" in name for name, _ in read.named_parameters())
    assert capsys.readouterr() == ("", "")


def test_half_precision_weights_are_read_as_float32(tmp_path: Path) -> None:
    written = bert_folder(tmp_path, PIECES, dtype=torch.float16)
    read = bert.pretrained(str(tmp_path))
    assert {weight.dtype for weight in read.parameters()} == {torch.float32}
    assert same(read, written.float())


def old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As in the first BERTs: below `bert.`, gamma and beta, with heads that are not used here."""
    known = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {"cls.predictions.bias": torch.zeros(len(PIECES)), "bert.pooler.dense.bias": torch.zeros(16)}
    for name, weight in weights.items():
        for new, old in known.items():
            name = name.replace(new, old)
        renamed[f"bert.{name}"] = weight
    return renamed


def test_the_first_berts_files_are_read_too(tmp_path: Path, capsys: Any) -> None:
    written = bert_folder(tmp_path, PIECES)
    (tmp_path / "model.safetensors").unlink()
    torch.save(old_names(written.state_dict()), tmp_path / "pytorch_model.bin")
    config = read_json(tmp_path / "config.json")
    del config["model_type"]  # theirs does not say it
    (tmp_path / "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert same(bert.pretrained(str(tmp_path)), written)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["roberta", "electra", "distilbert"])
def test_another_architecture_is_refused_even_where_its_weights_would_fit(tmp_path: Path, kind: str) -> None:
    import transformers

    sizes = {
        "vocab_size": 20,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    if kind == "electra":
        sizes["embedding_size"] = 16
    if kind == "distilbert":
        sizes = {"vocab_size": 20, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **sizes)).save_pretrained(tmp_path)
    assert f"no BERT can be had from here (its config.json says {kind})" in refusal(tmp_path)


def drop_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("encoder.layer.0.output.")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def resize(folder: Path) -> None:
    config = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 99}))


def test_weights_that_are_missing_or_of_another_size_are_named_and_not_drawn(tmp_path: Path) -> None:
    bert_folder(tmp_path / "a", PIECES)
    drop_a_layer(tmp_path / "a")
    said = refusal(tmp_path / "a")
    assert "lacks weights" in said and "encoder.layer.0.output.dense.weight" in said
    bert_folder(tmp_path / "b", PIECES)
    resize(tmp_path / "b")
    assert "describes: embeddings.position_embeddings.weight; expected all" in refusal(tmp_path / "b")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-40]),
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").unlink(),
    ],
    ids=["cut", "no pickle", "no weights", "no JSON", "no configuration"],
)
def test_a_damaged_folder_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    bert_folder(tmp_path, PIECES)
    damage(tmp_path)
    said = refusal(tmp_path)
    assert "no BERT can be had from here (" in said and "config.json and model.safetensors" in said


def test_without_network_a_name_on_the_hub_is_refused_at_once_with_its_revision(tmp_path: Path) -> None:
    program = """
import time
from itrcore.errors import DataError
from itrcore.pretrained import bert
from transformers import BertModel  # its import is no waiting for a network
started = time.monotonic()
try:
    bert.pretrained("lab/none", "v1")
except DataError as error:
    print(error)
print(time.monotonic() - started)
"""
    said, seconds = offline(program, tmp_path)
    assert said.startswith("lab/none: no BERT can be had from here at revision v1 (") and "HF_HUB_OFFLINE" in said
    assert float(seconds) < 20


def test_a_random_bert_has_the_sizes_asked_for_and_is_else_bert_base() -> None:
    config = bert.config_of(SHAPE, 40)
    model = bert.configured(config)
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert shapes["embeddings.word_embeddings.weight"] == (40, 16)
    assert shapes["embeddings.position_embeddings.weight"] == (12, 16)
    assert shapes["encoder.layer.1.intermediate.dense.weight"] == (24, 16)
    assert len(model.encoder.layer) == 2 and config.num_attention_heads == 4
    assert (config.hidden_dropout_prob, config.hidden_act, config.layer_norm_eps) == (0.1, "gelu", 1e-12)
    assert not any("pooler" in name for name in shapes)


def test_a_configuration_comes_back_whole_and_does_not_say_where_it_was(tmp_path: Path) -> None:
    bert_folder(tmp_path / "somewhere", PIECES)
    config = bert.pretrained(str(tmp_path / "somewhere")).config
    config.layer_norm_eps = 1e-7
    weights.save_config(config, tmp_path / "bert.json")
    assert "somewhere" not in (tmp_path / "bert.json").read_text()
    again = bert.read_config(tmp_path / "bert.json")
    assert (again.hidden_size, again.num_attention_heads, again.layer_norm_eps) == (16, 2, 1e-7)
    assert same(bert.configured(again), bert.configured(again)) is False  # drawn anew: weights are elsewhere
    weights.save_config(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "bert.json").read_text()


def test_the_digest_follows_from_the_weights_alone(tmp_path: Path) -> None:
    bert_folder(tmp_path / "a", PIECES)
    first, moved = bert.pretrained(str(tmp_path / "a")), tmp_path / "b"
    (tmp_path / "a").rename(moved)
    assert weights.weights_digest(first) == weights.weights_digest(bert.pretrained(str(moved)))
    with torch.no_grad():
        next(first.parameters())[0, 0] += 1e-6
    assert weights.weights_digest(first) != weights.weights_digest(bert.pretrained(str(moved)))
