"""Conformance suites of a few small tests, and a runner of no more than a shell script."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from conformance.cell import Cell, Wish
from conformance.doors import Door
from conformance.sources import Source

# Puts down which document it is given, does what the document says, and prints an empty result.
_RUNNER = """\
#!/bin/sh
for document; do :; done
name=$(basename "$document" .cwl)
echo "$name" >> "$TINY_HOME/called"
. "$TINY_HOME/$name"
echo '{}'
"""
HOME = "TINY_HOME"
DOOR = Door("tiny", "runner", home=HOME, needs=(), networks=False)


def tool(folder: Path, name: str, image: str = "") -> None:
    """A document that asks for this container, or for none."""
    requirement = {"DockerRequirement": {"dockerPull": image}} if image else {}
    document = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "hints": requirement,
        "inputs": [],
        "outputs": [],
        "baseCommand": "true",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.cwl").write_text(json.dumps(document))


def suite(folder: Path, names: Sequence[str], should_fail: Sequence[str] = ()) -> Path:
    """A suite as v1.2 is laid out, of these tests, which want a container each."""
    for name in names:
        tool(folder / "tests", name, "alpine")
    entries = [
        {
            "id": name,
            "tool": f"tests/{name}.cwl",
            "output": {},
            "doc": f"it is {name}",
            "tags": ["command_line_tool"],
            **({"should_fail": True} if name in should_fail else {}),
        }
        for name in names
    ]
    (folder / "conformance_tests.yaml").write_text(json.dumps(entries))
    return folder


class Tiny:
    """A cell that can be run without a container: its runner does what files tell it."""

    def __init__(self, folder: Path, names: Sequence[str], should_fail: Sequence[str] = ()) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.home = folder / "home"
        (self.home / "bin").mkdir(parents=True)
        runner = self.home / "bin" / "runner"
        runner.write_text(_RUNNER)
        runner.chmod(0o755)
        for name in names:
            self.tell(name, "")
        images = folder / "images"
        images.mkdir()
        (images / "index.json").write_text("{}")
        self.wish = Wish(images, only="all")
        tests = suite(folder / "suite", names, should_fail) / "conformance_tests.yaml"
        self.cell = Cell(Source("v1.2", tests), DOOR, "auto")

    def tell(self, name: str, script: str) -> None:
        """What the runner does for this test before it says that all is well."""
        (self.home / name).write_text(script)

    def called(self) -> list[str]:
        """The tests that the runner was called for, in their order; forgets them."""
        path = self.home / "called"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    def environment(self) -> dict[str, str]:
        return {**os.environ, HOME: str(self.home)}
