"""What a process imports: packages that take long stay out of those that do without them. Timed by benchmarks/startup.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny_project import ROOT, project

# Those that take the time, and those that must not be loaded here.
HEAVY = (
    "accelerate", "dvc", "fastapi", "jinja2", "kagglehub", "matplotlib", "mlflow", "nltk", "optuna", "pandas", "PIL", "prefect",
    "pyarrow", "scipy", "sklearn", "sqlalchemy", "tokenizers", "torch", "torchvision", "transformers", "webdataset",
)  # fmt: skip


def imported(code: str, folder: Path = ROOT) -> set[str]:
    """The heavy packages that a fresh process in the folder holds after it has run the code."""
    program = f"{code}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


CAPTIONS = (
    "a man's dog can't swim (yet), says the sign .", 'two "young" women walk 3.5 miles; it\'s raining...', "gonna wear a t-shirt",
    "A man rides. A dog runs!", "people -- dressed in red & white -- cross 5th ave.", "café à Montréal, €5,50 / 10%", "",
)  # fmt: skip


def test_words_are_split_as_nltks_word_tokenize_does_without_scipy_and_scikit_learn() -> None:
    pytest.importorskip("scipy.stats")
    pytest.importorskip("sklearn.svm")
    from nltk.tokenize import word_tokenize

    code = f"""
from itrcore.data.text.vocabulary import WordSplitter
words = [WordSplitter(None)(caption) for caption in {CAPTIONS!r}]
assert words == {[word_tokenize(caption.lower(), preserve_line=True) for caption in CAPTIONS]!r}, words
"""
    assert imported(code) == {"nltk"}


def test_captions_are_parsed_without_scipy_and_scikit_learn() -> None:
    code = (
        "from itrcore.data.text.caption_concepts import find_things; assert find_things('a man in a blue shirt sits')"
    )
    assert imported(code) == {"nltk"}


def test_packages_that_are_there_can_be_imported_after_nltk_has_done_without_them() -> None:
    code = "import itrcore.data.text.nltk_parts, scipy.stats, sklearn.svm; assert scipy.stats.norm and sklearn.svm.SVC"
    assert {"scipy", "sklearn"} <= imported(code)


STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
ALLOWED = {
    "ensemble": {"pyarrow"},  # made of arrays and captions alone
    "report": {"jinja2", "matplotlib", "PIL", "pyarrow"},  # draws and writes pages, and computes nothing
}


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_begins_with_packages_that_not_every_item_of_it_needs(name: str) -> None:
    """Trackers, text models and schedulers are imported where they are used, and all that they bring along."""
    others = {"accelerate", "jinja2", "matplotlib", "PIL", "pyarrow", "tokenizers", "torch", "webdataset"}
    assert imported(f"import stages.{name}") <= ALLOWED.get(name, others)


def test_help_needs_neither_settings_nor_their_checks() -> None:
    """A quarter of the time that `import torch` takes, or less (benchmarks/startup.py)."""
    code = "from itrcore.cli.app import app; app(['--help'], standalone_mode=False)"
    assert not imported(f"{code}; import sys; assert 'itrcore.settings.load' not in sys.modules")


def test_looking_at_params_needs_nothing(tmp_path: Path) -> None:
    """In a folder without results: those that `make demo` leaves are compared with what params.yaml says, which takes more."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    params = (ROOT / "params.yaml").read_text("utf-8")
    (tmp_path / "params.yaml").write_text(params.replace("root: .", f"root: {ROOT}"), "utf-8")
    assert not imported("from itrcore.cli.app import app; app(['check'], standalone_mode=False)", tmp_path)


def test_a_run_of_a_bigru_needs_no_text_models_and_its_ensembles_arrays_and_captions_alone(tmp_path: Path) -> None:
    """From the text side to the results, trackers left out: they bring half of the others along."""
    project(tmp_path)
    train = """
from itrcore.settings.load import load
from itrcore.runs.observer import Observer
from itrcore.training.train import train
for name in ("one", "two"):
    train(load(), name, Observer())
"""
    evaluate = """
from itrcore.settings.load import load
from itrcore.evaluation.evaluate import evaluate
for name in ("one", "two"):
    evaluate(load(), name)
"""
    needed = {"accelerate", "nltk", "PIL", "pyarrow", "tokenizers", "torch"}
    assert imported(train, tmp_path) <= needed
    assert imported(evaluate, tmp_path) <= needed
    ensemble = """
from itrcore.settings.load import load
from itrcore.evaluation.ensemble import evaluate_ensemble
evaluate_ensemble(load(), "both")
"""
    assert imported(ensemble, tmp_path) <= {"pyarrow"}
