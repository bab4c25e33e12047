"""A method's settings: its family, and parts that fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itrcore.settings.load import load
from tests.support.small_experiment import BERT, VSE, plain


def test_the_factor_of_berts_learning_rate_is_given_where_there_is_a_bert_and_nowhere_else(complaints: Any) -> None:
    data = plain()
    method = data["methods"]["vse"]
    method["recipe"]["factors"] = {"bert": 0.1}
    assert complaints(data) == [f"{VSE}: recipe.factors name parts that this model does not have: bert; remove them"]
    method["model"]["text"] = BERT
    assert complaints(data) == []
    del method["recipe"]["factors"]
    assert complaints(data) == [
        f"{VSE}: recipe.factors must give the factor of the learning rate of bert, such as {{bert: 0.1}}"
    ]
    method["recipe"]["factors"] = {"bert": 0}
    assert "greater than 0, not 0" in complaints(data)[0]
    method["recipe"]["factors"] = {"brt": 0.1}
    assert any(line.startswith(f"{VSE}: recipe.factors") and "bert" in line for line in complaints(data))


def test_a_family_follows_from_the_settings_whatever_the_recipe_is_called(complaints: Any, tmp_path: Path) -> None:
    data = plain()
    method = data["methods"]["vse"]
    for pooling in ({"kind": "mean"}, method["model"]["pooling"]):
        for text in (method["model"]["text"], BERT):
            entry = {**method, "model": {**method["model"], "pooling": pooling, "text": text}}
            if text is BERT:
                entry["recipe"] = {**method["recipe"], "factors": {"bert": 0.1}}
            data["methods"][f"mine-{len(data['methods'])}"] = entry
    assert complaints(data) == []
    params = load(tmp_path / "params.yaml")
    assert {name: recipe.settings.family for name, recipe in params.recipes.items()} == {
        "vse": "vse_infty_bigru", "mine-1": "vse_pp_bigru", "mine-2": "vse_pp_bert", "mine-3": "vse_infty_bigru",
        "mine-4": "vse_infty_bert",
    }  # fmt: skip
