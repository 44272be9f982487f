"""How each of ours and of the peers starts a command in a container of one image."""

from __future__ import annotations

import functools
import itertools
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from conformance.benchmarks.bench import IMAGE, Bench, ours, tree
from conformance.benchmarks.turns import Failed, timed

OURS, OURS_PROOT = "ours, userns", "ours, proot"
UDOCKER = "udocker, container made before"
# Stands in for the proot of udocker's own tools. That can say another kernel's version, as it is
# always told to; with Debian's 5.1, which cannot, no program of today's glibc starts.
_PROOT = """\
#!/bin/sh
for word do
    shift
    if [ "$word" = -k ]; then skip=1; elif [ "$skip" ]; then skip=; else set -- "$@" "$word"; fi
done
exec {proot} "$@"
"""
_TOOLS_VERSION = "1.2.11\n"  # the least that it takes


class Starter(NamedTuple):
    """One that starts containers: the words for a command, with directories bound at /mnt/N."""

    name: str
    words: Callable[[Sequence[str], Sequence[str]], list[str]]
    # So many turns only: it is slow.
    turns: int = 0
    note: str = ""


class Known(NamedTuple):
    """Those that work here, and why the others do not."""

    starters: tuple[Starter, ...]
    left_out: dict[str, str]

    def named(self, *names: str) -> list[Starter]:
        return [one for one in self.starters if one.name in names]


@functools.cache
def known(bench: Bench) -> Known:
    """Everything that is installed and starts ``true``, each tried once."""
    bench.layout(IMAGE)
    root = tree(IMAGE)
    found, left_out = [], {}
    for name, (programs, make) in _MAKERS.items():
        if not bench.wants(name, OURS):
            continue
        missing = [one for one in programs if shutil.which(one) is None]
        if missing:
            left_out[name] = f"{missing[0]} is not installed"
            continue
        try:
            starter = make(name, root, bench.scratch)
            timed(starter.words(["true"], []))
            found.append(starter)
        except (Failed, OSError, subprocess.SubprocessError) as failed:
            left_out[name] = f"does not start here: {str(failed)[-200:]}"
    return Known(tuple(found), left_out)


def _bound(option: str, binds: Sequence[str], *, end: str = "") -> Iterator[str]:
    for number, path in enumerate(binds):
        yield from (option, f"{path}:/mnt/{number}{end}")


def _ours(engine: str, variables: Sequence[str] = ()) -> Callable[[str, str, Path], Starter]:
    def make(name: str, root: str, place: Path) -> Starter:
        # env(1) costs a millisecond of its own
        prefix = ["env", *(word.format(store=root.rsplit("/trees/", 1)[0]) for word in variables)]
        words = [*(prefix if variables else ()), ours(), "--engine", engine, "run"]
        return Starter(
            name, lambda command, binds: [*words, *_bound("-v", binds, end=":ro"), IMAGE, *command]
        )

    return make


