"""Containers that stay: a home and an engine, and what to wait for."""

from __future__ import annotations

import socket
import uuid
from typing import Any

from tests.containers import PATIENCE, Home, Ran, Word, waiting


class Stay:
    """Starts containers with ``run -d``, and removes them all at the end."""

    def __init__(self, home: Home, engine: str) -> None:
        self.home = home
        self.engine = engine
        self.names: list[str] = []

    def call(self, *words: Word, **given: Any) -> Ran:
        """``cwl-userspace --engine ENGINE WORDS``."""
        return self.home.call("--engine", self.engine, *words, **given)

    def name(self) -> str:
        """A name that is used by nothing else, and forgotten at the end."""
        self.names.append(f"stay-{uuid.uuid4().hex[:8]}")
        return self.names[-1]

    def start(self, script: str, *options: Word) -> str:
        """A shell script in a detached container; its name."""
        name = self.name()
        ran = self.call("run", "-d", "--name", name, *options, "busybox", "sh", "-c", script)
        assert len(ran.text.strip()) == 64
        return name

    def exec(self, name: str, script: str, *options: Word, **given: Any) -> Ran:
        """A shell script in a container that runs."""
        return self.call("exec", *options, name, "sh", "-c", script, **given)

    def status(self, name: str) -> str:
        """What ``status`` says of a container, its name left out."""
        return self.call("status", name).text.strip().removeprefix(f"{name}: ")

    def log_has(self, name: str, text: str) -> bool:
        """True as soon as something is in a container's log."""
        return any(text.encode() in self.call("logs", name).out for _ in waiting(PATIENCE))

    def close(self) -> None:
        self.home.call("rm", "-f", *self.names)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def asked(port: int, said: bytes) -> bytes:
    """What a server answers that may be only starting; nothing if none does."""
    for _ in waiting(PATIENCE):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                while data := connection.recv(1 << 16):
                    answer += data
                if answer:
                    return answer
        except OSError:
            continue
    return b""
