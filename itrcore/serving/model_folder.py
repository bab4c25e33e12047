"""Writing a run, and the test pictures of its data set, as a folder that is an MLflow model."""

from __future__ import annotations

import os
import re
from importlib.metadata import requires, version
from pathlib import Path
from tempfile import TemporaryDirectory

import itrcore
from itrcore import layout
from itrcore.data import captions
from itrcore.data.feeding.prepared import open_split
from itrcore.files import write_json
from itrcore.retriever.load import load
from itrcore.runs.folder import SPLIT

ENCODED, ITEMS = "encoded.safetensors", "items.json"  # in the artifact `gallery`
_SCRIPT = Path(__file__).with_name("mlflow_model.py")


def write(folder: Path, data: str, run: str) -> None:
    """Write the MLflow model of a run and the test pictures of its data set into a new folder."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    retriever = load(layout.run(data, run))
    split = open_split(data, SPLIT, retriever.tokeniser, retriever.input)
    table = captions.read(layout.captions(data), SPLIT)
    outputs = [ColSpec("long", "query"), ColSpec("long", "rank"), ColSpec("long", "image_id")]
    outputs += [ColSpec("string", "file_name", required=False), ColSpec("double", "score")]
    signature = ModelSignature(
        Schema([ColSpec("string", "text")]), Schema(outputs), ParamSchema([ParamSpec("k", "long", 5)])
    )
    with TemporaryDirectory() as temporary:
        gallery = Path(temporary, "gallery")
        gallery.mkdir()
        retriever.encode_stored(split.images).save(gallery / ENCODED)
        items = [{"image_id": image.image_id, "file_name": image.file_name} for image in table]
        write_json(gallery / ITEMS, items)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_SCRIPT),
            artifacts={"run": str(layout.run(data, run)), "gallery": str(gallery)},
            signature=signature,
            input_example=({"text": [table[0].captions[0]]}, {"k": 5}),
            code_paths=[str(Path(itrcore.__file__).parent)],
            pip_requirements=_requirements(),
        )
    _forget_where(folder)


def _forget_where(folder: Path) -> None:
    """MLflow notes where the code and the artifacts of a model lay before they were copied into it; nothing reads that again."""
    from mlflow.models import Model

    model = Model.load(str(folder))
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = _SCRIPT.name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(str(folder / "MLmodel"))


def _requirements() -> list[str]:
    """The library's own dependencies as they are installed."""
    names = [re.match(r"[\w.-]+", line) for line in requires("itr") or () if "extra ==" not in line]
    return [f"{name[0]}=={version(name[0]).partition('+')[0]}" for name in names if name is not None]
