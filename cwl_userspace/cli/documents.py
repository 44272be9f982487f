"""Asks cwltool, in a process of its own, which images some CWL documents want."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cwl_userspace.cli.context import Context
from cwl_userspace.errors import UsageError

# Modules are found as this process finds them; no directory that somebody works in is looked at.
_START = """
import sys
sys.path[:] = [*filter(None, sys.path), sys.argv.pop(1)]
try:
    import cwltool
except ModuleNotFoundError:
    sys.exit(9)
from cwl_userspace.cwl.wanted import main
sys.exit(main())
"""
_NO_CWLTOOL = 9


class Place(NamedTuple):
    """Where an image is asked for: a file or a URL, a line, the id of the tool, and how much."""

    file: str
    line: int
    tool: str
    required: bool

    def __str__(self) -> str:
        inside = os.path.relpath(self.file) if os.path.isabs(self.file) else self.file
        return f"{self.file if inside.startswith('..') else inside}:{self.line}"


class Wanted(NamedTuple):
    """One image: the field of DockerRequirement that asks for it, what that says, and where."""

    kind: str
    image: str
    places: tuple[Place, ...]


class Answer:
    """What the documents want, what is wrong with them, and what the other process has fetched."""

    def __init__(self) -> None:
        self.wanted: dict[str, Wanted] = {}
        self.problems: list[str] = []
        self.had: dict[str, str] = {}

    def take(self, kind: str, said: Any) -> None:
        """Take in one line of the other process."""
        if kind == "problem":
            self.problems.append(said)
        elif kind == "had":
            self.had[said["key"]] = said["problem"]
        else:
            place = Place(said["file"], said["line"], said["tool"], said["required"])
            known = self.wanted.get(said["key"], Wanted(said["kind"], said["image"], ()))
            places = tuple(dict.fromkeys((*known.places, place)))
            self.wanted[said["key"]] = known._replace(places=places)


def ask(context: Context, documents: Sequence[str], overrides: str, acquire: bool) -> Answer:
    """The answer for some documents, of which the last may be an input object.

    ``acquire`` has what no registry has, such as images of files, put into the store meanwhile.
    Raise UsageError where there is no cwltool.
    """
    question = {"documents": list(documents), "overrides": overrides, "acquire": acquire}
    package = str(Path(__file__).resolve().parent.parent.parent)
    offline = {"CWL_USERSPACE_OFFLINE": "1"} if context.settings.offline else {}
    answer = Answer()
    watched = acquire and os.isatty(2) and not context.log.quiet
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(
            [sys.executable, "-c", _START, package],
            env={**context.environ, "CWL_USERSPACE_ENGINE": context.engine, **offline},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if watched else words,
        ) as process,
    ):
        for kind, said in _lines(process, question):
            answer.take(kind, said)
        if any(answer.had.values()) or process.wait() not in (0, _NO_CWLTOOL):
            words.seek(0)
            sys.stderr.write(words.read().decode("utf-8", "replace"))
    if process.returncode == _NO_CWLTOOL:
        raise UsageError(
            f"cwltool, which reads CWL documents, is not installed with {sys.executable}",
            "pip install cwltool",
        )
    if process.returncode != 0:
        answer.problems.append(f"reading the documents ended with code {process.returncode}")
    return answer


def _lines(process: subprocess.Popen[bytes], question: object) -> Iterator[tuple[str, Any]]:
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(question).encode())
        process.stdin.close()
    except BrokenPipeError:
        return  # its exit code says why
    for line in process.stdout:
        yield from json.loads(line).items()
