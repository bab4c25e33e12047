"""From a similarity matrix to the folder of results: figures, ranks and examples, of a run or of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itrcore import layout, registry
from itrcore.files import sha256, write_json
from itrcore.protocols import outcomes_file, ranked
from itrcore.protocols.contract import Judged, protocol
from itrcore.protocols.retrieved import retrieved
from itrcore.runs.folder import METRICS, OUTCOMES, RANKS, RETRIEVED, SPLIT, write
from itrcore.runs.records import Evaluation, Measured, Metrics
from itrcore.settings.evaluation import EvaluationSettings


def write_results(
    folder: Path,
    measured: Measured,
    method: str | None,
    profile: str | None,
    judged: Judged,
    protocols: Sequence[str],
    settings: EvaluationSettings,
) -> Evaluation:
    """Judge similarities by the split and more protocols; write metrics.json, ranks.parquet, retrieved.json, DVC's figures.

    measured: what the matrix was made with; method, profile: of a run, as params.yaml names them now; None for an ensemble
    folder: a new one; protocols: names of those beside the split. If some have outcomes, outcomes.safetensors is written too
    `DataError` where a similarity is not finite, matrix and images do not fit, or a protocol cannot be had with these images.
    """
    ranked.write(folder / RANKS, ranked.ranked(judged), judged.images)
    described = {name: protocol(name) for name in protocols}
    outcomes = {name: each.outcomes(judged) for name, each in described.items() if each.outcomes is not None}
    known = {name: each for name, each in outcomes.items() if each is not None}
    if known:
        outcomes_file.write(folder / OUTCOMES, known)
    evaluation = Evaluation(
        **{key: getattr(measured, key) for key in Measured.model_fields if key != "files"},
        files=measured.files | {name: sha256(folder / name) for name in (RANKS, *([OUTCOMES] if known else []))},
        method=method,
        profile=profile,
        split=SPLIT,
        n_images=judged.similarity.shape[0],
        n_captions=judged.similarity.shape[1],
        metrics=Metrics(**protocol(registry.WHOLE_SPLIT).measure(judged)),
        protocols={name: each.measure(judged) for name, each in described.items()},
    )
    write(folder / METRICS, evaluation)
    write(folder / RETRIEVED, retrieved(judged, settings.queries, settings.retrieved))
    _write_for_dvc(evaluation)
    return evaluation


def summary(evaluation: Evaluation) -> str:
    """One line of figures."""
    values = evaluation.metrics
    return f"{evaluation.name}: test rsum {values.rsum:.1f}, i2t R@1 {values.i2t_r1:.1f}, t2i R@1 {values.t2i_r1:.1f}"


def _write_for_dvc(evaluation: Evaluation) -> None:
    """The figures that DVC compares; dev's only of a run that was trained here, at its best evaluation."""
    shown = {"dev/rsum": evaluation.dev_rsum, "test/rsum": evaluation.metrics.rsum, **evaluation.by_protocol}
    write_json(
        layout.metrics(evaluation.name), {key: round(value, 3) for key, value in shown.items() if value is not None}
    )
