"""What a process imports: packages that take long stay out of those that do without them. Timed by benchmarks/startup.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.project import ROOT

# Those in which the time goes, and those that nobody should meet here.
HEAVY = (
    "accelerate", "dvc", "fastapi", "jinja2", "kagglehub", "matplotlib", "mlflow", "nltk", "pandas", "PIL", "prefect", "pyarrow",
    "scipy", "sklearn", "sqlalchemy", "tokenizers", "torch", "torchvision", "transformers", "webdataset",
)  # fmt: skip


def imported(code: str) -> set[str]:
    """The heavy packages that a fresh process holds after it has run the code."""
    told = f"{code}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=ROOT,
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
from itrcore.data.vocabulary import Tokenizer
found = [Tokenizer(None)(caption) for caption in {CAPTIONS!r}]
assert found == {[word_tokenize(caption.lower(), preserve_line=True) for caption in CAPTIONS]!r}, found
"""
    assert imported(code) == {"nltk"}


def test_captions_are_parsed_without_scipy_and_scikit_learn() -> None:
    code = "from itrcore.data.caption_concepts import find_things; assert find_things('a man in a blue shirt sits')"
    assert imported(code) == {"nltk"}


def test_packages_that_are_there_can_be_imported_after_nltk_has_done_without_them() -> None:
    code = "import itrcore.data.nltk_parts, scipy.stats, sklearn.svm; assert scipy.stats.norm and sklearn.svm.SVC"
    assert {"scipy", "sklearn"} <= imported(code)
