"""What an MPI launcher of the host tells a rank, for the container that the rank runs in.

Ranks on one host exchange messages through files in /dev/shm, and through the network otherwise;
they find each other by a server of the launcher, whose address is in their variables, or which is
at the other end of a descriptor that they inherit (PMI_FD, in the protocols PMI-1 and PMI-2).
"""

from __future__ import annotations

import fcntl
import os

from cwl_userspace.errors import UsageError
from cwl_userspace.spec import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cwl_userspace.spec import RunRequest

VARIABLE = "CWL_USERSPACE_MPI"
_OF_LAUNCHERS = (
    *("PMI_", "PMI2_", "PMIX_", "PMIX_MCA_", "OMPI_", "PRTE_", "ORTE_", "SLURM_", "SLURMD_"),
    *("MPI_", "MPICH_", "MPIR_", "HYDRA_", "HYDI_", "I_MPI_", "FI_", "UCX_", "PALS_", "FLUX_"),
)
_SHARED_MEMORY = "/dev/shm"
# What UCX and hwloc find network devices and processors by; without it UCX finds no transport.
_DEVICES = "/sys"
# A rank cannot open another's /proc/PID/fd: ask UCX to open the file by its name in /dev/shm.
_BY_NAME = ("UCX_POSIX_USE_PROC_LINK", "n")
# Directories with files that OpenMPI's ranks map, and the sockets of its servers.
_DIRECTORIES = ("PMIX_SERVER_TMPDIR", "PMIX_SYSTEM_TMPDIR")
_SOCKET = "PMI_FD"
# Where no other descriptor of ours is.
_HIGH = 200


def with_launcher(request: RunRequest, environ: Mapping[str, str]) -> list[int]:
    """Add to a request what its rank needs; return the descriptors that the program inherits.

    ``-e``, ``-h`` and mounts that were asked for win. Raise UsageError where the launcher's
    descriptor is not open, since then something in between has closed it.
    """
    told = {name: value for name, value in environ.items() if name.startswith(_OF_LAUNCHERS)}
    told.setdefault(*_BY_NAME)
    kept: list[int] = []
    if _SOCKET in told:
        kept.append(_out_of_the_way(told[_SOCKET]))
        told[_SOCKET] = str(kept[0])
    request.environment = (*told.items(), *request.environment)
    request.hostname = request.hostname or os.uname().nodename
    places = [_SHARED_MEMORY, _DEVICES, *(told[name] for name in _DIRECTORIES if name in told)]
    taken = {mount.target for mount in request.mounts}
    request.mounts += tuple(
        Mount(os.path.realpath(place), place, read_only=place == _DEVICES)
        for place in dict.fromkeys(places)
        if place not in taken and os.path.isdir(place)
    )
    return kept


def _out_of_the_way(text: str) -> int:
    try:
        return fcntl.fcntl(int(text), fcntl.F_DUPFD, _HIGH)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"the launcher's {_SOCKET} is {text!r}, which is no open descriptor",
            f"start cwl-userspace by the launcher itself, or leave out {VARIABLE}",
        ) from None
