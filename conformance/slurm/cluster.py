"""Starts and stops a Slurm cluster of several nodes on one machine, as root.

Every part (munged, slurmctld, one slurmd a node) is in process and mount namespaces of its own, so
that ending its first process ends all that ever came of it, a job that fled its session included.
Which processes those are is read from a variable in their environments: there is no list that
could be wrong after a crash.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from conformance.problem import Problem
from conformance.slurm.config import Places, names, slurm_conf

Part = subprocess.Popen[bytes]
MARK = "CWL_USERSPACE_CLUSTER"
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "srun": "slurm-client",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "hostname": "hostname",
}
# Each node has these of its own, and could not see a cluster's files below them.
NODE_LOCAL = (Path("/tmp"), Path("/dev/shm"), Path("/run/lock"))
PATIENCE = 60.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance/slurm/cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (("start", "start it"), ("stop", "stop it"), ("status", "how is it")):
        one = verbs.add_parser(verb, help=text)
        one.add_argument("directory", type=Path, metavar="DIR", help="where all its files are")
        if verb == "start":
            one.add_argument("--nodes", type=int, default=2, metavar="N")
            one.add_argument("--cpus", type=int, default=2, metavar="N", help="of each node")
    options = parser.parse_args(argv)
    places = Places(options.directory.resolve())
    try:
        if options.verb == "start":
            start(places, options.nodes, options.cpus)
        elif options.verb == "stop":
            stop(places)
        else:
            return status(places)
    except Problem as problem:
        problem.report("conformance/slurm/cluster")
        return 2
    return 0


def start(places: Places, count: int, cpus: int) -> None:
    """Start a cluster, or leave one that runs as it is; raise Problem where none can be."""
    _require(places)
    places.make(())
    with _alone(places):
        if _whole(places) and _answers(places):
            print(f"runs already: export SLURM_CONF={places.config}")
            return
        _end_all(places)  # what a crash or a dirty stop has left
        for old in (places.control, places.top / "nodes"):
            shutil.rmtree(old, ignore_errors=True)
        nodes = names(count)
        places.make(nodes)
        (places.control / "state").mkdir(exist_ok=True)
        places.config.write_text(slurm_conf(places, nodes, cpus))
        try:
            started = {"munged": _start_munge(places)}
            _wait(places, started, (places.munge / "socket").exists)
            started["slurmctld"] = _part(places, "slurmctld", "service", ["slurmctld", "-D", "-i"])
            for node in nodes:
                started[node] = _part(places, node, "node", ["slurmd", "-D", "-N", node])
            _wait(places, started, lambda: _answers(places))
        except BaseException:
            _end_all(places)
            raise
    print(f"started {', '.join(nodes)}; logs: {places.log('*')}")
    print(f"export SLURM_CONF={places.config}")


def stop(places: Places) -> None:
    """End every process of the cluster, jobs too; one that does not run is no error."""
    if os.geteuid() != 0:
        raise Problem("only root can stop a cluster", "call this as root")
    if not places.top.is_dir():
        return
    with _alone(places):
        ended = _end_all(places)
    print(f"stopped {', '.join(ended) or 'nothing: it did not run'}")


def status(places: Places) -> int:
    """Say what runs; 0 if all of it does and answers."""
    if os.geteuid() == 0:
        print("parts: " + (", ".join(sorted(set(parts(places).values()))) or "none"))
    if not places.config.is_file():
        print(f"no cluster was started in {places.top}")
        return 1
    answer = _slurm(places, "sinfo", "--noheader", "--Node", "--format=%N %T %C")
    print(answer.stdout or answer.stderr, end="")
    return 0 if _answers(places) else 1


def parts(places: Places) -> dict[int, str]:
    """The processes with the cluster's mark, outside of a job, and the parts that they are."""
    found = {}
    mark = f"{MARK}={places.top}\0".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            if mark in environ:
                rest = environ.partition(f"{MARK}_PART=".encode())[2]
                found[int(pid)] = rest.partition(b"\0")[0].decode()
    return found


