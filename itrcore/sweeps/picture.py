"""The curves of a sweep's trials on dev, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itrcore.files import replacing
from itrcore.runs.trials import Trial
from itrcore.settings.sweeps import Sweep
from itrcore.sweeps.run import in_words

_COLOURS = ("#0072b2", "#d55e00", "#009e73")  # of the best ones
_PRUNED, _OTHER = "#aa3377", "#999999"


def draw(sweep: Sweep, trials: Sequence[Trial], path: Path) -> None:
    """Each trial's rsum on dev by epoch, of the first seed; the best are named, those that were ended have a cross at their end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    finished = sorted((trial for trial in trials if trial.rsum is not None), key=lambda trial: -(trial.rsum or 0))
    best = finished[: len(_COLOURS)]
    named = {trial.number: _COLOURS[place] for place, trial in enumerate(best)}
    for trial in [*(trial for trial in trials if trial.number not in named), *best]:
        if not trial.curve:
            continue
        epochs, rsums = zip(*trial.curve, strict=True)
        if trial.number in named:
            label = f"{trial.number}: {in_words(trial.values)}"
            axes.plot(epochs, rsums, color=named[trial.number], linewidth=2, label=label)
        elif trial.state == "pruned":
            axes.plot(epochs, rsums, color=_PRUNED, linewidth=1)
            axes.plot(epochs[-1], rsums[-1], "x", color=_PRUNED)
        else:
            axes.plot(epochs, rsums, color=_OTHER, linewidth=1)
    axes.plot([], [], color=_OTHER, linewidth=1, label="other finished trials")
    axes.plot([], [], "x-", color=_PRUNED, linewidth=1, label="ended by the pruner")
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"rsum on dev, seed {sweep.settings.seeds[0]}")
    axes.set_title(f"{sweep.name}: {sweep.settings.run} with other settings", loc="left")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png", dpi=120)
