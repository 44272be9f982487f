"""The program of a trial's container: tries what it is told to, and prints what came of it.

Its arguments are TASKS and END: TASKS is a Python literal, a list of words each with its
arguments, and END is an exit code or ``signal N``. Without arguments it prints which files of
this host an interpreter needs to execute it, and nothing but those is in the container.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys
import time

from cwl_userspace.trial.changes import changes, names, text, with_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_signal = __import__("_signal")  # the module signal would bring a dozen others along
_TIOCGWINSZ = 0x5413
_PAGE = 4096
_WAIT = 3.0


def needs() -> dict[str, Any]:
    """The files of modules, and what the kernel and the loader have mapped for this process."""
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as table:
        mapped = {line.rstrip("\n").split(None, 5)[5] for line in table if "/" in line}
    return {
        "executable": os.readlink("/proc/self/exe"),
        "home": f"{sys.base_prefix}:{sys.base_exec_prefix}",
        "files": sorted({*mapped, *filter(None, modules)}),
    }


def environment() -> list[str]:
    """The variables that the kernel gave this program, in their order."""
    return text("/proc/self/environ").split("\0")[:-1]


def secrets(places: Sequence[str], start: str, end: str, owner: int) -> list[str]:
    """By which routes the host's secret files can be read, if any; ``owner`` has them open."""
    content = start + end
    routes = ["/escape", "/up", *places, *(f"/../../../../../../../..{p}" for p in places)]
    for pid in ("self", str(os.getppid()), "1", str(owner)):
        routes += [f"/proc/{pid}/{way}{place}" for way in ("root", "root/..") for place in places]
        routes += [f"/proc/{pid}/cwd/{os.path.basename(place)}" for place in places]
        routes += [f"/proc/{pid}/fd/{fd}" for fd in names(f"/proc/{pid}/fd")]
    return [route for route in routes if os.path.isfile(route) and content in text(route)]


def devices() -> list[str]:
    """Every device below /dev that is not a terminal's."""
    found = []
    for top, directories, files in os.walk("/dev"):
        directories[:] = [name for name in directories if name != "pts"]
        paths = [os.path.join(top, name) for name in files]
        found += [p for p in paths if not os.path.islink(p) and not os.path.isfile(p)]
    return sorted(found)


def processes(start: str, end: str) -> dict[str, Any]:
    """Whether /proc shows this process, and which show the word whose two parts are given."""
    word = start + end
    seen = _processes()
    shown = [p for p in seen if word in text(f"/proc/{p}/cmdline")]
    told = [p for p in seen if word in text(f"/proc/{p}/environ")]
    return {"self": str(os.getpid()) in seen, "shown": shown, "told": told}


def strike(pid: int) -> str:
    """Whether a process of the host can be signalled: harmlessly, its number being known."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "yes" if pid != os.getpid() else "it is this process"


def descriptors() -> list[int]:
    """Which descriptors are open, but for the one that looks."""
    # That one is closed again by the time that it is looked for.
    return [int(name) for name in names("/proc/self/fd") if os.path.exists(f"/dev/fd/{name}")]


def network(port: int) -> dict[str, bool]:
    """Whether the host's listener answers, and whether loopback works within the container."""
    return {"host": _answers(port), "loopback": _loopback()}


def emulation() -> dict[str, str]:
    """What root must be able to do, and for each what went wrong, if anything."""
    made = "/etc/trial-made"

    def write() -> None:
        fd = os.open(made, os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"made")
        os.close(fd)
        os.rename(made, f"{made}-too")
        os.rename(f"{made}-too", made)

    steps: list[tuple[str, Callable[[], Any]]] = [
        ("uid 0", lambda: _expect(os.getuid() == os.geteuid() == os.getgid() == 0)),
        ("write to /etc", write),
        ("remove a file of the image", lambda: os.unlink("/data/other")),
        ("chown to 12:34", lambda: os.chown(made, 12, 34)),
        ("lchown of a link", lambda: os.lchown("/data/link", 12, 34)),
        ("fchown", lambda: with_file(made, lambda fd: os.fchown(fd, 12, 34))),
        ("chmod to setuid", lambda: os.chmod(made, 0o4755)),
        ("mknod", lambda: os.mknod("/tmp/device", 0o20600, os.makedev(1, 3))),
        ("setgroups", lambda: os.setgroups([12, 34])),
        ("setresgid", lambda: os.setresgid(34, 34, 34)),
        ("setresuid", lambda: os.setresuid(12, 12, 12)),
    ]
    return {word: problem for word, step in steps if (problem := _problem(step))}


