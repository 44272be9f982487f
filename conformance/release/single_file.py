"""Makes the single file: one that any Python from 3.10 executes, with all that we need in it.

usage: python -m conformance.release.single_file VENV FILE

VENV is an environment in which our wheel and what it needs, but for cwltool, is installed: its
packages are taken, so an SBOM of it is one of the file. Compiled modules are added for each CPython
and processor, in the same versions. Two files made of the same are the same, bit for bit.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from conformance.release.elf import loaded_part

_APP = Path(__file__).with_name("app")
_MINORS = range(10, 15)
_MACHINES = ("x86_64", "aarch64")
_PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
# Without the first nothing is flattened; the second inflates in half the time.
_COMPILED = ("zstandard", "isal")
# A second binding of the same library, which is taken where there is no CPython.
_UNUSED = ("zstandard/_cffi", "zstandard/backend_cffi.py")
# What is of no use once it is installed, and names the place where that was.
_ENDS = (".so", ".pyc", ".pyi", "/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json")
_TOOLS = ("pip", "setuptools", "wheel", "_distutils_hack", "distutils-precedence", "pkg_resources")
_SHEBANG = b"#!/usr/bin/env python3\n"
_TIME = (1980, 1, 1, 0, 0, 0)


def main(venv: Path, target: Path) -> None:
    """Write ``target`` of what is installed in ``venv``."""
    (packages,) = venv.glob("lib/python3*/site-packages")
    versions = {d.metadata["Name"]: d.version for d in metadata.distributions(path=[str(packages)])}
    wanted = {name: versions[name] for name in _COMPILED}
    parts = {"common": packed(common(packages))}
    for minor in _MINORS:
        for machine in _MACHINES:
            found = _compiled(minor, machine, wanted)
            parts[f"cpython-3{minor}-{machine}"] = packed(found)
    write(target, versions["cwl-userspace"], parts)


def write(target: Path, version: str, parts: Mapping[str, bytes]) -> None:
    """Write the file of packed parts: ``common``, and one for each cache tag and machine."""
    digest = hashlib.sha256(b"".join(parts.values())).hexdigest()[:12]
    edition = f'EDITION = "{version}-{digest}"'
    with open(target, "wb") as file:
        file.write(_SHEBANG)
        with zipfile.ZipFile(file, "w") as archive:
            for path in sorted(_APP.glob("*.py")):
                text = path.read_text("ascii").replace('EDITION = ""', edition)
                archive.writestr(zipfile.ZipInfo(path.name, _TIME), text)
            for name, data in parts.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.tar.xz", _TIME), data)
    target.chmod(0o755)


def common(packages: Path) -> Iterator[tuple[str, bytes]]:
    """The name and content of each file that serves every Python."""
    for path in sorted(packages.rglob("*")):
        name = str(path.relative_to(packages))
        ours = not name.startswith((*_UNUSED, *_TOOLS)) and not name.endswith(_ENDS)
        if path.is_file() and ours:
            yield name, path.read_bytes()


def _compiled(minor: int, machine: str, versions: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """The compiled modules of some packages for one Python and processor."""
    with tempfile.TemporaryDirectory() as directory:
        words = [f"{name}=={version}" for name, version in versions.items()]
        platforms = [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
        subprocess.check_call(
            [
                *(sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
                *("--only-binary=:all:", f"--python-version=3.{minor}", *platforms),
                *("--dest", directory, *words),
            ]
        )
        for wheel in sorted(Path(directory).iterdir()):
            with zipfile.ZipFile(wheel) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".so") and not name.startswith(_UNUSED):
                        yield name, loaded_part(archive.read(name))


def packed(files: Iterable[tuple[str, bytes]], preset: int = 9 | lzma.PRESET_EXTREME) -> bytes:
    """Files by name, as a part; the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return lzma.compress(buffer.getvalue(), preset=preset)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
