"""Ports of a container: its network is the host's, so a port inside is that port outside.

Where another number is asked for, a process beside the supervisor passes connections on. It has
the sockets that listen before anything starts, so that a port that is taken is an error at once.
"""

from __future__ import annotations

import errno
import os

from cwl_userspace.errors import UsageError, UserspaceError
from cwl_userspace.kernel import signals
from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

_CHUNK = 1 << 16
_HIGHEST = 65535
_HINT = "expected [[ADDRESS:]HOST:]CONTAINER[/tcp], each a port or a range such as 8000-8010"


class Port:
    """A port of the container, and where it is to be reached outside; 0.0.0.0 is everywhere."""

    __slots__ = ("address", "inside", "outside", "protocol")

    def __init__(self, outside: int, inside: int, protocol: str, address: str = "") -> None:
        self.address = address or "0.0.0.0"
        self.outside = outside
        self.inside = inside
        self.protocol = protocol

    @property
    def passed_on(self) -> bool:
        """True if connections have to be passed on to another number."""
        return self.outside != self.inside

    def __str__(self) -> str:
        return f"{self.address}:{self.outside}->{self.inside}/{self.protocol}"


def parse(text: str, option: str) -> list[Port]:
    """The ports that an option names; raise UsageError."""
    rest, slash, protocol = text.partition("/")
    address = ""
    if rest.startswith("["):
        address, _, rest = rest[1:].partition("]:")
    parts = rest.split(":")
    if len(parts) == 3 and not address:
        address = parts.pop(0)
    if len(parts) > 2 or (slash and protocol not in ("tcp", "udp")):
        raise UsageError(f"{option} is {text!r}", _HINT)
    inside = _range(parts[-1], text, option)
    outside = _range(parts[0], text, option) if len(parts) == 2 and parts[0] else inside
    if len(inside) != len(outside):
        raise UsageError(f"{option} {text!r} has ranges of different lengths", _HINT)
    protocol = protocol or "tcp"
    found = [Port(*pair, protocol, address) for pair in zip(outside, inside, strict=True)]
    if protocol != "tcp" and any(port.passed_on for port in found):
        raise UsageError(
            f"{option} {text!r}: only connections of TCP can be passed on to another port",
            "give the same port twice",
        )
    return found


def _range(text: str, whole: str, option: str) -> range:
    first, dash, last = text.partition("-")
    if not _is_number(first) or (dash and not _is_number(last)):
        raise UsageError(f"{option} is {whole!r}", _HINT)
    found = range(int(first), int(last or first) + 1)
    if not found or found[0] < 1 or found[-1] > _HIGHEST:
        raise UsageError(f"{option} is {whole!r}", _HINT)
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_HIGHEST))


def start(ports: Sequence[Port]) -> int:
    """Pass connections on in a child, which ends with this process; its id, or 0 for none.

    Raise UserspaceError for a port that cannot be had.
    """
    wanted = [port for port in ports if port.passed_on]
    if not wanted:
        return 0
    sockets = [_listening(port) for port in wanted]
    parent = os.getpid()
    child = os.fork()
    if child:
        for one in sockets:
            one.close()
        return child
    try:
        sys_.set_pdeathsig(signals.SIGKILL)
        if os.getppid() == parent:
            _close_all_but([one.fileno() for one in sockets])
            _serve(list(zip(sockets, wanted, strict=True)))
    finally:
        os._exit(0)


def stop(child: int) -> None:
    """End what ``start`` has started."""
    if child:
        os.kill(child, signals.SIGKILL)
        os.waitpid(child, 0)


def _listening(port: Port) -> socket.socket:
    import socket

    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    try:
        return socket.create_server((port.address, port.outside), family=family)
    except OSError as error:  # whose own text repeats the address
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UserspaceError(
            f"port {port.outside} of {port.address} cannot be had: {reason}",
            "choose one of 1024 or more"
            if error.errno == errno.EACCES
            else "choose another port, or another address of this host",
        ) from None


def _serve(pairs: Sequence[tuple[socket.socket, Port]]) -> None:
    import threading

    threads = [threading.Thread(target=_accept, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _accept(listening: socket.socket, port: Port) -> None:
    import socket
    import threading

    while True:
        outer, _ = listening.accept()
        try:
            inner = socket.create_connection(("localhost", port.inside))
        except OSError:  # nobody listens there, or not yet
            outer.close()
            continue
        for pair in ((outer, inner), (inner, outer)):
            threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    import socket

    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            one.close()


def _close_all_but(kept: Sequence[int]) -> None:
    """Hold no pipe open that others wait for the end of."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 1 << 16)