def terminal() -> dict[str, Any]:
    """Whether the standard streams are a terminal, its size, and whether it controls."""
    found: dict[str, Any] = {"streams": [os.isatty(fd) for fd in (0, 1, 2)], "size": []}
    if os.isatty(1):
        size = fcntl.ioctl(1, _TIOCGWINSZ, bytes(8))
        found["size"] = [size[0] + 256 * size[1], size[2] + 256 * size[3]]
    found["controls"] = not _problem(lambda: with_file("/dev/tty", lambda fd: None))
    return found


def memory(total: int, children: int, seconds: float) -> bool:
    """Use so many bytes, shared out to so many processes, for some time."""
    pids = []
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            held = bytearray(total // children)
            held[::_PAGE] = b"x" * len(held[::_PAGE])
            time.sleep(seconds)
            os._exit(len(held) & 0)
        pids.append(pid)
    ended = [os.waitpid(pid, 0)[1] for pid in pids]
    if any(os.WIFSIGNALED(status) for status in ended):
        # A part was killed and the rest was not: a shell would give its code, as we do.
        os._exit(128 + max(os.WTERMSIG(status) for status in ended if os.WIFSIGNALED(status)))
    return True


def processors() -> int:
    """How many processors this may use."""
    return len(os.sched_getaffinity(0))


def sleep(seconds: float) -> bool:
    """Do nothing for some time."""
    time.sleep(seconds)
    return True


def background() -> bool:
    """Start processes that heed no signal: a child, and a daemon whose parent has ended."""
    read_end, write_end = os.pipe()
    for daemon in (False, True):
        if os.fork() == 0:
            os.setsid()
            if daemon and os.fork():
                os._exit(0)
            for number in (1, 2, 15):
                _signal.signal(number, _signal.SIG_IGN)
            os.write(write_end, b".")
            time.sleep(600)
            os._exit(0)
    ready = b""
    while len(ready) < 2:
        ready += os.read(read_end, 2)
    os.write(1, b"ready\n")
    return True


def _processes() -> list[str]:
    return [name for name in names("/proc") if name.isdigit()]


def _answers(port: int) -> bool:
    """True if the host's listener can be connected to and says its word."""
    try:
        link = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        link.settimeout(_WAIT)
        link.connect(("127.0.0.1", port))
        return link.recv(16) == b"here"
    except OSError:
        return False


def _loopback() -> bool:
    try:
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        link = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        link.settimeout(_WAIT)
        link.connect(listener.getsockname())
        return True
    except OSError:
        return False


def _expect(true: bool) -> None:
    if not true:
        raise OSError(0, f"it is {os.getuid()}:{os.getgid()}")


def _problem(step: Callable[[], object]) -> str:
    try:
        step()
    except OSError as error:
        return error.strerror or "?"
    return ""


TASKS: dict[str, Callable[..., Any]] = {
    "background": background,
    "changes": changes,
    "descriptors": descriptors,
    "devices": devices,
    "emulation": emulation,
    "environment": environment,
    "memory": memory,
    "names": names,
    "network": network,
    "processes": processes,
    "processors": processors,
    "secrets": secrets,
    "sleep": sleep,
    "strike": strike,
    "terminal": terminal,
}


def main() -> None:
    """Do the tasks in order, print their results as one Python literal, a list, and end as told."""
    if len(sys.argv) == 1:
        os.write(1, repr(needs()).encode("utf-8", "surrogateescape"))
        return
    tasks: list[list[Any]] = eval(sys.argv[1], {"__builtins__": {}})
    found = [TASKS[word](*arguments) for word, *arguments in tasks]
    os.write(1, f"found {found!r}\n".encode("utf-8", "surrogateescape"))
    if sys.argv[2].startswith("signal "):
        os.kill(os.getpid(), int(sys.argv[2].removeprefix("signal ")))
    os._exit(int(sys.argv[2]))
