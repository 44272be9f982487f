"""The files of a cluster: where each is, and what stands in slurm.conf."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# SIGTERM, and so long after it SIGKILL: shorter than the grace that we give a tool ourselves, so
# that what Slurm does to one that will not end is seen, too.
KILL_WAIT = 5
# MiB of each node, said to be there (config_overrides) so that no test waits for more than it has.
MEMORY = 64000


class Places(NamedTuple):
    """The directories of one cluster; all of it is below ``top``."""

    top: Path

    @property
    def config(self) -> Path:
        """What SLURM_CONF has to name."""
        return self.top / "slurm.conf"

    @property
    def munge(self) -> Path:
        """The key and the socket of a munge of our own."""
        return self.top / "munge"

    @property
    def control(self) -> Path:
        """What slurmctld keeps."""
        return self.top / "slurmctld"

    @property
    def completed(self) -> Path:
        """Slurm's own record of jobs that have ended: a line each, with its nodes."""
        return self.top / "completed-jobs"

    def log(self, part: str) -> Path:
        """What one part says: munged, slurmctld, or a node."""
        return self.top / "log" / f"{part}.log"

    def spool(self, node: str) -> Path:
        """What one slurmd keeps."""
        return self.top / "nodes" / node

    def make(self, nodes: Sequence[str]) -> None:
        """Make all directories; users only read here, and reach munge's socket."""
        self.top.mkdir(mode=0o755, parents=True, exist_ok=True)
        for place in (self.munge, self.control, self.top / "log", *map(self.spool, nodes)):
            place.mkdir(mode=0o755, parents=True, exist_ok=True)


def names(count: int) -> list[str]:
    """The names of the nodes."""
    return [f"n{number}" for number in range(1, count + 1)]


def slurm_conf(places: Places, nodes: Sequence[str], cpus: int) -> str:
    """The configuration; the ports are free ones, beside those of a Slurm that may be here."""
    control, *ports = _free_ports(len(nodes) + 1)
    lines = [
        "ClusterName=conformance",
        f"SlurmctldHost={socket.gethostname()}(127.0.0.1)",
        f"SlurmctldPort={control}",
        "SlurmUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={places.munge}/socket",
        "CredType=cred/munge",
        "MpiDefault=none",
        "MailProg=/bin/true",
        # There is no cgroup to be had in many places where this is tried.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        # What a job takes is looked at every second, and too much memory ends it.
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=1",
        "JobAcctGatherParams=OverMemoryKill",
        "AccountingStorageType=accounting_storage/none",
        "JobCompType=jobcomp/filetxt",
        f"JobCompLoc={places.completed}",
        "SlurmdParameters=config_overrides",
        "SelectType=select/cons_tres",
        # The least loaded node first: jobs shall go to different nodes.
        "SelectTypeParameters=CR_Core_Memory,CR_LLN",
        f"DefMemPerCPU={MEMORY // cpus}",
        "ReturnToService=2",
        f"KillWait={KILL_WAIT}",
        f"StateSaveLocation={places.control}/state",
        f"SlurmctldPidFile={places.control}/pid",
        f"SlurmctldLogFile={places.log('slurmctld')}",
        f"SlurmdSpoolDir={places.top}/nodes/%n/spool",
        f"SlurmdPidFile={places.top}/nodes/%n/pid",
        f"SlurmdLogFile={places.top}/log/%n.log",
        *(
            f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port}"
            f" CPUs={cpus} RealMemory={MEMORY}"
            for node, port in zip(nodes, ports, strict=True)
        ),
        f"PartitionName=all Nodes={','.join(nodes)} Default=YES MaxTime=INFINITE State=UP",
    ]
    return "\n".join(lines) + "\n"


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last is found."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()
