"""Executables named ``docker`` and ``podman``, which ``cwl-userspace shim`` makes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.containers import PATIENCE, Home, Ran, Word


class Shims:
    """The executables in a directory of their own, with a home and an engine to run with."""

    def __init__(self, home: Home, place: Path, engine: str = "auto") -> None:
        self.place = place
        self.home = home
        self.environment = {**home.environment, "CWL_USERSPACE_ENGINE": engine}
        made = home.call("shim", "docker", "podman", "--dir", place)
        assert (made.code, made.err) == (0, b""), made

    def docker(
        self,
        *words: Word,
        stdin: int | bytes = b"",
        name: str = "docker",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Ran:
        """Run one command line of docker's to its end."""
        done = subprocess.run(
            [self.place / name, *words],
            env=self.environment if environment is None else dict(environment),
            cwd=cwd,
            input=stdin if isinstance(stdin, bytes) else None,
            stdin=None if isinstance(stdin, bytes) else stdin,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def podman(self, *words: Word) -> Ran:
        """Run one command line of podman's to its end."""
        return self.docker(*words, name="podman")

    def start(self, *words: Word) -> subprocess.Popen[bytes]:
        """A docker that goes on meanwhile, its output in a pipe."""
        return subprocess.Popen(
            [self.place / "docker", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def start_ready(self, script: str, *options: Word) -> subprocess.Popen[bytes]:
        """A shell script in a container, once it has printed a line."""
        process = self.start("run", *options, "busybox", "sh", "-c", script)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", process.poll()
        return process
