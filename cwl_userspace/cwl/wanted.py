"""Which images CWL documents ask for, and where: the other process of the verb ``prefetch``.

It reads a JSON object from standard input and writes one a line to standard output: ``want``,
``problem``, and, where it is to have what no registry has, ``had``. The verb itself knows nothing
of cwltool, whose import alone takes longer than the run of a container.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger

from cwl_userspace.cwl.documents import Documents, NotLoaded, is_job
from cwl_userspace.cwl.images import Want, check
from cwl_userspace.cwl.places import is_web, path_of
from cwl_userspace.cwl.prefetch import tools
from cwl_userspace.cwl.tool import UserspaceCommandLineTool
from cwl_userspace.errors import UserspaceError
from cwl_userspace.reference import ImageReference
from cwl_userspace.settings import load

Say = Callable[[str, object], None]


class Found(NamedTuple):
    """One DockerRequirement of one tool: what ``prefetch`` shows and fetches."""

    kind: str
    image: str
    file: str
    line: int
    tool: str
    required: bool

    @property
    def key(self) -> str:
        """What is the same for all that ask for the same."""
        return f"{self.kind} {self.image}"


def main() -> int:
    """Answer one question; each line is written as soon as it is known."""
    question = json.load(sys.stdin)
    # What cwltool or its modules print must not get between our lines.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)
    _logger.setLevel(logging.ERROR)
    logging.getLogger("salad").setLevel(logging.ERROR)

    def say(kind: str, what: object) -> None:
        print_to(answers, {kind: what})

    seen = _list(question, say)
    for key, tool in seen.items() if question["acquire"] else ():
        if not key.startswith("dockerPull "):
            say("had", {"key": key, "problem": _acquire(tool)})
    return 0


def _list(question: dict[str, Any], say: Say) -> dict[str, UserspaceCommandLineTool]:
    """Say what is wanted, and what could not be loaded; a tool for each image."""
    documents = Documents(question["overrides"], load(os.environ).offline)
    names = list(question["documents"])
    job = names.pop() if len(names) > 1 and is_job(names[-1]) else ""
    seen: dict[str, UserspaceCommandLineTool] = {}
    for name in names:
        try:
            for process in documents.processes(name, job):
                for tool in tools(process):
                    _describe(tool, say, seen)
        except NotLoaded as error:
            say("problem", str(error))
    return seen


def _describe(
    tool: UserspaceCommandLineTool, say: Say, seen: dict[str, UserspaceCommandLineTool]
) -> None:
    try:
        found = describe(tool)
    except NotLoaded as error:
        say("problem", str(error))
        return
    if found is not None:
        say("want", {**found._asdict(), "key": found.key})
        seen.setdefault(found.key, tool)


def print_to(file: Any, document: object) -> None:
    """One line of JSON, at once."""
    file.write(json.dumps(document) + "\n")
    file.flush()


def describe(tool: UserspaceCommandLineTool) -> Found | None:
    """What a tool asks for, or None if for no container; raise NotLoaded if that has no meaning."""
    requirement, required = tool.get_requirement("DockerRequirement")
    if requirement is None:
        return None
    document = tool.document_of(requirement)
    want = Want(requirement, bool(required), document)
    try:
        check(want)
    except WorkflowException as error:
        raise NotLoaded(str(error)) from None
    kind = want.sources[0] if want.sources else "dockerImageId"
    return Found(
        kind,
        _named(want, kind),
        document if is_web(document) else path_of(document),
        _line(requirement, kind),
        str(tool.tool["id"]).partition("_:")[0],  # one that stands in a step has no id
        bool(required),
    )


def _named(want: Want, kind: str) -> str:
    if kind == "dockerPull":
        return str(ImageReference.parse(want.text(kind)))
    if kind == "dockerFile":
        return want.text("dockerImageId") or "FROM " + ", ".join(_bases(want.text(kind)))
    return want.text(kind)


def _bases(dockerfile: str) -> Iterator[str]:
    """The images that a Dockerfile is built on, as they are written there."""
    for line in dockerfile.splitlines():
        words = [word for word in line.split() if not word.startswith("--")]
        if len(words) > 1 and words[0].upper() == "FROM":
            yield words[1]


def _line(requirement: Any, key: str) -> int:
    """The line of a key, or of the requirement; 1 where cwltool has made it up."""
    place = getattr(requirement, "lc", None)
    lines = getattr(place, "data", None) or {}
    start = lines[key][0] if key in lines else getattr(place, "line", 0)
    return int(start or 0) + 1


def _acquire(tool: UserspaceCommandLineTool) -> str:
    """Have what no registry has; return what is wrong, or nothing."""
    try:
        tool.have_image(RuntimeContext())
    except (WorkflowException, UserspaceError, OSError) as error:
        return " ".join(str(error).split())
    return ""


if __name__ == "__main__":
    sys.exit(main())
