"""From scores to figures: metrics, retrieved examples, and which words look at which regions of these.

No torch is loaded, but for the last of these, where words attend to regions.
"""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.arrays import open_array
from itrcore.evaluation.figures import write_metrics, write_result
from itrcore.files import replacing
from itrcore.runs.reading import SCORED, SIMILARITY, SPLIT, images_of_test, read_output
from itrcore.settings.params import Params


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
    write_metrics(name, figures, scored["dev_rsum"])
    return layout.result(run.data, name)


def _explain(params: Params, name: str, results: Path) -> None:
    # Here, as they bring torch with them.
    import torch

    from itrcore.data.feeding.prepared import open_split
    from itrcore.evaluation import explanations
    from itrcore.evaluation.evaluate import load_method

    torch.set_num_threads(params.training.threads)  # as `evaluate` does: other numbers round otherwise
    data = params.run(name).data
    folder = layout.run(data, name)
    method, restored = load_method(read_output(folder / "run.json", f"train@{name}"), folder)
    tokeniser = restored.text.tokeniser
    explanations.write(results, method, open_split(data, SPLIT, tokeniser, method.input), tokeniser)
