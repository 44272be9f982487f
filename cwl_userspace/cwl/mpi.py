"""MPI jobs in containers: cwltool starts N runs of our command with the MPI launcher of the host.

What the launcher tells each of them, by variables and by a descriptor, is passed on by ``run``
where ``$CWL_USERSPACE_MPI`` is set, and the ranks share the host's network and /dev/shm: that is
what they talk through. The word ``env`` sets it in front of ``run``, on whatever host a launcher
starts that.
"""

from __future__ import annotations

from cwltool.context import RuntimeContext
from cwltool.docker import DockerCommandLineJob
from cwltool.loghandler import _logger
from cwltool.mpi import MPIRequirementName

REQUIREMENT = MPIRequirementName
_MARK = ("env", "CWL_USERSPACE_MPI=1")


def allowing(runtimeContext: RuntimeContext, command: str) -> RuntimeContext:
    """A context in which cwltool allows MPI with a container: it does for user space engines.

    It is for ``_init_job`` alone; everywhere else the Docker path, which says more, is taken.
    """
    context = runtimeContext.copy()
    context.user_space_docker_cmd = command
    return context


def prepare(job: DockerCommandLineJob, runtimeContext: RuntimeContext) -> None:
    """Have the ranks of a job know each other."""
    config = runtimeContext.mpi_config
    if tuple(config.extra_flags[-2:]) != _MARK:
        # The object is shared by all jobs, and used for those with MPI alone.
        config.extra_flags = [*config.extra_flags, *_MARK]
    if not job.networkaccess:
        _logger.warning(
            "[job %s] its ranks talk through the network and memory of the host, "
            "so neither is kept from it",
            job.name,
        )
        job.networkaccess = True
