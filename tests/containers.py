"""Real images of a static busybox, the real program to run them with, and what to look at after."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cwl_userspace.store.store import MARK
from tests.images import Layout, config_json, plain, sha256

Word = str | bytes | Path
# Those that every test runs with (chroot is for real root alone), and those that only the tests
# marked every_engine run with, unless pytest is given --engines.
_ROOTS = ("chroot",) if os.geteuid() == 0 else ()
ENGINES = ("userns", "proot", *_ROOTS)
OTHER_ENGINES = ("bwrap", "runc", "crun", "charliecloud")
# crun does not start where control groups of both versions are mounted: it is shown none.
_HYBRID_GROUPS = os.path.ismount("/sys/fs/cgroup/unified")
_WITHOUT_GROUPS = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
_PLAIN_USER = ("setpriv", "--inh-caps=-all", "--ambient-caps=-all")
_NEW_USER = ("--user", "--map-current-user", "--keep-caps")
PATIENCE = 45.0
PASSWD = "root:x:0:0:root:/root:/bin/sh\ntool:x:1234:2345:a tool:/home/tool:/bin/sh\n"
GROUP = "root:x:0:\ntoolgroup:x:2345:\nother:x:777:\n"


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """What a command that succeeded, and complained of nothing, printed."""
        assert (self.code, self.err) == (0, b""), self
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def complaint(self) -> str:
        """The one line, with a hint, of a command that failed."""
        line = self.err.decode("utf-8", "surrogateescape")
        assert line.startswith("cwl-userspace: ") and "; " in line, self
        assert line.count("\n") == 1 and line.endswith("\n"), self
        return line


class Tar:
    """A layer that is written member by member."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._bytes, mode="w")

    def directory(self, name: str, mode: int = 0o755) -> Tar:
        return self._add(name, tarfile.DIRTYPE, mode)

    def link(self, name: str, target: str) -> Tar:
        return self._add(name, tarfile.SYMTYPE, 0o777, target=target)

    def file(self, name: str, data: bytes = b"", mode: int = 0o644) -> Tar:
        return self._add(name, tarfile.REGTYPE, mode, data)

    def _add(self, name: str, kind: bytes, mode: int, data: bytes = b"", target: str = "") -> Tar:
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.linkname = kind, mode, target
        member.size, member.mtime = len(data), 1_000_000_000
        self._tar.addfile(member, io.BytesIO(data))
        return self

    def bytes(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()


def busybox() -> bytes:
    """A static program that is many."""
    found = shutil.which("busybox")
    assert found, "these tests need busybox-static"
    return Path(found).read_bytes()


def shell_layer() -> Tar:
    """A small system: busybox under its names, accounts, and a place for what tests add."""
    tar = Tar()
    for name in ("bin", "etc", "home", "home/tool", "var", "data", "dev", "proc"):
        tar.directory(name)
    tar.directory("tmp", 0o1777).directory("root", 0o700).directory("var/tmp", 0o1777)
    tar.file("bin/busybox", busybox(), 0o755)
    names = subprocess.check_output(["busybox", "--list"], text=True).split()
    for name in sorted({*names} - {"busybox"}):
        tar.link(f"bin/{name}", "busybox")
    tar.file("etc/passwd", PASSWD.encode()).file("etc/group", GROUP.encode())
    tar.file("bin/not-executable", b"#!/bin/sh\n", 0o644)
    tar.file("bin/no-interpreter", b"#!/no/such/program\n", 0o755)
    return tar


def oci_layout(place: Path, name: str, layer: bytes, config: Mapping[str, Any]) -> Path:
    """An OCI image layout with one image, as the image specification has it."""
    layout = Layout()
    image = image_config(layer, config)
    layout.entry(layout.manifest([layer], plain, config=image), name)
    return layout.directory(place)


def docker_archive(place: Path, name: str, layer: bytes, config: Mapping[str, Any]) -> Path:
    """What ``docker save`` writes for one image."""
    image = image_config(layer, config)
    own = f"{hashlib.sha256(image).hexdigest()}.json"
    manifest = [{"Config": own, "RepoTags": [name], "Layers": ["one/layer.tar"]}]
    tar = Tar().file(own, image).file("one/layer.tar", layer)
    place.write_bytes(tar.file("manifest.json", json.dumps(manifest).encode()).bytes())
    return place


def image_config(layer: bytes, config: Mapping[str, Any]) -> bytes:
    """The image configuration of a one-layer image for this machine."""
    return json.dumps({**config_json([sha256(layer)]), "config": dict(config)}).encode()


def counting() -> dict[str, str]:
    """The variables by which coverage follows into a process; none in an ordinary run."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


# For what looks at all its variables, or may write nothing: coverage is not started, and sets none.
UNCOUNTED = {"COVERAGE_PROCESS_CONFIG": ""}


class Home:
    """A user's directories, private to the tests, and the images in their store."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.prefix: tuple[str, ...] = ()
        for name in ("home", "tmp", "store", "cache", "config", "state"):
            (place / name).mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place / "home"),
            "USER": "somebody",
            "TMPDIR": str(place / "tmp"),
            "CWL_USERSPACE_HOME": str(place / "store"),
            "XDG_CACHE_HOME": str(place / "cache"),
            "XDG_CONFIG_HOME": str(place / "config"),
            "XDG_STATE_HOME": str(place / "state"),
            **counting(),
        }

    def command(self, *words: Word) -> list[bytes]:
        """The installed program with these words."""
        program = Path(sys.executable).with_name("cwl-userspace")
        assert program.exists(), "install the package first"
        return [os.fsencode(word) for word in (*self.prefix, program, *words)]

    def call(
        self,
        *words: Word,
        stdin: int | bytes = b"",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Ran:
        """Run one command to its end."""
        done = subprocess.run(
            self.command(*words),
            env={**self.environment, **(environment or {})},
            cwd=cwd,
            input=stdin if isinstance(stdin, bytes) else None,
            stdin=None if isinstance(stdin, bytes) else stdin,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def add(self, name: str, layer: bytes, config: Mapping[str, Any] | None = None) -> str:
        """Have an image in the store: imported, or loaded if it says how it is to be run."""
        aside = self.place / f"image-{uuid.uuid4().hex}"
        if config is None:
            aside.write_bytes(layer)
            ran = self.call("import", aside, name)
        else:
            ran = self.call("load", "-i", oci_layout(aside, name, layer, config))
        assert ran.code == 0, ran
        # Tests look for what changes in a store, and the mark of a tree goes by itself.
        assert settled(self.place / "store")
        return name

    def tree(self, image: str) -> Path:
        """The stored tree of an image."""
        return Path(self.call("inspect", "-p", image).text.strip())

    @property
    def leftovers(self) -> list[str]:
        """What runs have left in the temporary directory and among the running ones.

        The temporary directories that cwltool leaves have names of eight characters.
        """
        runs = self.place / "state" / "cwl-userspace" / "runs"
        kept = list(runs.iterdir()) if runs.exists() else []
        found = [path.name for path in (*(self.place / "tmp").iterdir(), *kept)]
        return [name for name in found if len(name) != 8]


class Box:
    """A home and an engine to run its images with."""

    def __init__(self, home: Home, engine: str) -> None:
        self.home = home
        self.engine = engine
        if engine == "crun" and _HYBRID_GROUPS:
            self.home = copy.copy(home)
            self.home.prefix = without_groups()

    def words(self, *words: Word) -> tuple[Word, ...]:
        return ("--engine", self.engine, "run", *words)

    def run(self, *words: Word, **given: Any) -> Ran:
        """``cwl-userspace --engine ENGINE run WORDS``, to its end."""
        return self.home.call(*self.words(*words), **given)

    def sh(self, script: str, *options: Word, image: str = "busybox", **given: Any) -> Ran:
        """A shell script in a container."""
        return self.run(*options, image, "sh", "-c", script, **given)

    def start(self, *words: Word, **given: Any) -> subprocess.Popen[bytes]:
        """A run that goes on meanwhile, its output in a pipe; it leads a session of its own."""
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **given}
        given["env"] = {**self.home.environment, **given.pop("environment", {})}
        command = self.home.command(*self.words(*words))
        return subprocess.Popen(command, start_new_session=True, bufsize=0, **given)

    def start_sh(
        self, script: str, *options: Word, image: str = "busybox", **given: Any
    ) -> subprocess.Popen[bytes]:
        """A shell script in a container, once it has printed the line ``ready``."""
        process = self.start(*options, image, "sh", "-c", script, **given)
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n") and (byte := os.read(process.stdout.fileno(), 1)):
            line += byte
        assert line == b"ready\n", (line, process.poll())
        return process


def without_groups() -> tuple[str, ...]:
    """The words before a command that shows it no control groups, and changes nothing else."""
    user = () if os.geteuid() == 0 else _NEW_USER
    plain = () if os.geteuid() == 0 else _PLAIN_USER
    return ("unshare", *user, "--mount", "sh", "-c", _WITHOUT_GROUPS, "sh", *plain)


def marker() -> str:
    """A word that only one test's processes have, in their arguments or variables."""
    return f"marker-{uuid.uuid4().hex}"


def with_marker(word: str) -> list[int]:
    """All processes of this host, but for the ended ones, that have a word."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            said = [Path(f"/proc/{name}/{kind}").read_bytes() for kind in ("cmdline", "environ")]
        except OSError:
            continue
        if word.encode() in b"".join(said):
            found.append(int(name))
    return found


def all_gone(word: str, patience: float = 5.0) -> bool:
    """True as soon as no process has the word; after the patience all that have it are killed."""
    for _ in waiting(patience):
        if not with_marker(word):
            return True
    for pid in with_marker(word):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return False


def waiting(patience: float) -> Iterator[float]:
    """Now and then, until a time has passed."""
    end = time.monotonic() + patience
    while True:
        yield end - time.monotonic()
        if time.monotonic() > end:
            return
        time.sleep(0.05)


def marks(store: Path) -> list[Path]:
    """The marks of all trees of a store that may not be on disk yet."""
    return [path for path in (store / "trees").glob(f"*/{MARK}*") if path.is_symlink()]


def settled(store: Path) -> bool:
    """True as soon as all trees of a store are on disk."""
    return any(not marks(store) for _ in waiting(2 * PATIENCE))


def manifest(tree: Path) -> dict[str, tuple[object, ...]]:
    """Everything about a tree that a program could change: names, kinds, modes, contents, times."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(tree):
        for path in (directory, *(os.path.join(directory, n) for n in (*names, *files))):
            if path not in found:
                found[path] = _facts(path)
    return found


def _facts(path: str) -> tuple[object, ...]:
    what = os.lstat(path)
    content: object = None
    if stat.S_ISLNK(what.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(what.st_mode) and os.access(path, os.R_OK):
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    elif stat.S_ISDIR(what.st_mode) and os.access(path, os.R_OK):
        content = tuple(sorted(os.listdir(path)))
    attributes = () if stat.S_ISLNK(what.st_mode) else tuple(os.listxattr(path))
    owner = (what.st_uid, what.st_gid, what.st_nlink)
    return (what.st_mode, owner, what.st_mtime_ns, what.st_size, content, attributes)


def lines(output: bytes) -> Sequence[bytes]:
    """What was printed, cut at zero bytes."""
    return output.split(b"\0")[:-1]
