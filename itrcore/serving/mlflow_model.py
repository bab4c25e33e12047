"""A trained run and the pictures that it searches, as a model of MLflow.

MLflow keeps this file with the model and runs it to load the model (models from code): weights and vectors are safetensors, and
nothing is pickled. `itrcore/serving/model_folder.py` writes such models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

import itrcore
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.serving.limits import BEST
from itrcore.serving.model_folder import ENCODED, ITEMS


class PictureSearch(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow has no types
    """Texts in, the best pictures for each out."""

    def load_context(self, context: Any) -> None:
        """Load the run and its encoded pictures. `DataError` where a file is damaged."""
        self._run = itrcore.load(context.artifacts["run"])
        gallery = Path(context.artifacts["gallery"])
        self._encoded, self._items = self._run.read(gallery / ENCODED), read_json(gallery / ITEMS)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """For each text its `k` best pictures, best first; 1 to 100 of them.

        model_input: a data frame with a column `text`. Returns rows of query (the text's row), rank (from 1), image_id,
        file_name and score
        """
        k = int((params or {}).get("k", 5))
        if not 1 <= k <= BEST:
            raise DataError(f"k is {k}; expected 1 to {BEST}")
        found = self._run.search(model_input["text"].tolist(), self._encoded, k)
        return [
            {"query": query, "rank": rank, **self._items[match.item], "score": match.score}
            for query, matches in enumerate(found)
            for rank, match in enumerate(matches, 1)
        ]


mlflow.models.set_model(PictureSearch())
