"""Executables named ``udocker`` and ``dx-docker``, and a registry that has what people pull."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cwl_userspace.oci import Platform
from tests.containers import PASSWD, PATIENCE, Home, Ran, Tar, Word, busybox
from tests.fake_registry import FakeRegistry

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JORGE = "jorge:x:1000:1001:Jorge:/home/jorge:/bin/sh\n"
# What stands in the place of yum: root installs a program, which belongs to another.
_YUM = """\
#!/bin/sh
[ "$(id -u)" = 0 ] || { echo "yum: not root" >&2; exit 1; }
[ "$1" = install ] && shift
[ "$1" = -y ] && shift
for package in "$@"; do
    printf '#!/bin/sh\\necho "$0 runs"\\n' > /bin/$package && chmod 755 /bin/$package || exit 1
    chown 1000:1001 /bin/$package || exit 1
done
"""


def fedora() -> bytes:
    """A small system with the files that the examples look at."""
    tar = Tar()
    for name in ("bin", "etc", "home", "home/jorge", "var", "var/run", "proc", "dev", "sys"):
        tar.directory(name)
    tar.directory("tmp", 0o1777).directory("root", 0o700)
    tar.file("bin/busybox", busybox(), 0o755)
    for name in "sh cat id ls pwd env echo chmod chown cp mkdir sleep test uname wc".split():
        tar.link(f"bin/{name}", "busybox")
    tar.file("bin/bash", b'#!/bin/sh\nexec sh "$@"\n', 0o755)
    tar.file("bin/yum", _YUM.encode(), 0o755)
    tar.file("etc/redhat-release", b"Fedora release 24 (Twenty Four)\n")
    tar.file("etc/hosts").file("etc/passwd", (PASSWD + JORGE).encode())
    tar.file("etc/group", b"root:x:0:\njorge:x:1001:\n")
    return tar.bytes()


def stock(registry: FakeRegistry) -> None:
    """Have the registry serve what the examples pull, fedora for two machines."""
    layer = fedora()
    machine = Platform.host().architecture
    about = {"architecture": machine, "config": {"Cmd": ["/bin/sh"]}}
    here = registry.add("library/fedora", "here", [layer], config=about).manifest
    there = registry.add(
        "library/fedora", "there", [layer], config={**about, "architecture": "arm64"}
    ).manifest
    registry.index("library/fedora", "latest", {f"linux/{machine}": here, "linux/arm64": there})
    for name in ("library/busybox", "library/ubuntu", "indigodatacloud/disvis", "centos/centos8"):
        registry.add(name, "latest", [layer], config=about)


class Udocker:
    """The executables, with a home of their own, and Docker Hub's images at a registry here."""

    def __init__(self, place: Path, registry: FakeRegistry, engine: str = "auto") -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.home = Home(place)
        self.place = place
        self.work = place / "work"
        self.work.mkdir()
        settings = {"registries": {"docker.io": {"mirrors": [registry.url]}}}
        (place / "config.yml").write_text(json.dumps(settings))
        self.environment = {
            **self.home.environment,
            "CWL_USERSPACE_CONFIG": str(place / "config.yml"),
            "CWL_USERSPACE_ENGINE": engine,
            "DOCKER_CONFIG": str(place / "docker"),
        }
        made = self.home.call("shim", "udocker", "dx-docker", "--dir", place / "shims")
        assert made.code == 0, made

    def __call__(self, *words: Word, name: str = "udocker", **given: object) -> Ran:
        """Run one command line to its end."""
        return self.execute([self.place / "shims" / name, *words], **given)  # type: ignore[arg-type]

    def sh(self, line: str, **given: object) -> Ran:
        """Have a shell run a line, as people type it, with the executables first on PATH."""
        return self.execute(["sh", "-c", line], **given)  # type: ignore[arg-type]

    def execute(
        self,
        words: list[Word],
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run a program in the working directory of these tests."""
        path = f"{self.place / 'shims'}:{self.environment['PATH']}"
        done = subprocess.run(
            [os.fsencode(word) for word in words],
            env={**self.environment, "PATH": path, **(environment or {})},
            cwd=self.work,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def called(
        self, script: str, *options: str, by: str = "", **environment: str
    ) -> subprocess.Popen[bytes]:
        """A program that has ``udocker run`` run a shell script, and waits; its output in a pipe.

        ``by`` is a program that executes udocker.
        """
        words = [by] if by else []
        words += [str(self.place / "shims" / "udocker"), "run", "--rm", *options]
        wait = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
        return subprocess.Popen(
            [sys.executable, "-c", wait, *words, "fedora", "sh", "-c", script],
            env={**self.environment, **environment},
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def create(self, name: str, image: str = "fedora") -> str:
        """The id of a new container."""
        return self("create", f"--name={name}", image).text.strip()
