"""The store on disk: where things are, and how they get there whole or not at all.

Layout (format 2), below the directory that the settings name::

    format                     "2": a release that does not know the number keeps away
    names/NAME                 JSON: the full name, the image's id, when and where it came from
    images/ID.json             JSON: the image's configuration and the chain of its layers
    blobs/sha256/HEX           configurations and manifests, as they were fetched
    trees/CHAIN/rootfs         the flattened tree; CHAIN is the ChainID of config.md
    trees/CHAIN/tree.json      what was built, beside the tree and never inside it
    containers/NAME/rootfs     a container's own tree, which its runs write; kept from other users
    containers/NAME/container.json   its id, image and configuration: see containers.py
    build/                     steps of Dockerfiles and their layers (build/cache.py): they save
                               double work, nothing depends on them
    tmp/RANDOM.OWNER           private directories of processes that build something
    leases/                    who is doing some work for all (lease.py), and what is in use
                               (inuse.py); OWNER is a process: see owner.py
    locks/                     notes on what need not be tried again; locks, in format 1

Everything is built in ``tmp`` and published by one rename, so a reader never sees a half of it.

Format 1 has no leases, and a release that knows no other would remove a tree from under a run. What
is the same in both is read in both; the first who writes makes a store of format 1 one of format 2.
"""

from __future__ import annotations

import errno
import os

from cwl_userspace.errors import StoreError
from cwl_userspace.store.owner import private_name as private_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.digest import Digest

FORMAT = "2"
LEASES = "leases"
# What ``format`` has in it while the whole store is being removed.
REMOVED = "removed"
_CONVERTED = ("1",)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR)


class Store:
    """Paths of one store. Nothing is made until ``prepare`` is called by someone who writes."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the store or check its format; raise StoreError where it cannot be used.

        One of an older format becomes one of ours: an older release that is running goes on, one
        that is started later refuses it.
        """
        found = self.check()
        try:
            for name in ("names", "images", "blobs/sha256", "trees", "tmp", "locks", LEASES):
                os.makedirs(os.path.join(self.path, name), mode=0o755, exist_ok=True)
            if found != FORMAT:
                self.write_file("format", FORMAT + "\n")
        except OSError as error:
            raise self.failure(error, "make the store") from None

    def check(self) -> str:
        """The store's format, empty if there is no store yet.

        Raise StoreError if it is one that this release does not know.
        """
        try:
            with open(os.path.join(self.path, "format"), encoding="ascii") as file:
                found = file.read(64).strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its format is no text"
            raise StoreError(
                f"the store {self.path} cannot be read: {reason}", "set CWL_USERSPACE_HOME"
            ) from None
        if found == REMOVED:
            raise StoreError(
                f"the store {self.path} is being removed",
                "finish that with cwl-userspace prune --whole-store",
            )
        if found != FORMAT and found not in _CONVERTED:
            raise StoreError(
                f"the store {self.path} has the format {found!r}, this release knows {FORMAT!r}",
                "use a newer release, or another store through CWL_USERSPACE_HOME",
            )
        return found

    def tree(self, chain: Digest) -> str:
        """The directory of the flattened tree for a chain of layers."""
        return os.path.join(self.path, "trees", chain.hex, "rootfs")

    def has_tree(self, chain: Digest) -> bool:
        """True if that tree is here, and so is whole."""
        return os.path.isdir(self.tree(chain))

    def blob(self, digest: Digest) -> bytes | None:
        """A blob of that digest, or None: one whose bytes are others is none."""
        import hashlib

        try:
            with open(os.path.join(self.path, "blobs", "sha256", digest.hex), "rb") as file:
                raw = file.read()
        except OSError:
            return None
        return raw if hashlib.sha256(raw).hexdigest() == digest.hex else None

    def write_file(self, name: str, content: str | bytes) -> None:
        """Put a small file at a place below the store, whole or not at all."""
        path = os.path.join(self.path, name)
        aside = os.path.join(self.path, "tmp", f"{private_name()}.file")
        data = content.encode() if isinstance(content, str) else content
        try:
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                written = os.write(fd, data)
                while written < len(data):  # the space ran out, or a signal came
                    written += os.write(fd, data[written:])
            finally:
                os.close(fd)
            os.replace(aside, path)
        except OSError as error:
            if os.path.lexists(aside):
                os.unlink(aside)
            raise self.failure(error, f"write {name}") from None

    def publish(self, built: str, name: str) -> bool:
        """Rename a finished directory into place; False if another process was first."""
        try:
            os.rename(built, os.path.join(self.path, name))
            return True
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise self.failure(error, f"publish {name}") from None

    def failure(self, error: OSError, doing: str) -> StoreError:
        """An OSError of the store as one sentence with a hint."""
        if error.errno in _FULL:
            return StoreError(
                f"no space left to {doing} in {self.path}: {error.strerror}",
                "make room, or set CWL_USERSPACE_HOME to a larger file system",
            )
        where = f": {error.filename}" if error.filename else ""
        return StoreError(
            f"cannot {doing} in {self.path}: {error.strerror}{where}",
            "set CWL_USERSPACE_HOME to a directory that you can write",
        )


def any_container(store: Store) -> bool:
    """True if there may be a container: the place for them is made with the first."""
    return os.path.isdir(os.path.join(store.path, "containers"))
