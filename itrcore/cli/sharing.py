"""`itr pull`: a run that was trained in another checkout, out of DVC's remote, MLflow's store or a folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from itrcore import layout, repro
from itrcore.cli.checkpoints import PARAMS, judge
from itrcore.errors import ConfigError, DataError
from itrcore.progress import working
from itrcore.terminal import say, user_errors, warn

if TYPE_CHECKING:
    from itrcore.settings.params import Params

_MLFLOW = "mlflow:"


def pull(
    run: str = typer.Argument(help="the run's name in params.yaml here; with --from a new one"),
    from_: str | None = typer.Option(
        None,
        "--from",
        help="mlflow:EXPERIMENT/RUN, mlflow: and a run's id, or a run's folder that was copied here; else DVC's remote",
    ),
    remote: str | None = typer.Option(None, help="the name of DVC's remote, if not its default"),
    store: str | None = typer.Option(
        None, help="MLflow's store, such as http://lab:5000; else MLFLOW_TRACKING_URI, else mlflow.db here"
    ),
    dataset: str | None = typer.Option(
        None, help="with --from: the same data set in params.yaml here, if it has another name"
    ),
    evaluate: bool = typer.Option(True, help="evaluate it now"),
) -> None:
    """Bring a run that was trained in another checkout: checked, evaluated and logged like any other, and not trained here.

    Without --from, a run in params.yaml that another machine has trained with the same code, settings and data, and pushed by dvc
    push --run-cache. With --from, any training on the same data, which is put into params.yaml.
    """
    with user_errors():
        from itrcore.settings.load import load

        params = load(PARAMS)
        if from_ is None:
            _from_remote(params, run, remote)
        else:
            _from_elsewhere(params, run, from_, store, dataset)
    judge(run, evaluate)


def _from_remote(params: Params, name: str, remote: str | None) -> None:
    """Get what a training in params.yaml and its evaluation left. `ConfigError` where the remote has no such training."""
    from itrcore.cache import fetched

    data = params.run(name).data
    # What decides a run is known once its data set is prepared. DVC's own --pull knows the default remote alone.
    repro.wait_until_free(say)
    prepared = subprocess.run(repro.command(*([] if remote else ["--pull"]), f"inputs@{data}"), env=repro.environment())
    if prepared.returncode:
        raise ConfigError(f"{data} could not be prepared; what DVC says stands above")
    with working(f"getting {name} from DVC's remote"):
        if f"train@{name}" not in fetched([f"train@{name}", f"evaluate@{name}"], remote):
            raise ConfigError(
                f"train@{name}: the remote has no training by the code, settings and data that are here; "
                "push it where it was trained (dvc push --run-cache), or train it: dvc repro"
            )


def _from_elsewhere(params: Params, name: str, source: str, store: str | None, dataset: str | None) -> None:
    """Put a training from elsewhere into pulled/ and params.yaml. What is wrong is an `ITRError`, and then neither changes."""
    from itrcore.files import replacing, sha256
    from itrcore.runs import pulled
    from itrcore.runs.folder import RUN
    from itrcore.settings import edit

    if name in params.runs or name in params.ensembles:  # before anything large is downloaded
        raise ConfigError(f"{PARAMS}: {name} is there already; choose another name or remove it first")
    with working(f"getting {source}"), _folder(source, store) as got:
        record = pulled.read_folder(got, source)
        named, changed = pulled.settings_for(params, record, dataset or record.data, source)
        folder = layout.PULLED / name
        entry = named.model_dump(exclude_none=True, exclude={"seed"})
        entry["checkpoint"] = {
            "path": folder.as_posix(),
            "sha256": sha256(got / RUN),
            "text_digest": record.text_digest,
            "source": source,
        }
        edit.text_with(PARAMS, "runs", name, entry)  # refused before anything is written
        with replacing(folder) as temporary:
            shutil.copytree(got, temporary)
        edit.add(PARAMS, "runs", name, entry)
    say(
        f"{record.name}, {record.family} ({record.profile}), seed {record.seed}, dev rsum {record.dev_rsum:.1f}, intact"
    )
    if changed:
        warn(f"trained with other code: {pulled.in_words(changed)}. Its figures may differ from those it had there.")
    say(f"runs.{name} stands in params.yaml.")


@contextmanager
def _folder(where: str, store: str | None) -> Iterator[Path]:
    """The folder that `--from` names, on this disk."""
    if where.startswith(_MLFLOW):
        from itrcore.tracking import checkpoints

        with TemporaryDirectory() as copy:
            yield checkpoints.download(where.removeprefix(_MLFLOW), Path(copy), store)
    elif Path(where).is_dir():
        yield Path(where)
    else:
        raise DataError.at(where, "no such folder", "mlflow: and a run, or the folder of a run")
