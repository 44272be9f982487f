"""CWL documents as values, and a real cwltool that runs them through a door of ours."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.containers import Home, Tar, shell_layer

SCRIPTS = Path(sys.executable).parent
DOORS = {
    "extension": ("cwltool-userspace",),
    "user-space": ("cwltool", "--user-space-docker-cmd=cwl-userspace"),
}


def since(release: str) -> pytest.MarkDecorator:
    """A mark for what cwltool itself can do only since a release."""
    found = importlib.metadata.version("cwltool")
    older = [int(n) for n in found.split(".")[:3]] < [int(n) for n in release.split(".")]
    return pytest.mark.skipif(older, reason=f"needs cwltool {release}, this is {found}")


class Done(NamedTuple):
    """How cwltool ended, its output object, where that is, and its log."""

    code: int
    outputs: dict[str, Any]
    place: Path
    log: str

    def text(self, name: str) -> str:
        """What a step has printed."""
        return (self.place / f"{name}.txt").read_text()

    @property
    def words(self) -> str:
        """The log in one line, without colours: cwltool breaks and indents long messages."""
        return " ".join(self.log.split())


def tool(script: str, image: Mapping[str, Any], name: str = "out", **more: Any) -> dict[str, Any]:
    """A tool that runs a shell script in an image and keeps what it prints; hints if ``hinted``."""
    hinted = more.pop("hinted", False)
    others = more.pop("requirements", {})
    docker = {"DockerRequirement": dict(image)}
    return {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "$namespaces": {"cwltool": "http://commonwl.org/cwltool#"},
        "requirements": others if hinted else {**docker, **others},
        "hints": docker if hinted else {},
        "baseCommand": ["sh", "-c", script],
        "inputs": {"file": {"type": "File?", "inputBinding": {"position": 1}}, "n": "int?"},
        "outputs": {"out": {"type": "stdout"}},
        "stdout": f"{name}.txt",
        **more,
    }


def workflow(tools: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A workflow with these as its steps: one start of cwltool serves them all."""
    for name, step in tools.items():
        step["stdout"] = f"{name}.txt"
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "$namespaces": {"cwltool": "http://commonwl.org/cwltool#"},
        "inputs": {"file": "File?"},
        "outputs": {n: {"type": "File", "outputSource": f"{n}/out"} for n in tools},
        "steps": {n: {"run": t, "in": {"file": "file"}, "out": ["out"]} for n, t in tools.items()},
    }


def cwltool(
    home: Home,
    place: Path,
    document: Mapping[str, Any],
    *options: str,
    door: str = "extension",
    order: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    path: str = "",
) -> Done:
    """Write the document as ``document.cwl`` in a place, and run it from elsewhere."""
    (place / "document.cwl").write_text(json.dumps(document, indent=1))
    (place / "order.json").write_text(json.dumps(order or {}))
    program, *first = DOORS[door]
    outputs = place / "outputs"
    done = subprocess.run(
        [
            *(*prefix, str(SCRIPTS / program), *first, "--disable-color", "--enable-ext"),
            *("--outdir", str(outputs), *options),
            *(str(place / "document.cwl"), str(place / "order.json")),
        ],
        env={
            **home.environment,
            "PATH": path or f"{SCRIPTS}:{home.environment['PATH']}",
            "COLUMNS": "1000",
            **(environment or {}),
        },
        cwd=home.place,
        capture_output=True,
        timeout=100,
    )
    printed = done.stdout.decode()
    told = json.loads(printed) if printed.strip().startswith("{") else {}
    return Done(done.returncode, told, outputs, done.stderr.decode("utf-8", "replace"))


def file(path: Path) -> dict[str, str]:
    """A File of an input object."""
    return {"class": "File", "path": str(path)}


def layer(word: str) -> bytes:
    """A small system whose /word says which one it is."""
    return shell_layer().file("word", f"{word}\n".encode()).bytes()


def archive(images: Mapping[str, bytes]) -> bytes:
    """What ``docker save`` writes for several images of one layer each."""
    from tests.containers import image_config

    tar, listed = Tar(), []
    for number, (name, content) in enumerate(images.items()):
        config, inside = f"{number}.json", f"{number}/layer.tar"
        tar.file(config, image_config(content, {})).file(inside, content)
        listed.append({"Config": config, "RepoTags": [name], "Layers": [inside]})
    return tar.file("manifest.json", json.dumps(listed).encode()).bytes()
