"""``prefetch`` finds each image of CWL documents and its line; has it here or in a layout."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Home, Ran, Tar, docker_archive, shell_layer
from tests.fake_registry import FakeRegistry

pytestmark = pytest.mark.once

DOCUMENTS = {
    # A workflow of each version, with tools of another, and a container said at each level.
    "old.cwl": """\
cwlVersion: v1.0
class: Workflow
requirements:
  - class: SubworkflowFeatureRequirement
  - class: DockerRequirement
    dockerPull: around:1
inputs: []
outputs: []
steps:
  - id: bare
    run: bare.cwl
    in: []
    out: []
  - id: own
    run: own.cwl
    in: []
    out: []
""",
    "bare.cwl": """\
cwlVersion: v1.0
class: CommandLineTool
baseCommand: "true"
inputs: []
outputs: []
""",
    "own.cwl": """\
cwlVersion: v1.0
class: CommandLineTool
hints:
  - $import: hints.yml
baseCommand: "true"
inputs: []
outputs: []
""",
    "hints.yml": """\
# It stands in a file of its own.
class: DockerRequirement
dockerPull: imported:1
""",
    "packed.cwl": """\
cwlVersion: v1.1
$graph:
- class: CommandLineTool
  id: one
  hints:
    DockerRequirement: {dockerPull: "quay.io/one:1"}
  baseCommand: "true"
  inputs: []
  outputs: []
- class: Workflow
  id: other
  inputs: []
  outputs: []
  steps:
    step:
      run: '#one'
      in: []
      out: []
      requirements:
        DockerRequirement:
          dockerPull: stepped@sha256:%s
"""
    % ("0" * 64),
    "new.cwl": """\
cwlVersion: v1.2
class: Workflow
requirements:
  SubworkflowFeatureRequirement: {}
inputs: []
outputs: []
steps:
  nested: {run: nested.cwl, in: [], out: []}
  old: {run: own.cwl, in: [], out: []}
  file:
    in: []
    out: []
    run:
      class: CommandLineTool
      requirements:
        DockerRequirement:
          dockerLoad: image.tar
      baseCommand: "true"
      inputs: []
      outputs: []
  built:
    in: []
    out: []
    run:
      class: CommandLineTool
      requirements:
        DockerRequirement:
          dockerImageId: built:1
          dockerFile: |
            FROM base:1
            RUN true
      baseCommand: "true"
      inputs: []
      outputs: []
""",
    "nested.cwl": """\
cwlVersion: v1.2
class: Workflow
inputs: []
outputs: []
steps:
  deep:
    in: []
    out: []
    run:
      class: CommandLineTool
      id: deep
      hints: {DockerRequirement: {dockerPull: deep:1}}
      baseCommand: "true"
      inputs: []
      outputs: []
""",
    "broken.cwl": "cwlVersion: v1.2\nclass: CommandLineTool\ninputs: 5\n",
    "overrides.yml": """\
cwltool:overrides:
  bare.cwl:
    requirements:
      DockerRequirement:
        dockerPull: overridden:1
""",
    "job.yml": """\
cwltool:overrides:
  bare.cwl:
    requirements:
      DockerRequirement:
        dockerPull: ofthe/job:1
