"""The code version of results is the commit, and where it is not known, it says why."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from itrcore import provenance
from itrcore.provenance import code_version


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, which this code is said to come from; the current folder."""
    folder = tmp_path / "check out"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(provenance, "HOME", folder)
    Path("code.py").write_text("one\n")
    git("init", "-q")
    git("add", "code.py")
    git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "a state")
    return folder


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("owner", ["own", "another"])
@pytest.mark.parametrize("below", [".", "experiments/f30k"])
def test_it_is_the_commit_whoever_owns_the_checkout(
    checkout: Path, owner: str, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git("rev-parse", "--short=12", "HEAD")
    if owner == "another":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    Path(below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(below)
    assert code_version() == commit
    (checkout / "code.py").write_text("two\n")
    assert code_version() == f"{commit}-dirty"


def test_it_can_be_asked_of_a_folder_that_is_not_the_current_one(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git("rev-parse", "--short=12", "HEAD")
    monkeypatch.chdir(tmp_path)
    assert (code_version(), code_version(checkout)) == ("unknown", commit)


def test_in_a_worktree_of_another_owner_too(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git("rev-parse", "--short=12", "HEAD")
    git("worktree", "add", "-q", "../tree")
    monkeypatch.chdir("../tree")
    monkeypatch.setattr(provenance, "HOME", Path.cwd())
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert code_version() == commit


def test_a_foreign_checkout_that_this_code_is_not_from_is_left_to_git(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "HOME", tmp_path / "code elsewhere")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert code_version().startswith("unknown (git: fatal: ")
    assert "ownership" in code_version() and "\n" not in code_version()


def test_without_git_or_a_checkout_it_is_unknown_and_says_why(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_version() == "unknown"
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == "unknown (git: [Errno 2] No such file or directory: 'git')"
