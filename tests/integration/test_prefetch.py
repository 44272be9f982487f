"""Before its first job, a document's images are all in the store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cwltool.docker
import pytest
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.load_tool import load_tool
from cwltool.process import Process
from cwltool.resolver import tool_resolver

from cwl_userspace.cwl.prefetch import prefetch
from cwl_userspace.cwl.tool import make_tool
from tests.containers import Home, Tar, docker_archive
from tests.fake_registry import FakeRegistry

pytestmark = pytest.mark.once

TOOL: dict[str, Any] = {
    "class": "CommandLineTool",
    "baseCommand": "true",
    "inputs": [],
    "outputs": [],
}
WORKFLOW: dict[str, Any] = {
    "class": "Workflow",
    "requirements": {"SubworkflowFeatureRequirement": {}},
    "inputs": [],
    "outputs": [],
}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with an empty store, which is also this process's, as it is cwltool's."""
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home")
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    yield home
    cwltool.docker._IMAGES.clear()


def tool(image: str = "", **changes: Any) -> dict[str, Any]:
    wanted = {"hints": {"DockerRequirement": {"dockerPull": image}}} if image else {}
    return {**TOOL, **wanted, **changes}


def workflow(*runs: Any, **changes: Any) -> dict[str, Any]:
    steps = {f"step{n}": {"run": run, "in": [], "out": []} for n, run in enumerate(runs)}
    return {**WORKFLOW, "steps": steps, **changes}


def loaded(path: Path, document: dict[str, Any], fragment: str = "") -> Process:
    path.write_text(json.dumps({"cwlVersion": "v1.2", **document}, indent=1))
    context = LoadingContext()
    context.construct_tool_object = make_tool
    context.resolver = tool_resolver
    return load_tool(path.as_uri() + fragment, context)


def layers(content: str) -> list[bytes]:
    return [Tar().file("content", content.encode()).bytes()]


def asked(registry: FakeRegistry, name: str) -> list[str]:
    """What was read of an image: its manifest and its blobs."""
    found = registry.asked(f"/v2/{name}/")
    return [request.path.rpartition("/")[2] for request in found if request.method == "GET"]


def test_each_image_of_steps_subworkflows_and_graphs_is_fetched_once(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    names = [f"{registry.authority}/{name}:1" for name in ("first", "inner", "around", "inherited")]
    first, inner, around, inherited = names
    for name in ("first", "inner", "around", "inherited", "unused"):
        registry.add(name, "1", layers(name))
    (tmp_path / "sub.cwl").write_text(
        json.dumps({"cwlVersion": "v1.2", **workflow(tool(inner), tool(first))})
    )
    on_step = {"DockerRequirement": {"dockerPull": inherited}}
    main = workflow(tool(first), "#other", "sub.cwl", tool(), id="main")
    main["steps"]["step3"]["requirements"] = on_step
    main["steps"]["plain"] = {"run": tool(around), "in": [], "out": []}
    docker_archive(tmp_path / "image.tar", "of/a/file:1", layers("file")[0], {})
    from_file = {"DockerRequirement": {"dockerLoad": "image.tar"}}
    main["steps"]["file"] = {"run": tool(requirements=from_file), "in": [], "out": []}
    other, unused = tool(first, id="other"), tool(f"{registry.authority}/unused:1", id="unused")
    process = loaded(tmp_path / "main.cwl", {"$graph": [main, other, unused]}, "#main")

    fetched = prefetch(process, RuntimeContext())

    (loaded_name,) = {*fetched} - {*names}
    assert sorted(fetched) == sorted([*names, loaded_name])
    assert home.call("inspect", loaded_name).code == 0
    for name in ("first", "inner", "around", "inherited"):
        assert len(asked(registry, name)) == len({*asked(registry, name)}) >= 3
        assert home.call("inspect", f"{registry.authority}/{name}:1").code == 0
    assert asked(registry, "unused") == []


def test_what_the_store_has_is_asked_for_again_only_if_that_is_wanted(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    image = f"{registry.authority}/tool:1"
    registry.add("tool", "1", layers("a tool"))
    process = loaded(tmp_path / "tool.cwl", tool(image))
    prefetch(process, RuntimeContext())
    cwltool.docker._IMAGES.clear()
    before = len(registry.requests)
    prefetch(process, RuntimeContext())
    assert len(registry.requests) == before
    cwltool.docker._IMAGES.clear()
    prefetch(process, RuntimeContext({"force_docker_pull": True}))
    assert len(registry.requests) > before


def test_an_image_that_cannot_be_had_is_named_with_its_place_in_the_document(
    home: Home, tmp_path: Path
) -> None:
    process = loaded(tmp_path / "main.cwl", workflow(tool("127.0.0.1:9/no/such:1")))
    line = 1 + next(
        number
        for number, text in enumerate((tmp_path / "main.cwl").read_text().splitlines())
        if "dockerPull" in text
    )
    with pytest.raises(WorkflowException) as raised:
        prefetch(process, RuntimeContext())
    assert f"main.cwl:{line}:" in str(raised.value)
    assert "127.0.0.1:9/no/such:1" in str(raised.value)


def test_a_container_for_tools_that_name_none_is_fetched_too(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    image = f"{registry.authority}/default:1"
    registry.add("default", "1", layers("a tool"))
    process = loaded(tmp_path / "tool.cwl", tool())
    assert prefetch(process, RuntimeContext()) == []
    context = RuntimeContext()
    context.find_default_container = lambda _: image
    assert prefetch(process, context) == [image]
    assert home.call("inspect", image).code == 0


def test_without_toil_its_command_says_how_to_install_it(tmp_path: Path) -> None:
    """An environment that has nothing but our dependencies shows what a user without Toil sees."""
    blind = "import sys; sys.modules['toil'] = None; from cwl_userspace.cwl.toil import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{blind} sys.exit(main(['tool.cwl']))"],
        capture_output=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert b"toil-cwl-userspace: Toil is not installed" in done.stderr
    assert b"pip install 'cwl-userspace[toil]'" in done.stderr