def _bwrap(name: str, root: str, place: Path) -> Starter:
    words = ["bwrap", "--unshare-all", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev"]
    words += ["--tmpfs", "/tmp", "--tmpfs", "/mnt"]

    def start(command: Sequence[str], binds: Sequence[str]) -> list[str]:
        bound = (("--ro-bind", path, f"/mnt/{n}") for n, path in enumerate(binds))
        return [*words, *itertools.chain.from_iterable(bound), *command]

    return Starter(name, start)


def _proot(name: str, root: str, place: Path) -> Starter:
    words = ["proot", "-r", root, "-b", "/proc", "-b", "/dev", "-w", "/"]
    return Starter(name, lambda command, binds: [*words, *_bound("-b", binds), *command])


def _plain(*words: str) -> Callable[[str, str, Path], Starter]:
    """One that takes the tree and then the command."""

    def make(name: str, root: str, place: Path) -> Starter:
        told = [word.format(root=root) for word in words]
        return Starter(name, lambda command, binds: [*told, *command])

    return make


def _runtime(program: str) -> Callable[[str, str, Path], Starter]:
    """runc or crun, which take the command from a file."""

    def make(name: str, root: str, place: Path) -> Starter:
        def start(command: Sequence[str], binds: Sequence[str]) -> list[str]:
            bundle = place / f"{program}-{abs(hash((*command, '', *binds)))}"
            if not bundle.exists():
                _bundle(program, bundle, root, command, binds)
            state = bundle / "state"
            # A container's name is its own.
            return ["sh", "-c", f"exec {program} --root {state} run -b {bundle} x$$"]

        return Starter(name, start)

    return make


def _bundle(
    program: str, bundle: Path, root: str, command: Sequence[str], binds: Sequence[str]
) -> None:
    bundle.mkdir()
    subprocess.run([program, "spec", "--rootless", "-b", str(bundle)], check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["root"] = {"path": root, "readonly": True}
    config["process"] |= {"terminal": False, "args": list(command)}
    config["mounts"] += [{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]
    config["mounts"] += [
        {"destination": f"/mnt/{n}", "source": one, "type": "none", "options": ["rbind", "ro"]}
        for n, one in enumerate(binds)
    ]
    path.write_text(json.dumps(config))


def archive(place: Path) -> Path:
    """The image as ``docker save`` writes it, for those that have a store of their own."""
    path = place / "image.tar"
    if not path.exists():
        subprocess.run([ours(), "save", "-o", str(path), IMAGE], check=True, capture_output=True)
    return path


def _podman(name: str, root: str, place: Path) -> Starter:
    configure_podman(place)
    timed(["podman", "load", "-q", "-i", str(archive(place))])
    words = ["podman", "run", "--rm", "--network=none"]
    return Starter(
        name, lambda command, binds: [*words, *_bound("-v", binds, end=":ro"), IMAGE, *command]
    )


def configure_podman(place: Path) -> None:
    """Its images and all else below ``place``; without a daemon of the system or a journal."""
    folder = Path(os.environ["HOME"], ".config", "containers")
    folder.mkdir(parents=True, exist_ok=True)
    engine = {"cgroup_manager": "cgroupfs", "events_logger": "file"}
    # crun of Debian 12 starts nothing where there are cgroups of both versions.
    engine |= {"runtime": "runc"} if shutil.which("runc") else {}
    storage = {"driver": "overlay", "graphroot": str(place / "podman")}
    storage |= {"runroot": str(place / "run" / "podman")}
    _toml(folder / "containers.conf", "engine", engine)
    _toml(folder / "storage.conf", "storage", storage)


def _toml(path: Path, section: str, values: dict[str, str]) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path.write_text("\n".join([f"[{section}]", *lines, ""]))


def install_udocker(place: Path) -> None:
    """Give udocker its tools where there is no internet to fetch them from: the proot on PATH."""
    if "UDOCKER_TARBALL" not in os.environ:
        proot = shutil.which("proot")
        if not proot:
            raise Failed("udocker fetches its proot from the internet, and there is no other")
        tools = place / "udockertools.tar.gz"
        version, wrapper = place / "VERSION", place / "proot"
        version.write_text(_TOOLS_VERSION)
        wrapper.write_text(_PROOT.format(proot=proot))
        wrapper.chmod(0o755)
        with tarfile.open(tools, "w:gz") as tar:
            tar.add(version, "udocker_dir/lib/VERSION")
            for name in (f"proot-{platform.machine()}", f"proot-{platform.machine()}-4_8_0"):
                tar.add(wrapper, f"udocker_dir/bin/{name}")
        os.environ["UDOCKER_TARBALL"] = str(tools)
    timed(["udocker", "install"])


def _udocker(name: str, root: str, place: Path) -> Starter:
    _load_udocker(place)
    words = ["udocker", "-q", "run", "--nobanner"]
    if name == UDOCKER:
        if subprocess.run(["udocker", "inspect", "made"], capture_output=True).returncode:
            timed(["udocker", "create", "--name=made", IMAGE])
        rest, turns = ["made"], 0
    else:
        rest, turns = [IMAGE], 3
        words.append("--rm")
    return Starter(
        name, lambda command, binds: [*words, *_bound("-v", binds), *rest, *command], turns
    )


def _load_udocker(place: Path) -> None:
    install_udocker(place)
    if subprocess.run(["udocker", "inspect", IMAGE], capture_output=True).returncode:
        # It asks layers of an archive for records that archives of today do not have.
        flat = place / "flat.tar"
        timed([ours(), "flatten", IMAGE, str(flat)])
        timed(["udocker", "import", str(flat), IMAGE])


_BENEATH = "CWL_USERSPACE_STORE_PATH=/nonexistent/store:{store}"
# The programs that each needs, and what makes its words.
_MAKERS: dict[str, tuple[Sequence[str], Callable[[str, str, Path], Starter]]] = {
    OURS: (["cwl-userspace"], _ours("userns")),
    "ours, image in a store beneath": (["cwl-userspace"], _ours("userns", [_BENEATH])),
    OURS_PROOT: (["cwl-userspace", "proot"], _ours("proot")),
    "unshare and chroot": (
        ["unshare", "chroot"],
        _plain("unshare", "--user", "--map-root-user", "--mount", "chroot", "{root}"),
    ),
    "bwrap alone": (["bwrap"], _bwrap),
    "proot alone": (["proot"], _proot),
    "ch-run": (["ch-run"], _plain("ch-run", "{root}", "--")),
    "runc": (["runc"], _runtime("runc")),
    "crun": (["crun"], _runtime("crun")),
    "fakechroot": (["fakechroot", "chroot"], _plain("fakechroot", "chroot", "{root}")),
    "podman run": (["podman"], _podman),
    UDOCKER: (["udocker"], _udocker),
    "udocker, of an image": (["udocker"], _udocker),
    "apptainer exec": (["apptainer"], _plain("apptainer", "-s", "exec", "{root}")),
    "singularity exec": (["singularity"], _plain("singularity", "-s", "exec", "{root}")),
}
