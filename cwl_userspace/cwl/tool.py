"""CWL tools whose containers are run by cwl-userspace: a library for runners built on cwltool.

Give ``make_tool`` to ``LoadingContext.construct_tool_object``. cwltool's ordinary Docker path
loses nothing that a document says, and the program that it calls is an attribute of each job; so
a tool of ours sets that attribute, and all else is cwltool's. Only ``CommandLineTool`` may be
subclassed where cwltool was compiled by mypyc, and methods of a job be changed where it was not.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Generator
from functools import partial
from typing import Any, NoReturn

import cwltool.main
import cwltool.workflow
from cwltool.builder import Builder
from cwltool.command_line_tool import CommandLineTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.docker import DockerCommandLineJob, PodmanCommandLineJob
from cwltool.errors import WorkflowException
from cwltool.process import Process
from cwltool.utils import OutputCallbackType
from ruamel.yaml.comments import CommentedMap

from cwl_userspace.cwl import images, mpi, provenance, starting
from cwl_userspace.cwl.command import announce, find_command


class UserspaceCommandLineTool(CommandLineTool):
    """A CommandLineTool whose container, if it has one, is run by our command."""

    def __init__(self, toolpath_object: CommentedMap, loadingContext: LoadingContext) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.userspace_command = find_command()
        # What the document says, beside what stands in for it in our lists of requirements.
        self.userspace_docker: tuple[Any, Any] = (None, None)

    def job(
        self,
        job_order: Any,
        output_callbacks: OutputCallbackType,
        runtimeContext: RuntimeContext,
    ) -> Generator[Any, None, None]:
        """The jobs of cwltool; those in a container are told which program to call."""
        if not is_ours(runtimeContext):
            yield from super().job(job_order, output_callbacks, runtimeContext)
            return
        fetch = self._image(runtimeContext)
        for job in super().job(job_order, output_callbacks, runtimeContext):
            if isinstance(job, DockerCommandLineJob) and not isinstance(job, PodmanCommandLineJob):
                self.take_over(job, runtimeContext)
                self._fetch_first(job, fetch, runtimeContext)
                if runtimeContext.research_obj is not None:
                    provenance.record(job)
            yield job

    def have_image(self, runtimeContext: RuntimeContext) -> str | None:
        """Put this tool's image into the store before there is any job; return its name.

        None if no container is asked for. Raise UnsupportedRequirement or WorkflowException, as
        the job would, with the place in the document.
        """
        self.make_job_runner(runtimeContext)  # takes in what --default-container says
        fetch = self._image(runtimeContext)
        wanted, _ = self.get_requirement("DockerRequirement")
        if wanted is None or not is_ours(runtimeContext):
            return None
        nothing: Any = None
        job = DockerCommandLineJob(nothing, nothing, nothing, [], [], "")
        job.docker_exec = self.userspace_command
        self._fetch_first(job, fetch, runtimeContext)
        anew = runtimeContext.force_docker_pull
        with tempfile.TemporaryDirectory() as place:  # for a Dockerfile
            return job.get_from_requirements(wanted, runtimeContext.pull_image, anew, f"{place}/")

    def take_over(self, job: DockerCommandLineJob, runtimeContext: RuntimeContext) -> None:
        """Have a job in a container run by our command."""
        announce()
        starting.serve(self.userspace_command)
        job.docker_exec = self.userspace_command
        # With --cidfile-dir cwltool kills by this name when it is asked to end.
        cwltool.main.docker_exe = self.userspace_command
        if job.mpi_procs:
            mpi.prepare(job, runtimeContext)

    def _image(self, runtimeContext: RuntimeContext) -> images.Fetch:
        """Put a requirement that cwltool can use in place of the document's, in lists of our own.

        Return what has its image in the store, or raises the reason why not. This is done again
        for each job: a runner may keep a tool, and the file be another by then.
        """
        current, required = self.get_requirement("DockerRequirement")
        if current is None:
            return lambda: None
        original, used = self.userspace_docker
        given = original if used is current else current
        want = images.Want(given, bool(required), self.document_of(given))
        try:
            if given is not original:
                images.check(want)
            used, fetch = images.prepared(
                want, runtimeContext.pull_image, runtimeContext.force_docker_pull
            )
        except WorkflowException as error:
            return partial(_refuse, error)
        self.userspace_docker = (given, used)
        self.requirements = [used if item is current else item for item in self.requirements]
        self.hints = [used if item is current else item for item in self.hints]
        return fetch

    def document_of(self, requirement: Any) -> str:
        """The file that a requirement stands in, which may be that of a workflow around."""
        named = getattr(getattr(requirement, "lc", None), "filename", None)
        return str(named or self.tool["id"]).partition("#")[0]

    def _init_job(self, joborder: Any, runtime_context: RuntimeContext) -> Builder:
        if is_ours(runtime_context) and self.get_requirement(mpi.REQUIREMENT)[0] is not None:
            runtime_context = mpi.allowing(runtime_context, self.userspace_command)
        return super()._init_job(joborder, runtime_context)

    def _fetch_first(
        self, job: DockerCommandLineJob, fetch: images.Fetch, runtimeContext: RuntimeContext
    ) -> None:
        """Have the image before the job, in the job's own time, and errors blamed on their line."""
        current, required = self.get_requirement("DockerRequirement")
        given: Any = self.userspace_docker[0] or current
        want = images.Want(given, bool(required), "")
        get = job.get_from_requirements

        def located(*words: Any, **named: Any) -> str | None:
            fetch()
            try:
                return get(*words, **named)
            except (WorkflowException, subprocess.CalledProcessError, OSError) as error:
                key = want.sources[0] if want.sources else "dockerImageId"
                want.refuse(key, _reason(want.text(key), error))

        try:
            job.get_from_requirements = located  # type: ignore[method-assign]
        except AttributeError:  # a job of a compiled cwltool
            if not runtimeContext.validate_only:
                fetch()


def _refuse(error: WorkflowException) -> NoReturn:
    raise error


def _reason(name: str, error: Exception) -> str:
    about = f"the image {name}" if "\n" not in name else "the image of this Dockerfile"
    if isinstance(error, subprocess.CalledProcessError):
        return f"{about} cannot be had; its reason stands above, in the line of cwl-userspace"
    return f"{about} cannot be had: {error}"


def is_ours(runtimeContext: RuntimeContext) -> bool:
    """True if containers are wanted, and the user has chosen nothing else to run them with."""
    return bool(
        runtimeContext.use_container
        and not runtimeContext.singularity
        and not runtimeContext.podman
        and not runtimeContext.user_space_docker_cmd
    )


def make_tool(toolpath_object: CommentedMap, loadingContext: LoadingContext) -> Process:
    """cwltool's factory of processes, with our class for a CommandLineTool."""
    if toolpath_object.get("class") == "CommandLineTool":
        return UserspaceCommandLineTool(toolpath_object, loadingContext)
    return cwltool.workflow.default_make_tool(toolpath_object, loadingContext)
