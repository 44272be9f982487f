"""Toil's workers run tools by us through each of its doors; an image is fetched once for them.

These tests need Toil, which the others do without: ``tox -e toil`` has it.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Home, Ran, Tar, all_gone, busybox, docker_archive, marker
from tests.fake_registry import FakeRegistry
from tests.integration.test_network import port

__all__ = ["port"]

SCRIPTS = Path(sys.executable).parent
# Each door: Toil's program, its words, and whether a docker of ours is first on PATH.
DOORS: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "userspace": ("toil-cwl-userspace", (), False),
    "user-space": ("toil-cwl-runner", ("--user-space-docker-cmd=cwl-userspace",), False),
    "docker": ("toil-cwl-runner", (), True),
}
TOOL: dict[str, Any] = {
    "class": "CommandLineTool",
    "baseCommand": ["sh", "-c"],
    "inputs": {
        "script": {"type": "string", "inputBinding": {"position": 1}},
        "name": {"type": "string", "default": "one", "inputBinding": {"position": 2}},
        "file": {"type": "File?", "inputBinding": {"position": 3}},
    },
    "outputs": {"out": "stdout", "err": "stderr"},
    "stdout": "$(inputs.name).out",
    "stderr": "$(inputs.name).err",
}
PROGRAMS = ("sh", "cat", "sleep", "dd", "nc")
SCATTER: dict[str, Any] = {
    "class": "Workflow",
    "requirements": {"ScatterFeatureRequirement": {}},
    "inputs": {"script": "string", "names": "string[]"},
    "outputs": {
        "outs": {"type": "File[]", "outputSource": "each/out"},
        "errs": {"type": "File[]", "outputSource": "each/err"},
    },
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with an empty store."""
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def system_layer(name: str, programs: Sequence[str] = PROGRAMS) -> bytes:
    """Busybox and links to it, with the name in the file ``image``."""
    tar = Tar().directory("bin").directory("tmp", 0o1777).file("image", name.encode())
    tar.file("bin/busybox", busybox(), 0o755)
    for program in programs:
        tar.link(f"bin/{program}", "busybox")
    return tar.bytes()


def system(registry: FakeRegistry, name: str = "tool", programs: Sequence[str] = PROGRAMS) -> str:
    """The name of an image like that, which the registry has from now on."""
    registry.add(name, "1", [system_layer(name, programs)], compression="")
    return f"{registry.authority}/{name}:1"


def tool(image: str, **requirements: Any) -> dict[str, Any]:
    container = {"DockerRequirement": {"dockerPull": image}}
    return {**TOOL, "requirements": {**container, **requirements}}


def scattered(run: dict[str, Any]) -> dict[str, Any]:
    given = {"script": "script", "name": "names"}
    step = {"run": run, "in": given, "scatter": "name", "out": ["out", "err"]}
    return {**copy.deepcopy(SCATTER), "steps": {"each": step}}


