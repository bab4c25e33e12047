"""From scores to figures: metrics, retrieved examples, and which words look at which regions of these.

No torch is loaded, but for the last of these, where words attend to regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itrcore import layout
from itrcore.arrays import open_array
from itrcore.config import EvaluationSettings, Params
from itrcore.data.captions import Image
from itrcore.evaluation.ranking import metrics
from itrcore.evaluation.results import SCORED, SIMILARITY, SPLIT, images_of_test, read_output
from itrcore.evaluation.retrieved import retrieved
from itrcore.files import read_json, replacing, write_json


def judge(params: Params, name: str) -> Path:
    """Judge the scores of run `name`; returns the folder of its results. It is called what params.yaml calls it now."""
    run = params.run(name)
    folder = layout.evaluation(run.data, name)
    scored = read_output(folder / SCORED, f"evaluate@{name}")
    for key in ("inputs", "similarity_sha256", "test_digest"):
        del scored[key]
    attends = scored.pop("attends")
    described = {**scored, "method": run.method, "profile": run.changes}
    matrix = open_array(folder / SIMILARITY)
    with replacing(layout.result(run.data, name)) as results:
        figures = write_result(results, described, matrix, images_of_test(run.data), params.evaluation)
        if attends:
            _explain(params, name, results)
    _write_metrics(name, figures, scored["dev_rsum"])
    return layout.result(run.data, name)


def write_result(
    folder: Path,
    described: Mapping[str, Any],
    matrix: np.ndarray,
    images: list[Image],
    settings: EvaluationSettings,
) -> dict[str, float]:
    """Rank the matrix (n_images, n_captions); write metrics.json and retrieved.json into a new folder. Returns the metrics.

    described: what metrics.json says besides; images: of the split, in order
    """
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    figures = metrics(matrix, image_of, described["name"])
    shape = {"split": SPLIT, "n_images": matrix.shape[0], "n_captions": matrix.shape[1]}
    write_json(folder / "metrics.json", {**described, **shape, "metrics": figures})
    write_json(folder / "retrieved.json", retrieved(matrix, images, image_of, settings.queries, settings.retrieved))
    return figures


def write_ensemble(
    params: Params, name: str, described: Mapping[str, Any], matrix: np.ndarray, images: list[Image]
) -> Path:
    """The results of an ensemble, as `judge` writes those of a run."""
    with replacing(layout.result(params.ensemble(name).data, name)) as results:
        figures = write_result(results, described, matrix, images, params.evaluation)
    _write_metrics(name, figures, None)
    return layout.result(params.ensemble(name).data, name)


def summary(results: Path) -> str:
    """One line of a folder of results."""
    found = read_json(results / "metrics.json")
    values = found["metrics"]
    return (
        f"{found['name']}: test rsum {values['rsum']:.1f}, i2t R@1 {values['i2t_r1']:.1f}, "
        f"t2i R@1 {values['t2i_r1']:.1f}"
    )


def _write_metrics(name: str, figures: Mapping[str, float], dev_rsum: float | None) -> None:
    shown = {"test/rsum": figures["rsum"]} | ({} if dev_rsum is None else {"dev/rsum": dev_rsum})
    write_json(layout.metrics(name), {key: round(value, 3) for key, value in sorted(shown.items())})


def _explain(params: Params, name: str, results: Path) -> None:
    # Here, as they bring torch with them.
    from itrcore.data.prepared import open_split
    from itrcore.evaluation import explanations
    from itrcore.evaluation.run import load_method

    data = params.run(name).data
    folder = layout.run(data, name)
    method, text = load_method(read_output(folder / "run.json", f"train@{name}"), folder)
    explanations.write(results, method, open_split(data, SPLIT, text.tokeniser, method.input), text.tokeniser)