some: input
""",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    place = tmp_path / "some documents"
    place.mkdir()
    for name, text in DOCUMENTS.items():
        (place / name).write_text(text)
    return place


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def listed(home: Home, place: Path, *words: str) -> dict[str, list[str]]:
    """What ``--list`` says, from within the place: image, then file and line of each place."""
    ran = home.call("--offline", "prefetch", "--list", *words, cwd=place)
    found: dict[str, list[str]] = {}
    for line in ran.text.splitlines():
        if line.startswith("    "):
            found[list(found)[-1]].append(line.strip())
        else:
            found[line] = []
    return found


def hub(name: str) -> str:
    return f"docker.io/library/{name}"


def line_of(place: Path, name: str, text: str) -> str:
    """``NAME:LINE`` of the only line of a document with a text."""
    lines = (place / name).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line]
    return f"{name}:{number}"


def tool(image: str) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": {"DockerRequirement": {"dockerPull": image}},
        "baseCommand": "true",
        "inputs": [],
        "outputs": [],
    }


def mirrored(home: Home, registry: str, place: Path) -> None:
    config = home.place / "config" / "cwl-userspace"
    config.mkdir(exist_ok=True)
    text = json.dumps({"registries": {registry: {"mirrors": [f"oci:{place}"]}}})
    (config / "config.yml").write_text(text)


def test_requirements_of_each_level_are_found_with_their_line(home: Home, documents: Path) -> None:
    # A requirement around a tool counts more than its own hint.
    around = [line_of(documents, "old.cwl", "around:1")]
    assert listed(home, documents, "old.cwl") == {hub("around:1"): around}
    imported = [f"{line_of(documents, 'hints.yml', 'imported:1')} (hint)"]
    assert listed(home, documents, "own.cwl") == {hub("imported:1"): imported}


def test_a_graph_without_a_main_process_is_read_as_a_whole(home: Home, documents: Path) -> None:
    stepped = f"docker.io/library/stepped@sha256:{'0' * 64}"
    one = [f"{line_of(documents, 'packed.cwl', 'quay.io/one:1')} (hint)"]
    other = [line_of(documents, "packed.cwl", "stepped@")]
    assert listed(home, documents, "packed.cwl") == {"quay.io/one:1": one, stepped: other}
    assert listed(home, documents, "packed.cwl#other") == {stepped: other}


def test_nested_documents_of_other_versions_and_files_and_builds_are_found(
    home: Home, documents: Path
) -> None:
    assert listed(home, documents, "new.cwl", "new.cwl") == {
        hub("deep:1"): [f"{line_of(documents, 'nested.cwl', 'deep:1')} (hint)"],
        hub("imported:1"): [f"{line_of(documents, 'hints.yml', 'imported:1')} (hint)"],
        "dockerLoad image.tar": [line_of(documents, "new.cwl", "dockerLoad")],
        "dockerFile built:1": [line_of(documents, "new.cwl", "dockerFile")],
    }


def test_overrides_count_of_a_file_and_of_an_input_object(home: Home, documents: Path) -> None:
    assert listed(home, documents, "bare.cwl") == {}
    assert [*listed(home, documents, "--overrides", "overrides.yml", "bare.cwl")] == [
        hub("overridden:1")
    ]
    assert listed(home, documents, "bare.cwl", "job.yml") == {
        "docker.io/ofthe/job:1": [line_of(documents, "job.yml", "ofthe/job:1")]
    }


def test_documents_of_a_server_are_read_with_what_they_name(home: Home, documents: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing on stderr."""

    handler = functools.partial(Quiet, directory=str(documents))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        ran = home.call("prefetch", "--list", "--format", "json", f"{address}/new.cwl")
        refused = home.call("--offline", "prefetch", "--list", f"{address}/new.cwl")
        server.shutdown()
    found = {}
    for line in ran.text.splitlines():
        (place,) = json.loads(line)["places"]
        found[json.loads(line)["image"]] = (place["file"], place["line"], place["required"])
    assert found[hub("deep:1")][0] == f"{address}/nested.cwl"
    assert found[hub("imported:1")] == (f"{address}/hints.yml", 3, False)
    assert refused.code == 125 and "offline" in refused.complaint


def test_what_cannot_be_read_stops_no_other(home: Home, documents: Path) -> None:
    ran = home.call("prefetch", "--list", "broken.cwl", "none.cwl", "nested.cwl", cwd=documents)
    assert ran.code == 125 and ran.out.startswith(hub("deep:1").encode())
    first, second = ran.err.decode().splitlines()
    assert "broken.cwl cannot be loaded" in first and "none.cwl cannot be loaded" in second


