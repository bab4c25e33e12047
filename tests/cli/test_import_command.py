"""`itr import` and `itr export`: what they say and write, and that whatever is wrong leaves params.yaml as it was."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from dvc.repo import Repo
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.files import sha256
from itrcore.released import importing
from itrcore.released.layouts import LAYOUTS
from itrcore.settings.load import load
from tests.support.exported import exported
from tests.support.helpers import released_file
from tests.support.parity_fixtures import ROOT
from tests.support.report_data import evaluation, put_run

COMMENT = "# above the runs\n"
WRITTEN = ("evaluations", "results", "metrics", "curves")  # of the project's runs; none is of an import that is refused


def itr(*arguments: str) -> Any:
    """Run `itr`, with its standard error and output in one."""
    return CliRunner(env={"COLUMNS": "80", "HF_HUB_OFFLINE": "1"}).invoke(app, list(arguments))


def import_(*arguments: str, **options: str) -> Any:
    """`itr import` of run `one`'s export, not evaluated, with options changed or added."""
    given = {"method": "esa", "text": "bigru", "dataset": "tiny", "checkpoint": "one/model_best.pth", **options}
    return itr(
        "import", *(part for key, value in given.items() for part in (f"--{key}", value)), "--no-evaluate", *arguments
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A project with a BiGRU and a BERT, trained and exported, and a params.yaml with comments, as the current folder."""
    shutil.copytree(
        exported(), tmp_path, ignore=shutil.ignore_patterns("two", "four", "five", *WRITTEN), dirs_exist_ok=True
    )
    monkeypatch.chdir(tmp_path)
    text = Path("params.yaml").read_text()
    assert text.count("\nruns:\n  one:") == 1
    Path("params.yaml").write_text(text.replace("\nruns:\n  one:", f"\n{COMMENT}runs:  # all of them\n  one:"))
    return tmp_path


def digest_of(vocabulary: Path | None = None) -> str:
    """The text digest of run `one`'s export with a vocabulary."""
    settings = load().method_of("one")
    return importing.load(Path("one/model_best.pth"), settings, vocabulary, "tiny").text.digest


def test_without_an_activated_environment_the_stages_still_find_this_python(folder: Path, monkeypatch: Any) -> None:
    program = "import sys; open('prefix', 'w').write(sys.prefix)"
    do = {"cmd": f'python -c "{program}"'}
    Path("dvc.yaml").write_text(json.dumps({"stages": {"judge": {"foreach": ["new"], "do": do}}}))
    put_run(folder, evaluation("new", "tiny", "esa", 1, 20.0))  # what the stage would have made
    Repo.init(no_scm=True)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = itr(
        *("import", "--method", "esa", "--text", "bigru", "--dataset", "tiny", "--name", "new"),
        *("--checkpoint", "one/model_best.pth"),
    )
    assert result.exit_code == 0, result.output
    assert result.output.endswith("\nNext: itr leaderboard, or dvc repro for the report\n")
    assert Path("prefix").read_text() == sys.prefix


def test_an_import_says_what_it_found_and_adds_an_entry_and_nothing_else(folder: Path) -> None:
    before = Path("params.yaml").read_text().splitlines()
    result = import_()
    assert result.exit_code == 0, result.output
    n_tokens = len(json.loads(Path("data/tiny/vocab/vocab.json").read_text())["word2idx"]) + 1
    *summary, warning, stands, then = result.output.splitlines()
    assert summary == [
        "image encoder: 13 entries used; known to be unused: mlp.bns.1.bias, mlp.bns.1.num_batches_tracked, "
        "mlp.bns.1.running_mean, mlp.bns.1.running_var, mlp.bns.1.weight",
        "text encoder: 11 entries used",
        f"dimensions 16, region features 16, tokens {n_tokens}",
        summary[-1],
    ]
    assert summary[-1].startswith("saved after epoch ") and "best dev rsum" in summary[-1]
    assert warning.startswith("warning: the vocabulary of tiny is used, as it has the right size.")
    assert stands == "runs.tiny-esa_bigru-released stands in params.yaml."
    assert then == "Next: dvc repro judge@tiny-esa_bigru-released"
    after = Path("params.yaml").read_text().splitlines()
    new = [
        "  tiny-esa_bigru-released:",
        "    data: tiny",
        "    method: esa",
        f"    checkpoint: {{path: one/model_best.pth, sha256: {sha256(Path('one/model_best.pth'))}, "
        f"text_digest: {digest_of()}}}",
    ]
    at = after.index(new[0])
    assert after[at : at + len(new)] == new
    assert after[:at] + after[at + len(new) :] == before
    assert {path.name for path in Path("runs/tiny").iterdir()} == {"one", "three"}
    checked = itr("check").output.splitlines()
    assert (
        "  imported from one/model_best.pth: tiny-esa_bigru-released" in checked
        and "  seed 1: one (trained)" in checked
    )


def test_its_own_vocabulary_a_name_and_a_profile_go_into_the_entry_without_warning(folder: Path) -> None:
    wide()
    result = import_(vocab=str(folder / "one/tiny_precomp_vocab.json"), name="best", profile="wide")
    assert result.exit_code == 0 and "warning" not in result.output, result.output
    run = load().runs["best"]
    assert run.checkpoint is not None and run.seed is None and run.profile == "wide"
    vocabulary = Path("one/tiny_precomp_vocab.json")
    assert (run.checkpoint.vocabulary, run.checkpoint.text_digest) == (str(vocabulary), digest_of(vocabulary))


def test_berts_are_imported_and_names_are_found_that_are_free(folder: Path) -> None:
    result = import_(text="bert", checkpoint="three/model_best.pth")
    assert result.exit_code == 0 and "warning" not in result.output, result.output
    assert "known to be unused: bert.pooler.dense.bias, bert.pooler.dense.weight" in result.output
    content = released_file(Path("three/model_best.pth"))
    torch.save({**content, "epoch": 99}, "three/other.pth")
    result = import_(text="bert", checkpoint="three/other.pth")
    assert result.exit_code == 0 and "runs.tiny-esa_bert-released-2 stands in params.yaml." in result.output
    assert {"tiny-esa_bert-released", "tiny-esa_bert-released-2"} <= load().runs.keys()


def edited_vocabulary(change: Any) -> None:
    """vocab.json: the data set's vocabulary after `change(words)`."""
    vocabulary = Vocabulary.load(Path("data/tiny/vocab/vocab.json"), Path("data/nltk"))
    Vocabulary(change(vocabulary.words), vocabulary.splitter).save(Path("vocab.json"))


def test_the_same_checkpoint_is_imported_again_with_another_vocabulary_and_with_the_same_refused(folder: Path) -> None:
    assert import_(name="first").exit_code == 0
    edited_vocabulary(lambda words: [*words[:-2], words[-1], words[-2]])
    result = import_(vocab="vocab.json")
    assert result.exit_code == 0, result.output
    first, second = (load().runs[name].checkpoint for name in ("first", "tiny-esa_bigru-released"))
    assert first is not None and second is not None
    assert first.sha256 == second.sha256 and first.text_digest != second.text_digest
    before = Path("params.yaml").read_bytes()
    shutil.copy("one/model_best.pth", "copy.pth")
    for again, twin in (
        (import_(checkpoint="copy.pth"), "first"),
        (import_(vocab="vocab.json"), "tiny-esa_bigru-released"),
    ):
        assert again.exit_code == 1 and Path("params.yaml").read_bytes() == before
        (line,) = again.output.splitlines()
        assert line.startswith("error: params.yaml: runs.") and twin in line
        assert "same data, method, variant, profile, checkpoint and vocabulary as runs." in line


def unprepared() -> None:
    shutil.rmtree("data")


def damaged() -> None:
    Path("one/model_best.pth").write_bytes(Path("one/model_best.pth").read_bytes()[:999])


def wrong_vocabulary() -> None:
    edited_vocabulary(lambda words: words[:-1])


def narrow() -> None:
    content = released_file(Path("one/model_best.pth"))
    for entry in ("fc.weight", "mlp.layers.0.weight"):
        content["model"][0][entry] = content["model"][0][entry][:, :10].clone()
    torch.save(content, "one/narrow.pth")


def other_bert() -> None:
    recipe = Path("recipes/esa_bert.yaml")
    text = recipe.read_text()
    start = text.index("weights: random")
    end = text.index("dropout", start)
    recipe.write_text(text[:start] + "weights: no/such/folder\n    " + text[end:])


def wide() -> None:
    text = Path("params.yaml").read_text()
    assert "profiles: {}" in text
    Path("params.yaml").write_text(text.replace("profiles: {}", "profiles:\n  wide: {model: {dim: 32}}"))


def no_such_line() -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("threads: 1", "thread: 1"))


