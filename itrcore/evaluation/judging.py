"""From a run's scores to figures by every protocol, retrieved examples and, where words attend to regions, explanations of these.

Only explanations load torch.
"""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.data import captions
from itrcore.files import replacing
from itrcore.protocols.contract import Judged
from itrcore.protocols.results import write_results
from itrcore.runs.distractors import open_distractors
from itrcore.runs.folder import SCORES, SPLIT, read
from itrcore.runs.pairs import open_pairs
from itrcore.runs.records import Evaluation, Scores
from itrcore.runs.scored import open_scores
from itrcore.settings.params import Params
from itrcore.settings.runs import TransferSettings


def judge(params: Params, name: str) -> Evaluation:
    """Judge the scores of a run or transfer and write its results, under the method and profile that params.yaml names now.

    `DataError` where the run is not evaluated, or its scores are damaged.
    """
    each = params.evaluated(name)
    run, stage = params.run(each.run), f"{'transfer' if name in params.transfers else 'evaluate'}@{name}"
    folder = layout.evaluation(each.data, name)
    scores = read(folder / SCORES, Scores, stage)
    scored = open_scores(folder, SPLIT, scores.files, stage)
    images, dataset = captions.read(layout.captions(each.data), SPLIT), params.dataset(each.data)
    pairs = None if dataset.negatives is None else open_pairs(folder, SPLIT, scores.files, stage)
    altered = None if dataset.altered is None else open_distractors(folder, SPLIT, scores.files, stage)
    judged = Judged(
        name,
        scored.whole(),
        images,
        vectors=scored.vectors,
        cxc=dataset.ratings,
        pairs=pairs,
        altered=altered,
    )
    with replacing(layout.result(each.data, name)) as results:
        evaluation = write_results(
            results, scores, run.method, run.changes, judged, dataset.protocols, params.evaluation
        )
        if scores.attends:
            _explain(params, each, results)
    return evaluation


def _explain(params: Params, each: TransferSettings, results: Path) -> None:
    # Imported here, as they load torch.
    import torch

    from itrcore.data.feeding.prepared import open_split
    from itrcore.evaluation import explanations
    from itrcore.evaluation.load import load_run

    torch.set_num_threads(params.training.threads)  # as in `evaluate`: with another number sums round otherwise
    run = load_run(layout.run(each.trained_on, each.run))
    tokeniser = run.assets.text.tokeniser
    explanations.write(results, run.method, open_split(each.data, SPLIT, tokeniser, run.method.input), tokeniser)
