"""Put every image that a process can ask for into the store, before any of its jobs runs.

cwltool fetches an image when the first job needs it: on a cluster from a node that may have no
network, after hours of other jobs, and once for each job that starts meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

from cwltool.context import RuntimeContext
from cwltool.loghandler import _logger
from cwltool.process import Process
from cwltool.procgenerator import ProcessGenerator

from cwl_userspace.cwl.tool import UserspaceCommandLineTool


def prefetch(process: Process, context: RuntimeContext) -> list[str]:
    """Have the image of every tool of this process in the store; return their names.

    An image that the store has already is fetched again only if the context says
    ``force_docker_pull``, and then once. Raise WorkflowException, with the place of the requirement
    in its document, for the first that cannot be had.
    """
    found = (tool.have_image(context) for tool in tools(process))
    names = list(dict.fromkeys(name for name in found if name is not None))
    if names:
        _logger.info("these images are in the store: %s", ", ".join(names))
    return names


def tools(process: Process) -> Iterator[UserspaceCommandLineTool]:
    """The process if it is a tool of ours, or the tools of its steps and of theirs.

    What a step, a workflow around it or an override says of a container is in each of them,
    because cwltool has joined it when it made the process.
    """
    if isinstance(process, UserspaceCommandLineTool):
        yield process
    # cwltool shuffles a workflow's steps.
    for step in sorted(getattr(process, "steps", ()), key=lambda step: str(step.id)):
        yield from tools(step.embedded_tool)
    # What generates processes holds the tool that it runs first.
    if isinstance(process, ProcessGenerator):
        yield from tools(process.embedded_tool)
