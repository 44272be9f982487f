"""JavaScript expressions on a host without Node.js."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Home, shell_layer
from tests.cwl.documents import SCRIPTS, cwltool

pytestmark = pytest.mark.once

# Speaks as cwl_utils' cwlNodeEngine.js does, but its answer is how many expressions it has had.
NODE = b"""#!/bin/sh
n=0
while read -r line; do
    n=$((n + 1))
    printf '%s\nr1cepzbhUTxtykz5XTC4\n' "$n"
    printf 'r1cepzbhUTxtykz5XTC4\n' >&2
done
"""
# The file names that expressions give here are numbers, from 1 on.
EXPRESSIONS: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "Workflow",
    "requirements": {"StepInputExpressionRequirement": {}, "InlineJavascriptRequirement": {}},
    "inputs": {},
    "outputs": {
        "numbers": {
            "type": "int[]",
            "outputSource": ["one/a", "two/a"],
        }
    },
    "steps": {
        name: {
            "in": {},
            "out": ["a"],
            "run": {
                "class": "CommandLineTool",
                "baseCommand": "true",
                "inputs": {},
                "outputs": {"a": {"type": "int", "outputBinding": {"outputEval": "$(1 + 1)"}}},
            },
        }
        for name in ("one", "two")
    },
}


def without_node(home: Home, tmp_path: Path, environment: dict[str, str]) -> Any:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("true", "proot", "newuidmap", "newgidmap"):
        for place in os.environ["PATH"].split(":"):
            if os.access(f"{place}/{name}", os.X_OK) and not (programs / name).exists():
                (programs / name).symlink_to(f"{place}/{name}")
    options = ("--disable-js-validation",)
    document = {**EXPRESSIONS, "requirements": {**EXPRESSIONS["requirements"]}}
    document["requirements"]["MultipleInputFeatureRequirement"] = {}
    return cwltool(
        home,
        tmp_path,
        document,
        *options,
        path=f"{SCRIPTS}:{programs}",
        environment=environment,
    )


def test_one_container_evaluates_all_expressions_where_there_is_no_node(
    home: Home, tmp_path: Path
) -> None:
    layer = shell_layer().file("bin/node", NODE, 0o755).bytes()
    home.add("docker.io/library/node:alpine", layer)
    done = without_node(home, tmp_path, {})
    assert done.code == 0, done.log
    first, second = sorted(done.outputs["numbers"])
    assert second == first + 1, done.outputs
    assert not home.leftovers


def test_without_node_and_its_image_one_sentence_says_what_to_do(
    home: Home, tmp_path: Path
) -> None:
    config = tmp_path / "config.yml"
    config.write_text("registries: {docker.io: {mirrors: ['oci:/no/such/layout']}}")
    environment = {
        "CWL_USERSPACE_HOME": str(tmp_path / "empty"),
        "CWL_USERSPACE_CONFIG": str(config),
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    done = without_node(home, tmp_path, environment)
    assert done.code == 1, done.log
    assert "JavaScript expressions need Node.js, there is no node on PATH" in done.words
    assert "install Node.js, or have docker.io/library/node:alpine in the store" in done.words
