"""Put every image that a process can ask for into the store, before any of its jobs runs.

cwltool fetches an image when the first job needs it: on a cluster from a node that may have no
network, after hours of other jobs, and once for each job that starts meanwhile.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableMapping
from typing import Any

import cwltool.docker
from cwltool.command_line_tool import CommandLineTool
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger
from cwltool.process import Process
from cwltool.procgenerator import ProcessGenerator
from ruamel.yaml.comments import CommentedMap
from schema_salad.sourceline import SourceLine

Requirement = MutableMapping[str, Any]

# What names the source of an image, in the order in which cwltool looks at them.
_SOURCES = ("dockerFile", "dockerPull", "dockerLoad", "dockerImport", "dockerImageId")


def prefetch(process: Process, context: RuntimeContext, command: str) -> list[str]:
    """Fetch the image of every tool of this process with our command; return their names.

    An image that the store has already is fetched again only if the context says
    ``force_docker_pull``. Raise WorkflowException, with the place of the requirement in its
    document, for the first that cannot be had.
    """
    fetched: list[Requirement] = []
    names: list[str] = []
    for requirement in filter(None, (container(tool, context) for tool in tools(process))):
        if requirement in fetched:
            continue
        fetched.append(requirement)
        wanted = copy.deepcopy(requirement)  # cwltool adds a name to what it is given
        try:
            _job(command).get_image(
                wanted, context.pull_image, context.force_docker_pull, context.tmp_outdir_prefix
            )
        except Exception as error:  # a failed command, an answer of HTTP, a key that is missing
            raise _complaint(requirement, error) from error
        names.append(str(wanted["dockerImageId"]))
    if names:
        _logger.info("these images are in the store: %s", ", ".join(names))
    return names


def tools(process: Process) -> Iterator[CommandLineTool]:
    """The process if it is a tool, or the tools of its steps and of theirs."""
    if isinstance(process, CommandLineTool):
        yield process
    for step in getattr(process, "steps", ()):
        yield from tools(step.embedded_tool)
    # What generates processes holds the tool that it runs first.
    if isinstance(process, ProcessGenerator):
        yield from tools(process.embedded_tool)


def container(tool: CommandLineTool, context: RuntimeContext) -> Requirement | None:
    """What a tool says of its container, or what is said of one for tools that say nothing.

    A step, a workflow around it or an override may have said it: cwltool joined that when it made
    the tool.
    """
    requirement, _ = tool.get_requirement("DockerRequirement")
    if requirement is not None:
        return requirement
    if context.find_default_container is not None:
        name = context.find_default_container(tool)
        return CommentedMap({"dockerPull": name}) if name else None
    return None


def _job(command: str) -> Any:
    """A job of cwltool that runs nothing, for its way to an image."""
    nothing: Any = None
    job = cwltool.docker.DockerCommandLineJob(nothing, nothing, nothing, [], [], "prefetch")
    job.docker_exec = command
    return job


def _complaint(requirement: Requirement, error: Exception) -> WorkflowException:
    source = next((key for key in _SOURCES if key in requirement), None)
    said = str(requirement[source]).strip().splitlines()[0] if source else ""
    place = SourceLine(requirement, source, WorkflowException)
    failure: WorkflowException = place.makeError(
        f"the image of {source} {said!r} cannot be had before the jobs start: {error}"
    )
    return failure
