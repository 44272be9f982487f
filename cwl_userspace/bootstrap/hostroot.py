"""A container of this host's own programs: what there is emulates root for one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cwl_userspace.spec import Mount

# What programs need, as far as a host has it. Names of /usr that are links stay links.
_PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "nix", "gnu")
# Of /etc only what programs read to find others, and to check who they speak with.
_CONFIGURATION = ("alternatives", "ca-certificates", "ld.so.cache", "pki", "ssl", "wgetrc", "apt")
_DIRECTORIES = ("dev", "etc", "proc", "root", "tmp", "run", "var", "var/tmp")


def make(directory: str) -> None:
    """Make the tree of the container, in which nothing is but links, and places for mounts."""
    for name in _DIRECTORIES:
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    for name in _PROGRAMS:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), os.path.join(directory, name))


def mounts() -> Iterator[Mount]:
    """What is shown of the host in it, to be read."""
    for name in (*_PROGRAMS, *(f"etc/{name}" for name in _CONFIGURATION)):
        path = f"/{name}"
        if os.path.exists(path) and not (os.path.islink(path) and name in _PROGRAMS):
            yield Mount(os.path.realpath(path), path, read_only=True)
