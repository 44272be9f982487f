"""What Toil makes of a document, with every DockerRequirement run by cwl-userspace.

Toil pickles a tool on its leader and wakes it up in a worker, on another node perhaps: the class
is found there by this module's name, and our command anew.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Mapping
from typing import Any

from cwltool.context import LoadingContext, RuntimeContext
from cwltool.job import JobBase
from cwltool.process import Process
from cwltool.utils import OutputCallbackType
from toil.cwl import cwltoil
from toil.cwl.cwltoil import ToilCommandLineTool, ToilExpressionTool

from cwl_userspace.cwl import javascript
from cwl_userspace.cwl.acquire import has
from cwl_userspace.cwl.command import announce, find_command
from cwl_userspace.cwl.images import Fetch
from cwl_userspace.cwl.prefetch import prefetch, tools
from cwl_userspace.cwl.store import store_of
from cwl_userspace.cwl.tool import UserspaceCommandLineTool
from cwl_userspace.settings import load


class _Woken:
    """Has the process that wakes it up evaluate expressions as the leader does."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        javascript.use_container()


class UserspaceToilExpression(_Woken, ToilExpressionTool):  # type: ignore[misc]
    """An expression of Toil's that needs no Node.js on the node."""


class UserspaceToilTool(_Woken, UserspaceCommandLineTool, ToilCommandLineTool):  # type: ignore[misc]
    """A tool of Toil whose container, if it has one, is run by our command."""

    # Whether the leader has put the image into the store: then no job asks for it again.
    userspace_fetched = False

    def __init__(self, toolpath_object: Any, loadingContext: LoadingContext) -> None:
        super().__init__(toolpath_object, loadingContext)
        wanted, _ = self.get_requirement("DockerRequirement")
        # The name may be relative to where the leader was started.
        document: str = super().document_of(wanted)
        self.userspace_document = document if "://" in document else os.path.abspath(document)

    def document_of(self, requirement: Any) -> str:
        """That in which the requirement stood when the leader read it."""
        return self.userspace_document

    def _image(self, runtimeContext: RuntimeContext) -> Fetch:
        """As for all our tools; but a worker neither reads nor builds what its store has."""
        current: Any = self.get_requirement("DockerRequirement")[0]
        name = str((current or {}).get("dockerImageId") or "")
        if not self.userspace_fetched or not has(store_of(load(os.environ)), name):
            fetch: Fetch = super()._image(runtimeContext)
            return fetch
        named = copy.copy(current)
        named.pop("dockerFile", None)
        self.requirements = [named if item is current else item for item in self.requirements]
        self.hints = [named if item is current else item for item in self.hints]
        return lambda: None

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:
        """The job class of cwltool.

        Toil's own has a script put around the tool's command that counts what a daemon's
        container uses, in an image that needs a shell for it. Ours is a child of the worker.
        """
        cls: type[JobBase] = super(ToilCommandLineTool, self).make_job_runner(runtimeContext)
        return cls

    def job(
        self,
        job_order: Any,
        output_callbacks: OutputCallbackType,
        runtimeContext: RuntimeContext,
    ) -> Generator[Any, None, None]:
        """The jobs of Toil, in a worker: what the leader knew of its host does not hold there."""
        self.userspace_command = find_command()
        if self.userspace_fetched:
            runtimeContext.force_docker_pull = False
        yield from super().job(job_order, output_callbacks, runtimeContext)


class Leader:
    """What Toil's leader does with a document before it issues the first job.

    Toil has no place to register any of this, but looks these three functions of its own up by
    their names each time, so that others may stand there.
    """

    def __init__(self) -> None:
        self._make_tool = cwltoil.toil_make_tool
        self._prepull = cwltoil.try_prepull
        self._scan = cwltoil.scan_for_unsupported_requirements
        self._wanted: RuntimeContext | None = None

    def take_over(self) -> None:
        """Stand where Toil's functions stood."""
        cwltoil.toil_make_tool = self.make_tool
        cwltoil.try_prepull = self.prepull
        cwltoil.scan_for_unsupported_requirements = self.scan
        javascript.use_container()

    def make_tool(self, toolpath_object: Any, loadingContext: LoadingContext) -> Process:
        """Toil's factory of processes, with our classes for tools."""
        kind = toolpath_object["class"] if isinstance(toolpath_object, Mapping) else ""
        ours = {"CommandLineTool": UserspaceToilTool, "ExpressionTool": UserspaceToilExpression}
        process: Process = ours.get(kind, self._make_tool)(toolpath_object, loadingContext)
        return process

    def prepull(self, uri: str, context: RuntimeContext, batch_system: str) -> None:
        """Remember that images are to be fetched first: the document has not been read yet."""
        if context.singularity or context.podman or context.user_space_docker_cmd:
            self._prepull(uri, context, batch_system)
            return
        self._wanted = context
        if batch_system == "single_machine":
            announce()

    def scan(self, tool: Process, *words: Any, **options: Any) -> None:
        """What Toil refuses is refused first; then all images are fetched, once."""
        self._scan(tool, *words, **options)
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        prefetch(tool, wanted)
        for each in tools(tool):
            each.userspace_fetched = True  # type: ignore[attr-defined]