def _require(places: Places) -> None:
    if os.geteuid() != 0:
        raise Problem("only root can start a cluster", "any user may then submit jobs to it")
    missing = {PACKAGES[name] for name in PACKAGES if not shutil.which(name, path=_PATH)}
    if missing:
        packages = " ".join(sorted(missing))
        raise Problem(
            f"these Debian packages are missing: {packages}", f"apt-get install {packages}"
        )
    for local in NODE_LOCAL:
        if places.top.is_relative_to(local):
            raise Problem(
                f"{places.top} is below {local}, which each node has of its own",
                "give a directory that all nodes see, such as one in /var/tmp",
            )
    if len(str(places.munge / "socket")) > 100:
        raise Problem(f"the path {places.top} is too long for a socket", "give a shorter one")


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[None]:
    """No other start or stop of this cluster goes on meanwhile."""
    fd = os.open(places.top / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _start_munge(places: Places) -> Part:
    """A munge of our own, with a key and a socket of our own, as the user munge."""
    key, socket = places.munge / "key", places.munge / "socket"
    key.unlink(missing_ok=True)
    with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        file.write(os.urandom(1024))
    for place in (places.munge, key):
        shutil.chown(place, "munge", "munge")
    for old in (socket, places.munge / "socket.lock", places.munge / "pid"):
        old.unlink(missing_ok=True)
    words = [
        *("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups"),
        *("munged", "--foreground"),
        f"--key-file={key}",
        f"--socket={socket}",
        f"--pid-file={places.munge}/pid",
        f"--seed-file={places.munge}/seed",
    ]
    return _part(places, "munged", "service", words)


def _part(places: Places, part: str, kind: str, words: Sequence[str]) -> Part:
    """Start one part of the cluster in namespaces of its own."""
    of_node = ["--uts", "--ipc"] if kind == "node" else []
    environ = {
        "PATH": _PATH,
        "SLURM_CONF": str(places.config),
        MARK: str(places.top),
        f"{MARK}_PART": part,
    }
    inside = Path(__file__).with_name("node")
    with open(places.log(part).with_suffix(".err"), "ab") as log:
        return subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--mount-proc", "--propagation=private"),
                *(*of_node, "--fork", "--kill-child"),
                *("bash", str(inside), part, kind, *words),
            ],
            env=environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(places: Places, started: Mapping[str, Part], ready: Callable[[], bool]) -> None:
    """Until that is so; raise Problem where it takes too long, or where a part has ended."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        ended = [part for part, process in started.items() if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            why = f"{', '.join(ended)} ended" if ended else "it did not get ready"
            raise Problem(f"the cluster did not start: {why}", f"see {places.log('*')}, and .err")
        time.sleep(0.1)


def _whole(places: Places) -> bool:
    return _expected(places) <= set(parts(places).values())


def _expected(places: Places) -> set[str]:
    try:
        lines = places.config.read_text().splitlines()
    except FileNotFoundError:
        return {"munged"}
    nodes = {line.split()[0].partition("=")[2] for line in lines if line.startswith("NodeName=")}
    return {"munged", "slurmctld", *nodes}


def _answers(places: Places) -> bool:
    """True if slurmctld says that every node can be used."""
    said = _slurm(places, "sinfo", "--noheader", "--Node", "--format=%T")
    states = said.stdout.split()
    usable = ("idle", "mixed", "allocated", "completing")
    return said.returncode == 0 and bool(states) and all(state in usable for state in states)


def _slurm(places: Places, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "SLURM_CONF": str(places.config)}
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=PATIENCE)


def _end_all(places: Places) -> list[str]:
    """End all parts, with a signal they may act upon and then without; the names of what ran."""
    found = sorted(set(parts(places).values()))
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, PATIENCE)):
        deadline = time.monotonic() + patience
        while (running := parts(places)) and time.monotonic() < deadline:
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.2)
    if running := parts(places):
        raise Problem(f"processes {sorted(running)} of the cluster do not end", "see ps")
    return found


if __name__ == "__main__":
    sys.exit(main())
