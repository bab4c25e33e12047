"""`itr sweep`: a sweep of `sweeps/<name>.yaml`, run or gone on with; its table; its best trial taken into params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from itrcore.answer import Answer
from itrcore.errors import ConfigError
from itrcore.terminal import Screen, say, warn

if TYPE_CHECKING:
    from itrcore.runs.trials import Trial
    from itrcore.settings.sweeps import Sweep
    from itrcore.sweeps.study import Study

_PARAMS = Path("params.yaml")


def sweep(
    name: str = typer.Argument(help="of sweeps/NAME.yaml"),
    jobs: int = typer.Option(1, min=1, help="how many trainings go on at once"),
    gpus: str | None = typer.Option(None, help="GPUs to spread them over, such as 0,1; each training sees one"),
    show: bool = typer.Option(False, "--show", help="train nothing; print the table of trials"),
    picture: Path | None = typer.Option(None, help="train nothing; draw the trials' curves on dev into this file"),
    adopt: str | None = typer.Option(
        None,
        metavar="PROFILE",
        help="train nothing; write the best trial into params.yaml as this profile, with its runs",
    ),
    anew: bool = typer.Option(False, "--anew", help="begin again where code, settings or data have changed since"),
) -> Answer:
    """Train a run with other settings, many times, and find what is best on dev. Run it again to go on with it."""
    from itrcore.settings import sweeps
    from itrcore.settings.load import load

    found = sweeps.read(load(), name)
    trains = not (show or picture or adopt)
    study = _run(found, jobs, [] if gpus is None else gpus.split(","), anew) if trains else _looked_at(found)
    trials, best = study.trials(), study.best()
    if picture is not None:
        from itrcore.sweeps.picture import draw

        draw(found, trials, picture)
    adopted = [] if adopt is None else _adopt(found, study, adopt)

    def told() -> None:
        if trains or show:
            _print(found, study)
        if picture is not None:
            say(str(picture))
        if adopted:
            say(f"Added to params.yaml: profile {adopt}, {', '.join(adopted)}.")

    value = {
        "sweep": name,
        "run": found.settings.run,
        "trials": trials,
        "best": None if best is None else {"trial": best.number, "profile": found.profile(best.values)},
        "picture": picture,
        "adopted": adopted,
    }
    return Answer(value, told, _next(found, study, bool(adopted)) if trains or show or adopted else "")


def _next(found: Sweep, study: Study, adopted: bool) -> str:
    if adopted:
        return "Next: dvc repro, which takes their trainings over"
    lines = []
    if study.best() is not None:
        lines.append(f"To have it trained and evaluated: itr sweep {found.name} --adopt NAME, then: dvc repro")
    trials = study.trials()
    if left := (found.settings.trials or len(trials)) - sum(
        trial.ended or trial.state == "going on" for trial in trials
    ):
        lines.append(f"{left} trials are left; to go on: itr sweep {found.name}")
    return "\n".join(lines)


def _run(found: Sweep, jobs: int, gpus: list[str], anew: bool) -> Study:
    import signal

    from itrcore.sweeps.record import record_of
    from itrcore.sweeps.run import run
    from itrcore.sweeps.space import planned
    from itrcore.sweeps.study import open_study

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    trials = planned(found)
    study = open_study(found, record_of(found), anew)
    run(found, study, trials, jobs, gpus)
    return study


def _looked_at(found: Sweep) -> Study:
    from itrcore.sweeps.study import find_study

    study = find_study(found)
    if study is None:
        raise ConfigError(f"sweep {found.name} has no trials yet; run: itr sweep {found.name}")
    if not study.ours:
        warn("these trials are of other code, settings or data than there are now")
    return study


def _print(found: Sweep, study: Study) -> None:
    from rich import box
    from rich.table import Table

    from itrcore.sweeps.run import shown

    screen, trials = Screen(highlight=False), study.trials()
    title = f"{found.settings.run} with other settings, by rsum on dev"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("trial", justify="right")
    for path in found.settings.search:
        table.add_column(path.replace(".", "\n"), justify="right")
    for seed in found.settings.seeds:
        table.add_column(f"seed\n{seed}", justify="right")
    table.add_column("dev\nrsum", justify="right")
    table.add_column("", overflow="fold")
    for trial in sorted(trials, key=_rank):
        if trial.state != "waiting":
            table.add_row(
                str(trial.number),
                *(shown(trial.values.get(path, "")) for path in found.settings.search),
                *(f"{trial.trained[seed].rsum:.1f}" if seed in trial.trained else "" for seed in found.settings.seeds),
                "" if trial.rsum is None else f"{trial.rsum:.1f}",
                _state(trial),
            )
    screen.print(table)
    best = study.best()
    if best is not None:
        say(f"The best, trial {best.number}, as a profile:")
        say(_as_yaml(found.profile(best.values)))


def _rank(trial: Trial) -> tuple[int, float, int]:
    """Finished ones by rsum, then pruned ones by how far they came, then the others."""
    order = ("finished", "pruned", "failed", "going on", "stopped", "waiting")
    return order.index(trial.state), -(trial.rsum or trial.epoch or 0), trial.number


def _state(trial: Trial) -> str:
    if trial.state == "pruned":
        return f"ended after epoch {trial.epoch}, rsum {trial.curve[-1][1]:.1f}"
    if trial.state == "failed":
        return f"failed: {trial.why}"
    if trial.state in ("going on", "stopped") and trial.curve:
        return f"{trial.state}, epoch {trial.curve[-1][0]:g}, rsum {trial.curve[-1][1]:.1f}"
    return trial.state


def _as_yaml(profile: dict[str, Any]) -> str:
    import io

    from ruamel.yaml import YAML

    yaml, stream = YAML(), io.StringIO()
    yaml.default_flow_style = None
    yaml.dump(profile, stream)
    return "".join(f"    {line}\n" for line in stream.getvalue().splitlines()).rstrip()


def _adopt(found: Sweep, study: Study, profile: str) -> list[str]:
    """Write profile and runs, and give the runs' names; a run takes its trial's training over where nothing has changed since."""
    import shutil

    from itrcore import layout
    from itrcore.files import replacing
    from itrcore.settings import edit
    from itrcore.sweeps.study import state

    best, base = study.best(), found.params.run(found.settings.run)
    if best is None:
        raise ConfigError(f"no trial of sweep {found.name} has finished yet; run: itr sweep {found.name}")
    runs = {f"{found.data}-{base.method}-{profile}-{seed}": seed for seed in found.settings.seeds}
    if taken := {*found.params.runs, *found.params.ensembles}.intersection(runs):
        raise ConfigError(f"params.yaml: {min(taken)} is there already; choose another profile's name")
    edit.add(_PARAMS, "profiles", profile, found.profile(best.values))
    for name, seed in reversed(runs.items()):  # each new entry stands first in its section
        told = {"data": found.data, "method": base.method, "variant": base.variant, "profile": profile, "seed": seed}
        edit.add(_PARAMS, "runs", name, {key: value for key, value in told.items() if value is not None})
        trained, to = state(study.folder, best.number, seed), layout.STATE / found.data / name
        if (trained / layout.FINISHED).exists() and not to.exists():
            with replacing(to) as temporary:
                shutil.copytree(trained, temporary)
    return [*runs]
