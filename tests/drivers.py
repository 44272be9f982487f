"""A driver like NVIDIA's, as far as a container sees one: files of its names, made here.

The libraries and programs are real ones, made of C. The nodes are regular files in the tree, which
is all that finding them needs; `in_its_place` shows the tree to a command as if it were the
host's, in a mount name space, and there the nodes are real devices of another kind.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.dynamic import compiled

VERSION = 12040
LIBRARIES = (
    "libcuda.so.1",
    "libnvidia-ml.so.1",
    "libnvidia-ptxjitcompiler.so.1",
    "libnvidia-nvvm.so.4",
    "libnvidia-compiler.so.550.54.14",
    "libnvidia-encode.so.1",
    "libnvidia-opticalflow.so.1",
    "libunrelated.so.1",
)
BUSES = ("0000:3b:00.0", "0000:af:00.0", "0000:d8:00.0")
# The order of the places on the bus is not that of the nodes, as on real hosts.
MINORS = (0, 2, 1)
UUIDS = tuple(f"GPU-{letter * 8}-1111-2222-3333-444444444444" for letter in "abc")
NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
SMI = r"""
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    if (argc > 1) {
        puts("<log><cuda_version>12.4</cuda_version><attached_gpus>3</attached_gpus></log>");
        return 0;
    }
    void *ml = dlopen("libnvidia-ml.so.1", RTLD_NOW), *cuda = dlopen("libcuda.so", RTLD_NOW);
    if (!ml || !cuda) { fprintf(stderr, "%s\n", dlerror()); return 9; }
    int (*version)(void) = dlsym(cuda, "driver_version");
    printf("driver %d\n", version());
    return 0;
}
"""


class FakeDriver:
    """A tree with what the driver puts on a host: libraries known to its ld.so.cache alone."""

    def __init__(self, place: Path) -> None:
        self.root = place / "host"
        self.libraries = self.root / "opt/driver/lib64"
        self.programs = self.root / "usr/bin"
        for directory in (self.libraries, self.programs, self.root / "etc", self.root / "dev"):
            directory.mkdir(parents=True)
        source = f"int driver_version(void) {{ return {VERSION}; }}\n"
        for soname in LIBRARIES:
            real = soname.partition(".so.")[0] + ".so.550.54.14"
            compiled(self.libraries, real, source, "-shared", f"-Wl,-soname,{soname}")
            (self.libraries / f"{real}.c").unlink()
        compiled(self.programs, "nvidia-smi", SMI)
        (self.programs / "nvidia-debugdump").write_text("#!/bin/sh\n")
        (self.programs / "nvidia-debugdump").chmod(0o755)
        (self.root / "etc/ld.so.conf").write_text("/opt/driver/lib64\n")
        self.cache()
        for node in (*NODES, *(f"nvidia{minor}" for minor in MINORS)):
            (self.root / "dev" / node).touch()
        for bus, minor, uuid in zip(BUSES, MINORS, UUIDS, strict=True):
            about = self.root / "proc/driver/nvidia/gpus" / bus
            about.mkdir(parents=True)
            text = f"Model: \t\t Fake\nGPU UUID:   \t {uuid}\nDevice Minor: \t {minor}\n"
            (about / "information").write_text(text)

    def cache(self) -> None:
        """Have the real ldconfig make the tree's cache, and the links that it makes as well."""
        command = ["unshare", "--user", "--map-root-user", "/sbin/ldconfig", "-r", str(self.root)]
        subprocess.run(command, check=True)

    def in_its_place(
        self, command: Sequence[str | bytes], environment: Mapping[str, str], cwd: Path
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command on this host as if it had the driver; node 0 is /dev/zero, others null."""
        place = self.root.parent
        names = [*NODES, *(f"nvidia{minor}" for minor in MINORS)]
        copied = "null zero full random urandom tty ptmx"
        script = f"""
            set -e
            mkdir -p '{place}/dev'
            mount -t tmpfs -o mode=0755 x '{place}/dev'
            cd '{place}/dev'
            for name in {copied}; do touch $name; mount --bind /dev/$name $name; done
            for name in {" ".join(names)}; do touch $name; mount --bind /dev/null $name; done
            umount nvidia0; mount --bind /dev/zero nvidia0
            ln -s /proc/self/fd fd; mkdir pts shm; chmod 1777 shm
            mount --rbind /dev/pts pts
            mount --rbind '{place}/dev' /dev
            mount -t tmpfs x /proc/driver
            cp -r '{self.root}/proc/driver/nvidia' /proc/driver/
            mkdir -p '{place}/opt'
            mount --rbind '{self.root}/opt' /opt
            mount --bind '{self.root}/etc/ld.so.cache' /etc/ld.so.cache
            cd '{cwd}'
            exec "$@"
        """
        path = f"{self.programs}:{environment['PATH']}"
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return subprocess.run(
            ["unshare", *user, "--mount", "sh", "-c", script, "sh"]
            + [os.fsdecode(word) for word in command],
            env={**environment, "PATH": path},
            capture_output=True,
            timeout=100,
        )
