"""How containers end: by themselves, by a limit, by a signal; and what is left of them then."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence

from cwl_userspace import lineage
from cwl_userspace.spec import Limits
from cwl_userspace.trial.container import Container, Untold, told, until

Start = Callable[..., Container]
_MEMORY = 160 << 20
_SURVIVAL = 5.0
_CODES = {"0": 0, "7": 7, "255": 255, "signal 15": 143, "signal 9": 137, "signal 11": 139}
_PROGRAMS = {"/data/no-such-program": 127, "/data/file": 126}
_WAYS = {
    "program": "the end of the program",
    "term": "SIGTERM",
    "kill": "SIGKILL of the supervisor",
    "keeper": "SIGKILL of the keeper",
}


def exit_codes(start: Start) -> list[str]:
    """What is wrong about exit codes: those of programs, of signals, and of what cannot start."""
    running = {end: start([], end) for end in _CODES}
    running |= {name: start([], argv=[name]) for name in _PROGRAMS}
    codes = {end: container.end().code for end, container in running.items()}
    wanted = {**_CODES, **_PROGRAMS}
    return [
        f"{end} becomes {code}, not {wanted[end]}"
        for end, code in codes.items()
        if code != wanted[end]
    ]


def start_limited(start: Start, word: str) -> dict[str, Container]:
    """Containers with limits, to be looked at later, since some take a while."""
    one = [("names", f"/{word}-one"), ("processors",), ("sleep", 1)]
    modest = Limits(memory=_MEMORY, seconds=60)
    running = {
        "hog": start([("memory", 2 * _MEMORY, 3, 10)], limits=Limits(memory=_MEMORY)),
        "modest": start([("memory", _MEMORY // 8, 2, 1)], limits=modest),
        "slow": start([("sleep", 8)], limits=Limits(seconds=1)),
        "one": start(one, limits=Limits(cpus=1)),
    }
    until(lambda: with_word(f"{word}-one"), 10)
    running["one"].quota = min(map(_quota, with_word(f"{word}-one")), default=float("inf"))
    return running


def limits(running: Mapping[str, Container]) -> list[str]:
    """Which limits do not hold, though one that is kept to does no harm."""
    ended = {name: container.end() for name, container in running.items()}
    told(ended["modest"])
    processors = told(ended["one"])[1]
    return [
        *([] if ended["hog"].code == 137 else ["memory is not limited"]),
        *([] if ended["slow"].code in (124, 137, 143) else ["time is not limited"]),
        *([] if min(processors, running["one"].quota) <= 1 else ["processors are not limited"]),
    ]


def no_survivors(start: Start, word: str) -> list[str]:
    """After which ends something of a container was alive, or its exit code wrong."""
    found = {name: _end(start, f"{word}-{way}", way) for way, name in _WAYS.items()}
    return [f"after {name}: {problem}" for name, problem in found.items() if problem]


def _end(start: Start, word: str, way: str) -> str:
    """End a container in one way; what was wrong about it."""
    tasks: list[Sequence[object]] = [("names", f"/{word}"), ("background",)]
    container = start(tasks if way == "program" else [*tasks, ("sleep", 600)], "7")
    if not container.wait_ready():
        raise Untold(f"a container did not start: {container.end().said}")
    if way != "program":
        if len(with_word(word)) < 3:
            raise Untold("what is started in the background is not seen from here")
        first = lineage.first_child(container.pid) if way == "keeper" else container.pid
        if not first:  # to kill 0 would be to kill ourselves
            raise Untold(f"its keeper is not seen from here: {container.end().said}")
        os.kill(first, signal.SIGTERM if way == "term" else signal.SIGKILL)
    code = container.end().code
    problem = _survivors(word)
    container.clean()
    wanted = {"program": 7, "term": 128 + signal.SIGTERM}.get(way, code)
    return problem or ("" if code == wanted else f"the exit code is {code}, not {wanted}")


def _survivors(word: str) -> str:
    """Which processes are still alive some time later; they are killed."""
    until(lambda: not with_word(word), _SURVIVAL)
    left = with_word(word)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return f"{len(left)} processes are still alive" if left else ""


def with_word(word: str) -> list[int]:
    """The processes that have a word among their arguments."""
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and word.encode() in _bytes(f"/proc/{name}/cmdline")
    ]


def _quota(pid: int) -> float:
    """How many processors' time the control groups of a process leave it (cgroup v2, cpu.max)."""
    lines = _bytes(f"/proc/{pid}/cgroup").decode().splitlines()
    group = next((line[3:] for line in lines if line.startswith("0::")), "/")
    quotas = [float("inf")]
    while group not in ("/", ""):
        allowed, _, period = _bytes(f"/sys/fs/cgroup{group}/cpu.max").decode().partition(" ")
        if allowed.isdigit():
            quotas.append(int(allowed) / int(period))
        group = os.path.dirname(group)
    return min(quotas)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