def toil(
    home: Home,
    door: str,
    place: Path,
    document: dict[str, Any],
    order: dict[str, Any],
    *options: str,
) -> Ran:
    """Run a document through a door of Toil; outputs go to the directory ``out``."""
    program, words, shim = DOORS[door]
    (place / "main.cwl").write_text(json.dumps({"cwlVersion": "v1.2", **document}, indent=1))
    (place / "order.json").write_text(json.dumps(order))
    path = f"{SCRIPTS}:{home.environment['PATH']}"
    if shim:
        (place / "shim").mkdir(exist_ok=True)
        (place / "shim" / "docker").unlink(missing_ok=True)
        (place / "shim" / "docker").symlink_to(SCRIPTS / "cwl-userspace")
        path = f"{place / 'shim'}:{path}"
    steady = ("--clean=always", "--retryCount=0", "--logInfo", "--outdir", str(place / "out"))
    done = subprocess.run(
        [str(SCRIPTS / program), *words, *steady, *options, "main.cwl", "order.json"],
        env={**home.environment, "PATH": path, "TOIL_HISTORY": "False"},
        cwd=place,
        capture_output=True,
        timeout=110,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def texts(ran: Ran, output: str) -> list[str]:
    """What is in the files of an output."""
    files = json.loads(ran.out)[output]
    paths = [file["path"] for file in (files if isinstance(files, list) else [files])]
    return [Path(path).read_text() for path in paths]


def test_workers_that_start_at_once_fetch_an_image_once_and_add_nothing_to_its_words(
    home: Home, registry: FakeRegistry, door: str, tmp_path: Path
) -> None:
    word = marker()
    script = f'cat; echo "$0"; echo "word $0" >&2; WORD={word} sleep 1000 & :'
    order = {"script": script, "names": ["a", "b", "c"]}
    ran = toil(home, door, tmp_path, scattered(tool(system(registry))), order, "--scale=0.1")
    assert ran.code == 0, ran
    assert texts(ran, "outs") == ["a\n", "b\n", "c\n"]
    assert texts(ran, "errs") == ["word a\n", "word b\n", "word c\n"]
    blobs = [request.path for request in registry.asked("/blobs/") if request.method == "GET"]
    assert len(blobs) == len({*blobs}) == 2
    assert all_gone(word)
    # Toil leaves directories of its own, even where it runs no container.
    assert [name for name in home.leftovers if not name.startswith("tmp")] == []


def test_images_are_there_before_the_first_job_and_then_no_registry_is_needed(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    """One of them has no shell, which Toil by itself would need in it."""
    first, second = system(registry, "first"), system(registry, "second", programs=())
    document = scattered(tool(first))
    plain: dict[str, Any] = {"baseCommand": ["/bin/busybox", "cat", "/image"], "inputs": []}
    plain.update(stdout="late.out", stderr="late.err")
    document["steps"]["late"] = {"run": {**tool(second), **plain}, "in": {}, "out": ["out"]}
    document["outputs"]["late"] = {"type": "File", "outputSource": "late/out"}
    order = {"script": "cat /image", "names": ["a", "b"]}
    ran = toil(home, "userspace", tmp_path, document, order)
    assert ran.code == 0, ran
    assert (*texts(ran, "outs"), *texts(ran, "late")) == ("first", "first", "second")
    before, _, after = ran.err.decode().partition("Issued job")
    assert after and "these images are in the store: " in before
    assert first in before and second in before
    asked = len(registry.requests)
    ran = toil(home, "userspace", tmp_path, document, order)
    assert ran.code == 0, ran
    assert len(registry.requests) == asked


def test_workers_find_the_images_that_the_leader_has_made_of_a_file_and_of_a_dockerfile(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry_image, place = system(registry), tmp_path / "image.tar"
    docker_archive(place, "of/a/file:1", system_layer("file"), {})
    of_text = {"dockerFile": f"FROM {registry_image}\nRUN echo made > /image\n"}
    document = scattered(tool(registry_image))
    for name, source in {"file": {"dockerLoad": "image.tar"}, "text": of_text}.items():
        run = {**tool(registry_image, DockerRequirement=source), "stdout": name}
        document["steps"][name] = {"run": run, "in": {"script": "script"}, "out": ["out"]}
        document["outputs"][name] = {"type": "File", "outputSource": f"{name}/out"}
    order = {"script": "cat /image", "names": ["a"]}
    ran = toil(home, "userspace", tmp_path, document, order)
    assert ran.code == 0, ran
    assert [*texts(ran, "file"), *texts(ran, "text")] == ["file", "made\n"]
    assert ran.err.count(b"loading the image of") == ran.err.count(b"STEP 2/2") == 1


def test_an_image_that_nobody_has_ends_it_before_any_job_with_the_place_in_the_document(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    document = scattered(tool(system(registry)))
    nobody = tool("127.0.0.1:9/no/such:1")
    document["steps"]["late"] = {"run": nobody, "in": {"script": "script"}, "out": []}
    order = {"script": "true", "names": ["a"]}
    ran = toil(home, "userspace", tmp_path, document, order)
    said = ran.err.decode()
    lines = (tmp_path / "main.cwl").read_text().splitlines()
    number = 1 + next(n for n, line in enumerate(lines) if "no/such" in line)
    assert ran.code == 33 and f"main.cwl:{number}:" in said
    assert "Issued job" not in said and "Traceback" not in said


def test_what_a_document_says_of_its_container_holds_in_a_worker(
    home: Home, registry: FakeRegistry, tmp_path: Path, port: int
) -> None:
    """The input is read-only and the network off, which the option for other engines loses."""
    data = tmp_path / "data"
    data.write_text("input\n")
    script = f'cat "$1"; echo changed > "$1"; nc -w 2 127.0.0.1 {port} < /dev/null; :'
    order = {"script": script, "file": {"class": "File", "path": str(data)}}
    ran = toil(home, "userspace", tmp_path, tool(system(registry)), order, "--bypass-file-store")
    assert ran.code == 0, ran
    assert texts(ran, "out") == ["input\n"] and data.read_text() == "input\n"
    assert "Read-only" in texts(ran, "err")[0] or "Permission denied" in texts(ran, "err")[0]


@pytest.mark.parametrize("strict", [False, True])
def test_the_memory_that_a_job_asks_for_is_its_limit_only_if_that_is_wanted(
    home: Home, registry: FakeRegistry, tmp_path: Path, strict: bool
) -> None:
    asked = {"ResourceRequirement": {"ramMin": 40, "ramMax": 40}}
    # Held for two seconds by the one that writes: what takes it for a moment may not be seen.
    script = "dd if=/dev/zero bs=300M count=1 | { sleep 2; wc -c; }"
    options = ["--strict-memory-limit"] if strict else []
    document = tool(system(registry), **asked)
    ran = toil(home, "userspace", tmp_path, document, {"script": script}, *options)
    assert ran.code == (1 if strict else 0), ran
    if not strict:
        assert texts(ran, "out") == [f"{300 << 20}\n"]
