"""A small Debian of this host's own programs, packages for it, and a place to get them from."""

from __future__ import annotations

import glob
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

# What installs packages and makes accounts, and what their scripts call.
_PACKAGES = (
    *("apt", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "dpkg"),
    *("findutils", "grep", "gzip", "libc-bin", "libcap2-bin", "libpam-modules"),
    *("libpam-modules-bin", "libpam-runtime", "login", "passwd", "perl-base", "sed", "tar"),
    *("util-linux", "gpgv"),
)
_LEFT_OUT = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/.")
_DIRECTORIES = (
    *("etc/apt/apt.conf.d", "etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/default"),
    *("etc/apt/trusted.gpg.d", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log/apt"),
    *("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg/triggers"),
    *("tmp", "dev", "proc", "root", "home", "run", "var/mail", "var/tmp", "etc/skel"),
)


def image() -> bytes:
    """A layer with the programs and all that they are linked with."""
    listed = subprocess.run(
        ["dpkg", "-L", *_PACKAGES], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout.splitlines()
    files = [f for f in listed if not f.startswith(_LEFT_OUT) and not f.startswith("/etc/apt/")]
    files += glob.glob("/etc/pam.d/common-*")
    programs = [f for f in files if os.path.isfile(f) and (os.access(f, os.X_OK) or ".so" in f)]
    linked = subprocess.run(
        ["ldd", *programs], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout
    libraries = re.findall(r"(/\S+) \(0x", linked)
    files += [*libraries, *map(os.path.realpath, libraries)]
    nss = Path("/lib").resolve().glob("*-linux-gnu/libnss_files*")
    layer = io.BytesIO()
    with tarfile.TarFile(fileobj=layer, mode="w") as tar:
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                tar.add(f"/{name}")
        for path in sorted({_merged(file) for file in (*files, *map(str, nss))}):
            readable = os.path.isfile(path) and os.access(path, os.R_OK)
            if readable or os.path.islink(path):
                tar.add(path)
        for name in _DIRECTORIES:
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if "tmp" in name else 0o755
            tar.addfile(directory)
        for name in ("passwd", "group"):
            _add(tar, f"etc/{name}", Path(f"/usr/share/base-passwd/{name}.master").read_bytes())
        accounts = Path("/usr/share/base-passwd/passwd.master").read_text()
        _add(tar, "etc/passwd", (accounts + "_apt:*:42:65534::/nonexistent:/bin/sh\n").encode())
        _add(tar, "etc/shadow", b"root:*:1::::::\n", 0o600)
        _add(tar, "etc/nsswitch.conf", b"passwd: files\ngroup: files\n")
        _add(tar, "etc/apt/sources.list", b"deb [trusted=yes] file:/packages ./\n")
        _add(tar, "var/lib/dpkg/status", b"")
        _add(tar, "etc/ld.so.conf", Path("/etc/ld.so.conf").read_bytes())
    return layer.getvalue()


def package(place: Path, name: str, scripts: dict[str, str], files: dict[str, int]) -> Path:
    """A .deb (deb(5)) with maintainer scripts and files; each of a user's id, and a directory."""
    control = (
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    )
    inner = {"control": (control.encode(), 0o644, 0)}
    inner |= {script: (text.encode(), 0o755, 0) for script, text in scripts.items()}
    data = {path: (b"content\n", 0o640, owner) for path, owner in files.items()}
    members = {
        "debian-binary": b"2.0\n",
        "control.tar": _tar(inner),
        "data.tar": _tar(data),
    }
    path = place / f"{name}_1_all.deb"
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for member, content in members.items():
            header = f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
            file.write(header.encode() + content + b"\n" * (len(content) % 2))
    return path


def repository(place: Path, *packages: Path) -> Path:
    """Have apt find packages in a directory (dpkg-scanpackages(1) writes the same)."""
    entries = []
    for path in packages:
        control = subprocess.check_output(["dpkg-deb", "-f", path], text=True)
        sha256 = subprocess.check_output(["sha256sum", path], text=True).split()[0]
        facts = f"Filename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {sha256}\n"
        entries.append(control + facts)
    (place / "Packages").write_text("\n".join(entries))
    return place


def _merged(path: str) -> str:
    """A path as it is where /bin and its kin are links into /usr."""
    head, _, rest = path.removeprefix("/").partition("/")
    return os.path.join(os.path.realpath(f"/{head}"), rest) if rest else path


def _tar(files: dict[str, tuple[bytes, int, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.TarFile(fileobj=out, mode="w") as tar:
        for path, (content, mode, owner) in files.items():
            above = path.split("/")[:-1]
            for depth in range(len(above)):
                directory = tarfile.TarInfo(f"./{'/'.join(above[: depth + 1])}")
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                directory.uid = directory.gid = owner
                tar.addfile(directory)
            _add(tar, f"./{path}", content, mode, owner)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644, owner: int = 0) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.uid, member.gid = len(data), mode, owner, owner
    tar.addfile(member, io.BytesIO(data))