ERRORS: dict[str, tuple[Any, dict[str, str], str]] = {
    "method": (None, {"method": "esb"}, "no recipe is of esb_bigru; did you mean 'esa_bigru'? (known: "),
    "text": (None, {"text": "bigur"}, "no recipe is of esa_bigur; did you mean 'esa_bigru'? (known: "),
    "another method's file": (None, {"method": "vse_infty"}, "a checkpoint of esa_bigru, by the names of its"),
    "another text's file": (None, {"text": "bert"}, "a checkpoint of esa_bigru, by the names of its entries"),
    "data set": (None, {"dataset": "tiyn"}, "params.yaml: data set: no 'tiyn' in datasets; did you mean 'tiny'?"),
    "profile": (wide, {"profile": "wied"}, "params.yaml: profile: no 'wied' in profiles; did you mean 'wide'?"),
    "variant": (None, {"variant": "coco"}, "recipes/esa.yaml: no variant 'coco': it has none"),
    "name taken": (None, {"name": "one"}, "params.yaml: one is there already; choose another name or remove it"),
    "name of an ensemble": (None, {"name": "both"}, "params.yaml: both is there already; choose another name or"),
    "name before the file": (None, {"name": "one", "checkpoint": "no.pth"}, "params.yaml: one is there already"),
    "profile before the file": (
        None,
        {"profile": "x", "checkpoint": "no.pth"},
        "params.yaml: profile: no 'x' in profiles",
    ),
    "no name": (None, {"name": "a/b"}, "'a/b' cannot be a name"),
    "DVC's name": (None, {"name": "size"}, "'size' cannot be a name"),
    "no file": (None, {"checkpoint": "no.pth"}, "no.pth: cannot be read (No such file or directory)"),
    "a folder": (None, {"checkpoint": "one"}, "one: cannot be read (Is a directory)"),
    "no vocabulary": (None, {"vocab": "no.json"}, "no.json: no such file; expected the vocabulary that"),
    "a folder as vocabulary": (None, {"vocab": "one"}, "one: no such file; expected the vocabulary that"),
    "no checkpoint": (None, {"checkpoint": "params.yaml"}, "params.yaml: damaged, or not a torch file"),
    "damaged": (damaged, {}, "one/model_best.pth: damaged, or not a torch file"),
    "wrong vocabulary": (wrong_vocabulary, {"vocab": "vocab.json"}, "vocab.json: a vocabulary of "),
    "other width": (
        narrow,
        {"checkpoint": "one/narrow.pth"},
        "trained on region features of width 10; expected 16, as",
    ),
    "no vocabulary file": (None, {"vocab": "one/model_best.pth"}, "one/model_best.pth: not a vocabulary"),
    "not prepared": (
        unprepared,
        {},
        "vocab.json: no such file; expected the vocabulary of tiny. Run: dvc repro vocab@",
    ),
    "invalid params.yaml": (no_such_line, {}, "params.yaml: training: unknown key 'thread'"),
    "hub": (
        other_bert,
        {"text": "bert", "checkpoint": "three/model_best.pth"},
        "Or name the BERT's vocab.txt with --vocab.",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_whatever_is_wrong_is_one_error_and_params_yaml_stays(case: str, folder: Path) -> None:
    prepare, options, says = ERRORS[case]
    if prepare:
        prepare()
    before = Path("params.yaml").read_bytes()
    result = import_(**options)
    assert result.exit_code == 1, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("error: ") and says in line
    assert Path("params.yaml").read_bytes() == before
    assert not {path.name for path in folder.iterdir()} - {
        *("cache", "data", "one", "three", "runs", "state", "params.yaml", "recipes", "nltk.yaml", "vocab.json"),
    }


def test_a_method_that_is_not_known_is_answered_with_all_that_have_a_recipe_and_released_checkpoints(
    folder: Path,
) -> None:
    shutil.copy(ROOT / "recipes" / "vse_pp_bigru.yaml", "recipes")
    (line,) = import_(method="esb").output.splitlines()
    families = {recipe.settings.family for recipe in load().recipes.values()}
    assert {"esa_bigru", "vse_pp_bigru"} <= families
    assert line.endswith(f"(known: {', '.join(sorted(families & LAYOUTS.keys()))})") and "vse_pp_bigru" not in line
    (line,) = import_(method="vse_pp").output.splitlines()
    assert line.startswith("error: vse_pp_bigru has no released checkpoints; methods that have: esa_bert, ")


def test_a_data_set_that_is_not_prepared_needs_the_vocabulary_alone(folder: Path) -> None:
    shutil.rmtree("data")
    result = import_(vocab="one/tiny_precomp_vocab.json")
    assert result.exit_code == 0, result.output


def test_an_export_says_what_it_wrote_and_where_it_will_not_do(folder: Path) -> None:
    result = itr("export", "--run", "one", "--out", "new/folder/model_best.pth")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "new/folder/model_best.pth: one in the layout of the released code",
        "new/folder/tiny_precomp_vocab.json: its vocabulary",
    ]
    assert result.stderr.splitlines() == [
        "warning: the released code will not evaluate this as it stands: its vocabulary is tiny_precomp_vocab.json; the "
        "released code opens f30k_precomp_vocab.json",
    ]
    *lines, last = itr("export", "--run", "three", "--out", "bert.pth").output.splitlines()
    assert last == "bert.pth: three in the layout of the released code" and len(lines) > 1
    assert all(line.startswith("warning: the released code will not evaluate this as it stands: ") for line in lines)
    assert "(200, 16); the released code builds (30522, 768)" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run", "oen", "--out", "x.pth"], "params.yaml: run: no 'oen' in runs; did you mean 'one'?"),
        (["--run", "both", "--out", "x.pth"], "params.yaml: run: no 'both' in runs"),
        (
            ["--run", "two", "--out", "x.pth"],
            "runs/tiny/two: no results yet; expected a trained run. Run: dvc repro train@",
        ),
        (["--run", "one", "--out", "data"], "data: a folder; expected the file to write, such as data/model_best.pth."),
        (
            ["--run", "one", "--out", "params.yaml/x.pth"],
            "params.yaml/x.pth: cannot be written (File exists); expected a path that can be written to.",
        ),
        (
            ["--run", "one", "--out", "x.pth", "--layout", "ours"],
            "--layout ours: not known; the one layout is released",
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_an_export_that_cannot_be_made_is_one_error_and_writes_nothing(
    arguments: list[str], says: str, folder: Path
) -> None:
    before = set(folder.rglob("*"))
    result = itr("export", *arguments)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith(f"error: {says}"), line
    assert set(folder.rglob("*")) == before
