"""Run a container of a trial as the command line would, in a child whose output is kept."""

from __future__ import annotations

import ast
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cwl_userspace import hostfacts, process
from cwl_userspace.errors import UserspaceError
from cwl_userspace.plan import plan
from cwl_userspace.private import private_directory, remove_private_directory
from cwl_userspace.spec import ImageConfig, RunRequest
from cwl_userspace.trial.root import Root

if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine
    from cwl_userspace.spec import ContainerSpec

# How long one container may take, in seconds; many engines may be tried at once.
PATIENCE = 30.0
# How long a keeper may take to remove what is its run's, in seconds.
_KEEPER = 2.0
_PAUSE = 0.01
_READY = b"ready\n"


class Untold(Exception):
    """A container that did not come to tell what it found."""


class Ended:
    """How a container ended: its exit code, what its program found, and what else was said.

    ``found`` is None where the program did not come to tell.
    """

    __slots__ = ("code", "found", "said", "seconds")

    def __init__(self, code: int, printed: bytes, seconds: float) -> None:
        self.code = code
        self.seconds = seconds
        self.found: list[Any] | None = None
        said = []
        for line in printed.decode("utf-8", "surrogateescape").splitlines():
            if line.startswith("found "):
                self.found = ast.literal_eval(line.removeprefix("found "))
            else:
                said.append(line)
        self.said = "; ".join(said)


def told(ended: Ended, end: str = "0") -> list[Any]:
    """What a container found; raise Untold if it did not end as its program was to."""
    if ended.found is None or (end.isdigit() and ended.code != int(end)):
        said = ended.said
        if "Traceback" in said:  # its last line says most
            said = said.rpartition("; ")[2]
        raise Untold(f"a container ended with {ended.code}" + (f": {said}" if said else ""))
    return ended.found


def specify(root: Root, tasks: Sequence[Sequence[object]], end: str, **asked: Any) -> ContainerSpec:
    """The container that does the tasks; ``asked`` is what a RunRequest takes."""
    argv = asked.pop("argv", [*root.command, repr([list(task) for task in tasks]), end])
    environment = [*root.environment.items(), *asked.pop("environment", ())]
    request = RunRequest(argv=argv, environment=environment, **asked)
    host = hostfacts.host(os.environ, request.network_off)
    return plan(request, ImageConfig(), root.path, hostfacts.accounts(root.path), host)


class Container:
    """One run, under a supervisor of its own; ``output`` is a file for what it prints."""

    def __init__(
        self, engine: Engine, spec: ContainerSpec, output: str, variables: Mapping[str, str]
    ) -> None:
        self._engine = engine
        self._spec = spec
        self._output = output
        self._variables = variables
        self._started = time.monotonic()
        self._identifier = os.urandom(32).hex()
        self._private = private_directory(os.environ, self._identifier, large=engine.copies(spec))
        self.pid = 0
        self.environment = spec.environment
        self.quota = float("inf")  # how many processors' time it was seen to have

    def start(self, size: tuple[int, int] | None = None) -> Container:
        """Fork the supervisor; with ``size`` its streams are a terminal of that size."""
        master, slave = _terminal(size) if size else (-1, -1)
        self._master = master
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 125
            try:
                self._take_streams(slave)
                code = self._run()
            except UserspaceError as error:
                os.write(2, str(error).encode("utf-8", "surrogateescape"))
                code = error.exit_code
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
            finally:
                os._exit(code)
        if slave >= 0:
            os.close(slave)
        return self

    def _take_streams(self, slave: int) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if slave >= 0:
            for fd in (0, 1, 2):
                os.dup2(slave, fd)
            return
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        output = os.open(self._output, flags, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)

    def _run(self) -> int:
        os.environ.update(self._variables)
        launch = self._engine.launch(self._spec, self._private)
        try:
            return process.run(launch, caller=os.getppid())
        finally:
            remove_private_directory(self._private)

    def wait_ready(self) -> bool:
        """True once the program has said that it is ready; False if it ended before."""
        return until(lambda: _READY in self._printed() or self._gone()) and (
            _READY in self._printed()
        )

    def _gone(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> Ended:
        """Wait for the end; a supervisor that takes too long is killed, and counts as -9."""
        printed = b""
        if self._master >= 0:
            printed = _drain(self._master, time.monotonic() + PATIENCE)
        if not until(self._gone):
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        ended = time.monotonic() - self._started
        if self._master < 0:
            printed = self._printed()
        return Ended(os.waitstatus_to_exitcode(status), printed, ended)

    def clean(self) -> None:
        """Remove what a supervisor that was killed could not; its keeper does, if there is one."""
        if not until(lambda: not os.path.lexists(self._private), _KEEPER):
            remove_private_directory(self._private)

    def _printed(self) -> bytes:
        try:
            with open(self._output, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""


def until(true: Callable[[], object], patience: float = PATIENCE) -> bool:
    """Wait for something to be true; whether it came to be, within a number of seconds."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def _terminal(size: tuple[int, int]) -> tuple[int, int]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    return master, slave


def _drain(master: int, deadline: float) -> bytes:
    """All that is printed on a terminal until nobody has it open."""
    poll = select.poll()
    poll.register(master, select.POLLIN)
    printed = b""
    while time.monotonic() < deadline:
        if not poll.poll(200):
            continue
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # EIO: the other side is closed everywhere
            data = b""
        if not data:
            break
        printed += data
    os.close(master)
    return printed
