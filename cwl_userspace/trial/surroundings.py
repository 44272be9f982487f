"""What is around a trial's containers: sources to bind, and things of the host to be kept from.

There are two secret files, a process that has them open, knows a variable and answers on
127.0.0.1, and the tree that is the containers' root.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from cwl_userspace.image.confine import remove_tree
from cwl_userspace.private import private_directory
from cwl_userspace.trial import root

VARIABLE = "CWL_USERSPACE_TRIAL"
# The process of the host: its argument and its variable are the word, its input the listener.
_HOST_PROCESS = """
import _socket, os
listener = _socket.socket(fileno=0)
listener.settimeout(1)
parent = os.getppid()
while os.getppid() == parent:
    try:
        fd, _ = listener._accept()
    except OSError:
        continue
    link = _socket.socket(fileno=fd)
    try:
        link.send(b"here")
    except OSError:
        pass
    link.close()
"""


class Surroundings:
    """The places and processes of one trial."""

    __slots__ = ("outside", "pid", "place", "port", "root", "secrets", "word")

    def __init__(self, place: str, outside: str) -> None:
        self.place = place
        self.outside = outside
        self.word = f"trial-{os.urandom(12).hex()}"
        self.secrets = [f"{place}/secret", f"{outside}/secret"]
        self.pid = self.port = 0
        os.makedirs(outside, mode=0o700)
        for secret in self.secrets:
            _write(secret, self.word)
        for name in ("in", "out"):
            os.makedirs(f"{place}/{name}/inner", mode=0o755)
            _write(f"{place}/{name}/file", "of the host")
            _write(f"{place}/{name}/inner/file", "of the host, too")
            os.symlink("file", f"{place}/{name}/link")
        os.makedirs(f"{place}/tree")
        self.root = root.build(f"{place}/tree/rootfs", self.secrets[0])

    def start_process(self) -> None:
        """Start the process of the host, with the secrets open and the listener served."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        opened = [os.open(secret, os.O_RDONLY) for secret in self.secrets]
        actions: list[tuple[int, int, int]] = [
            (os.POSIX_SPAWN_DUP2, listener.fileno(), 0),
            *((os.POSIX_SPAWN_DUP2, fd, 20 + number) for number, fd in enumerate(opened)),
        ]
        command = [sys.executable, "-I", "-S", "-c", _HOST_PROCESS, self.word]
        self.pid = os.posix_spawn(
            sys.executable, command, {VARIABLE: self.word}, file_actions=actions
        )
        listener.close()
        for fd in opened:
            os.close(fd)

    def end_process(self) -> None:
        """End the process of the host."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    @property
    def alive(self) -> bool:
        """True while the process of the host lives."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


@contextmanager
def surroundings(place: str, environ: Mapping[str, str]) -> Iterator[Surroundings]:
    """Everything that a trial needs, below ``place``, which exists; all is gone afterwards."""
    outside = private_directory(environ, os.urandom(32).hex(), large=False)
    made = None
    try:
        made = Surroundings(place, outside)
        made.start_process()
        yield made
    finally:
        if made is not None:
            made.end_process()
        for path in (outside, *(f"{place}/{n}" for n in ("in", "out", "tree", "secret"))):
            if os.path.lexists(path):
                remove_tree(path)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
