"""A frozen BERT is not trained; what it makes of captions is computed once, and is what it would make of them at any time."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from itrcore import layout
from itrcore.data.feeding.prepared import open_split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.text.tokens import TokenIds
from itrcore.data.text.wordpieces import SPECIAL
from itrcore.errors import ConfigError
from itrcore.evaluation.load import load_run
from itrcore.evaluation.scoring import encode, score
from itrcore.files import read_json, sealed
from itrcore.layers.text_encoders import BertEncoder
from itrcore.ranking import metrics, ranks
from itrcore.settings.encoders import BertSettings
from itrcore.settings.methods import TokenViewSettings
from tests.support.helpers import bert_folder, text_batch
from tests.support.tiny_project import BERT, project, train_in, weights, write_params

REMOVED = {"touch": 0.2, "mask": 0.0, "random": 0.0, "remove": 1.0}
FROZEN = {
    "methods.esa_bert.model.text": {"kind": "bert", "weights": "bert", "dropout": 0.1, "freeze": True},
    "methods.esa_bert.model.token_views": REMOVED,
    "runs.one.method": "esa_bert",
}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a project whose run `one` was trained with a frozen BERT."""
    project(tmp_path, FROZEN)
    pieces = (tmp_path / layout.vocabulary("tiny") / layout.PIECES).read_text("utf-8").splitlines()
    torch.manual_seed(1)
    bert_folder(tmp_path / "bert", pieces)
    train_in(tmp_path)
    return tmp_path


def test_only_what_is_behind_a_frozen_bert_is_trained_on_states_that_are_those_of_evaluation(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained / layout.run("tiny", "one")
    published, found = load_file(trained / "bert" / "model.safetensors"), load_file(run / layout.WEIGHTS)
    kept = {name.removeprefix("words.bert."): weight for name, weight in found.items() if ".bert." in name}
    assert kept.keys() == {name for name in published if "pooler" not in name}
    assert all(torch.equal(weight, published[name]) for name, weight in kept.items())

    # Dev in training was of kept states. The finished run, which reads each caption anew, must rank it alike.
    history = sealed(read_json(run / "history.json"))
    best = next(point for point in history["evaluations"] if point["epoch"] == history["best_epoch"])
    with contextlib.chdir(trained):
        loaded = load_run(run)
        dev = open_split("tiny", "dev", loaded.assets.text.tokeniser, loaded.method.input)
        encoded = encode(loaded.method, dev, 16, torch.device("cpu"))
        found_on_dev = metrics(ranks(score(loaded.method, encoded.images, encoded.texts, 16), dev.image_of, "dev"))
    assert found_on_dev["rsum"] == pytest.approx(best["dev"]["rsum"], abs=1e-9)

    # Another training reads nothing: the states are in their files.
    write_params(trained, {**FROZEN, "runs.one.seed": 2})
    before = weights(run)
    monkeypatch.setattr(BertEncoder, "states", lambda self, batch: pytest.fail("captions are read again"))
    assert weights(train_in(trained)) != before


def test_states_go_with_their_tokens_through_batches_and_views() -> None:
    rng = np.random.default_rng(0)
    lengths = [5, 9, 3, 7]
    ids = np.arange(1, 1 + sum(lengths), dtype=np.int32)  # every token another one
    words = np.concatenate([[-1, *range(length - 2), -1] for length in lengths]).astype(np.int32)
    table = TokenTable(ids, words, np.cumsum([0, *lengths]), torch.from_numpy(ids).half()[:, None].repeat(1, 2))
    rows = np.array([3, 1, 1, 0])
    half = TokenViewSettings(**{**REMOVED, "touch": 0.5})
    views = table.touched(rows, half, TokenIds(30, 29, np.arange(4, 29)), rng)
    assert len(set(views.lengths.tolist()) - set(lengths)) > 0
    for batch in (
        table.batch(rows),
        table.first(4).batch(rows),
        views,
        views.part(slice(1, 3)),
        views.to(torch.device("cpu")),
    ):
        assert batch.states is not None and torch.equal(batch.states[..., 0].long(), batch.ids)
    assert views.to(torch.device("cpu")).states.dtype == torch.float32  # type: ignore[union-attr]


def test_a_frozen_bert_gives_the_kept_states_in_training_too(tmp_path: Path) -> None:
    settings = BertSettings(kind="bert", weights="a folder", dropout=0.0, freeze=True)
    encoder = BertEncoder(
        bert_folder(tmp_path, [*SPECIAL, *"abcdef"]), 8, settings
    ).train()  # BERT's own dropout is 0.1
    batch = text_batch([4, 7, 2], 10)
    kept = replace(batch, states=encoder.states(batch)).to(torch.device("cpu"))
    assert torch.equal(encoder(batch), encoder(kept))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model.token_views.mask": 0.5, "model.token_views.remove": 0.5},
            "{touch: 0.2, mask: 0, random: 0, remove: 1}",
        ),
        ({"model.text": {**BERT, "freeze": True}}, "would stay so"),
    ],
)
def test_what_cannot_be_frozen_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    changes = {f"methods.esa_bert.{key}": value for key, value in changes.items()}
    with pytest.raises(ConfigError, match=re.escape(said)):
        write_params(tmp_path, {**FROZEN, **changes}).method_of("one")
