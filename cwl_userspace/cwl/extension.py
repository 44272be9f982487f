"""``cwltool-userspace``: cwltool, with every DockerRequirement run by cwl-userspace.

cwltool's ordinary Docker path loses nothing that a document says, and the program that it calls
is an attribute of each job. So a tool of ours sets that attribute, and all else is cwltool's.
Only ``CommandLineTool`` may be subclassed where cwltool was compiled by mypyc.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import cwltool.context
import cwltool.main
import cwltool.workflow
from cwltool.argparser import arg_parser
from cwltool.command_line_tool import CommandLineTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.docker import DockerCommandLineJob, PodmanCommandLineJob
from cwltool.errors import WorkflowException
from cwltool.job import JobBase
from cwltool.loghandler import _logger
from cwltool.process import Process
from cwltool.utils import OutputCallbackType
from ruamel.yaml.comments import CommentedMap

from cwl_userspace.cwl import starting
from cwl_userspace.engines.base import NETWORK_OFF, READ_ONLY_BINDS, READ_ONLY_ROOT
from cwl_userspace.engines.choose import choose
from cwl_userspace.engines.promises import said
from cwl_userspace.errors import UserspaceError
from cwl_userspace.settings import load

if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine

COMMAND = "cwl-userspace"
_ASKED_BY_CWLTOOL = (NETWORK_OFF, READ_ONLY_BINDS, READ_ONLY_ROOT)


class UserspaceCommandLineTool(CommandLineTool):
    """A CommandLineTool whose container, if it has one, is run by our command."""

    def __init__(self, toolpath_object: CommentedMap, loadingContext: LoadingContext) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.userspace_command = find_command()

    def job(
        self,
        job_order: Any,
        output_callbacks: OutputCallbackType,
        runtimeContext: RuntimeContext,
    ) -> Generator[Any, None, None]:
        """The jobs of cwltool; those in a container are told which program to call."""
        for job in super().job(job_order, output_callbacks, runtimeContext):
            if isinstance(job, DockerCommandLineJob) and not isinstance(job, PodmanCommandLineJob):
                self._take_over(job)
            yield job

    def _take_over(self, job: JobBase) -> None:
        _announce()
        starting.serve(self.userspace_command)
        job.docker_exec = self.userspace_command  # type: ignore[attr-defined]
        # With --cidfile-dir cwltool kills by this name when it is asked to end.
        cwltool.main.docker_exe = self.userspace_command


def make_tool(toolpath_object: CommentedMap, loadingContext: LoadingContext) -> Process:
    """cwltool's factory of processes, with our class for a CommandLineTool."""
    if toolpath_object.get("class") == "CommandLineTool":
        return UserspaceCommandLineTool(toolpath_object, loadingContext)
    return cwltool.workflow.default_make_tool(toolpath_object, loadingContext)


def find_command() -> str:
    """The absolute path of our command: beside the running one, in the scripts, or on PATH."""
    beside = os.path.dirname(os.path.abspath(sys.argv[0]))
    for directory in (beside, os.path.dirname(sys.executable), sysconfig.get_path("scripts")):
        path = os.path.join(directory, COMMAND)
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(COMMAND)
    if found is None:
        raise WorkflowException(
            f"no {COMMAND} beside {sys.argv[0]} or on PATH; install the package cwl-userspace"
        )
    return os.path.abspath(found)


_announced: list[str] = []


def _announce() -> None:
    """Say once in cwltool's log what the engine cannot promise; raise where none works."""
    if _announced:
        return
    try:
        settings = load(os.environ)
        engine = choose(settings.engine, settings, os.environ)
    except UserspaceError as error:
        raise WorkflowException(str(error)) from None
    _announced.append(engine.name)
    _logger.info("containers are run by %s with the engine %s", COMMAND, engine.name)
    for sentence in _cautions(engine):
        _logger.warning("%s", sentence)


def _cautions(engine: Engine) -> list[str]:
    kept = said(engine)
    return [
        f"the engine {engine.name} cannot promise {promise}: {kept[promise]}"
        for promise in _ASKED_BY_CWLTOOL
        if kept[promise]
    ] + list(engine.notes())


def main(argv: Sequence[str] | None = None) -> int:
    """Run cwltool with all its own options; return its exit code."""
    cwltool.context.default_make_tool = make_tool
    words = list(sys.argv[1:] if argv is None else argv)
    with starting.launcher():
        return cwltool.main.run(_quick_path(words) + words)


def _quick_path(words: list[str]) -> list[str]:
    """An empty ``--user-space-docker-cmd`` keeps the Docker path, but spares every job the second
    that cwltool's monitor of containers sleeps; only where the user chose nothing himself."""
    from_environment = [w for w in os.environ.get("CWLTOOL_OPTIONS", "").split(" ") if w]
    known, _ = arg_parser().parse_known_args(from_environment + words)
    chosen = (
        known.user_space_docker_cmd is not None
        or known.singularity
        or known.podman
        or not known.use_container
        or known.record_container_id
        or known.cidfile_dir
    )
    return [] if chosen else ["--user-space-docker-cmd="]


if __name__ == "__main__":
    sys.exit(main())