def test_all_that_can_be_had_is_fetched_and_each_failure_has_its_line(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    names = [f"{registry.authority}/{name}:1" for name in ("one", "lost", "two")]
    for name in ("one", "two"):
        registry.add(name, "1", [Tar().file("content", name.encode()).bytes()])
    for number, name in enumerate(names):
        (tmp_path / f"{number}.cwl").write_text(json.dumps(tool(name), indent=1))
    words = [str(tmp_path / f"{number}.cwl") for number in (0, 1, 2, 0)]
    ran = home.call("prefetch", *words)
    assert ran.code == 125
    assert ran.out.decode().split() == [names[0], names[2]]
    (said,) = ran.err.decode().splitlines()
    assert f"{line_of(tmp_path, '1.cwl', 'dockerPull')}: the image {names[1]}" in said
    assert "does not have" in said
    before = len(registry.requests)
    assert home.call("prefetch", words[0]).text == f"{names[0]}\n"
    assert len(registry.requests) == before
    statuses = [
        json.loads(line)["status"]
        for line in home.call("prefetch", "--format", "json", *words).out.splitlines()
    ]
    assert statuses == ["fetched", "failed", "fetched"]


def test_images_of_files_and_builds_are_had_in_the_store(
    home: Home, documents: Path, registry: FakeRegistry
) -> None:
    docker_archive(documents / "image.tar", "of/a/file:1", shell_layer().bytes(), {})
    base = f"{registry.authority}/base:1"
    registry.add("base", "1", [shell_layer().bytes()])
    text = DOCUMENTS["new.cwl"].replace("FROM base:1\n            RUN true", f"FROM {base}")
    text = text.replace("  nested: {run: nested.cwl, in: [], out: []}\n", "")
    (documents / "new.cwl").write_text(text.replace("  old: {run: own.cwl, in: [], out: []}\n", ""))
    ran = home.call("prefetch", "new.cwl", cwd=documents)
    assert sorted(ran.text.splitlines()) == ["dockerFile built:1", "dockerLoad image.tar"]
    names = home.call("images", "--format", "json").text
    assert '"built"' in names and "localhost/cwl/dockerload" in names


def test_a_layout_has_the_bytes_of_the_registry_and_serves_as_a_mirror(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    layers = [shell_layer().bytes(), Tar().file("second", b"2").bytes()]
    host = {"os": "linux", "architecture": "amd64"}
    added = registry.add("tool", "1", layers, config=host)
    other = registry.add("tool", "arm", [b"other"], config={**host, "architecture": "arm64"})
    entries = {"linux/amd64": added.manifest, "linux/arm64": other.manifest}
    index = registry.index("tool", "all", entries)
    names = [f"{registry.authority}/tool:1", f"{registry.authority}/tool@{index}"]
    for number, name in enumerate(names):
        (tmp_path / f"{number}.cwl").write_text(json.dumps(tool(name)))
    layout = tmp_path / "layout"
    words = ("prefetch", "--platform", "linux/amd64", "--to", f"oci:{layout}")
    for _ in range(2):
        ran = home.call(*words, str(tmp_path / "0.cwl"), str(tmp_path / "1.cwl"))
        assert ran.text.split() == names
    kept = {f"sha256:{path.name}" for path in (layout / "blobs" / "sha256").iterdir()}
    assert kept == {added.manifest, added.config, *added.layers, index}
    for digest in added.layers:
        assert len(registry.asked(digest)) == 1
    asked = len(registry.requests)
    assert {path.name for path in layout.iterdir()} == {"blobs", "index.json", "oci-layout"}
    listing = json.loads((layout / "index.json").read_text())["manifests"]
    assert [entry["digest"] for entry in listing] == [added.manifest, index]
    assert "platform" not in listing[1]

    mirrored(home, registry.authority, layout)
    for name in names:
        ran = home.call("--offline", "pull", "--platform", "linux/amd64", name)
        assert ran.text == f"{name}\n"
    assert len(registry.requests) == asked


def test_a_damaged_blob_never_gets_into_a_layout(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.add("tool", "1", [shell_layer().bytes()])
    registry.faults.corrupt = True
    (tmp_path / "tool.cwl").write_text(json.dumps(tool(f"{registry.authority}/tool:1")))
    words = ("prefetch", "--to", f"oci:{tmp_path / 'layout'}", str(tmp_path / "tool.cwl"))
    ran = home.call(*words)
    assert ran.code == 125 and "digest" in ran.complaint
    kept = [path.name for path in (tmp_path / "layout").rglob("*") if path.is_file()]
    assert kept == ["oci-layout"]


def test_what_no_layout_can_have_is_told(home: Home, documents: Path) -> None:
    (documents / "one.cwl").write_text(
        json.dumps({**tool(""), "requirements": {"DockerRequirement": {"dockerLoad": "image.tar"}}})
    )
    ran = home.call("prefetch", "--to", "oci:layout", "one.cwl", cwd=documents)
    assert ran.code == 125 and "has to be taken along" in ran.complaint


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "needs a document"),
        (("--to", "/a/place", "x.cwl"), "expected oci:DIR"),
        (("--to", "oci:", "x.cwl"), "names no directory"),
        (("--list", "--to", "oci:x", "x.cwl"), "leave out"),
        (("--format", "yaml", "x.cwl"), "expected json"),
        (("--overrides", "none.yml", "x.cwl"), "none.yml"),
    ],
)
def test_words_without_meaning_are_told(home: Home, words: tuple[str, ...], says: str) -> None:
    assert says in home.call("prefetch", *words).complaint


def test_without_cwltool_one_sentence_says_so(home: Home, tmp_path: Path) -> None:
    """A module of that name that cannot be imported stands for none."""
    missing = "raise ModuleNotFoundError(\"No module named 'cwltool'\", name='cwltool')\n"
    (tmp_path / "cwltool.py").write_text(missing)
    ran: Ran = home.call("prefetch", "x.cwl", environment={"PYTHONPATH": str(tmp_path)})
    assert ran.code == 125 and "cwltool, which reads CWL documents, is not installed" in (
        ran.complaint
    )
