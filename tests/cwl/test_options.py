"""cwltool's own options mean under the extension what they mean under cwltool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.containers import Home
from tests.cwl.documents import cwltool, layer, tool

pytestmark = pytest.mark.once

SAYS_WHERE = "test -e /word && cat /word || echo of the host"


def test_a_research_object_has_the_digest_of_each_steps_image(home: Home, tmp_path: Path) -> None:
    home.add("proven", layer("proven"))
    step = tool("cat /word", {"dockerPull": "proven"})
    scatter = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {"ScatterFeatureRequirement": {}},
        "inputs": {"n": "int[]"},
        "outputs": {"out": {"type": "File[]", "outputSource": "step/out"}},
        "steps": {"step": {"run": step, "scatter": "n", "in": {"n": "n"}, "out": ["out"]}},
    }
    place = tmp_path / "object"
    done = cwltool(
        home,
        tmp_path,
        scatter,
        *("--provenance", str(place)),
        order={"n": [1, 2]},
    )
    assert done.code == 0, done.log
    record = (place / "metadata/provenance/primary.cwlprov.json").read_text()
    agents = [a for a in json.loads(record)["agent"].values() if "cwlprov:image" in a]
    identifier = home.call("inspect", "--format", "{{.Id}}", "proven").text.strip()
    assert [(a["cwlprov:image"], a["cwlprov:imageId"]) for a in agents] == [
        ("proven", identifier)
    ] * 2


@pytest.mark.parametrize(
    "option, said",
    [
        ("--no-container", "of the host\n"),
        ("--force-docker-pull", None),
        ("--user-space-docker-cmd=/no/such/program", None),
    ],
)
def test_options_that_choose_how_to_run_a_container(
    home: Home, tmp_path: Path, option: str, said: str | None
) -> None:
    home.add("127.0.0.1:9/asked/for:1", layer("asked for"))
    asked = tool(SAYS_WHERE, {"dockerPull": "127.0.0.1:9/asked/for:1"}, hinted=True)
    done = cwltool(home, tmp_path, asked, option)
    assert done.code == (1 if said is None else 0), done.log
    if said is not None:
        assert done.text("out") == said
    if option.startswith("--user-space"):
        assert "/no/such/program" in done.log and "are run by cwl-userspace" not in done.log


def test_a_tool_without_a_container_runs_in_the_default_one(home: Home, tmp_path: Path) -> None:
    home.add("default-one", layer("default"))
    plain = {**tool(SAYS_WHERE, {}), "requirements": {}}
    done = cwltool(home, tmp_path, plain, "--default-container", "default-one")
    assert done.code == 0, done.log
    assert done.text("out") == "default\n"
