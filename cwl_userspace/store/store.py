"""The store on disk: where things are, and how they get there whole or not at all.

Layout (format 1), below the directory that the settings name::

    format                     "1": a release that does not know the number keeps away
    names/NAME                 JSON: the full name, the image's id, when and where it came from
    images/ID.json             JSON: the image's configuration and the chain of its layers
    blobs/sha256/HEX           configurations and manifests, as they were fetched; layers as well
                               where the settings say so
    trees/CHAIN/rootfs         the flattened tree; CHAIN is the ChainID of config.md
    trees/CHAIN/tree.json      what was built, beside the tree and never inside it
    containers/NAME/rootfs     a container's own tree, which its runs write; kept from other users
    containers/NAME/container.json   its id, image and configuration: see containers.py
    build/                     steps of Dockerfiles and their layers (build/cache.py): they save
                               double work, nothing depends on them
    tmp/HOST-NS-PID-RANDOM     private directories of processes that build something
    locks/                     advice only: they save double work, nothing depends on them

Everything is built in ``tmp`` and published by one rename, so a reader never sees a half of it.
"""

from __future__ import annotations

import errno
import os

from cwl_userspace.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.digest import Digest

FORMAT = "1"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR)


class Store:
    """Paths of one store. Nothing is made until ``prepare`` is called by someone who writes.

    ``share_files``: a tree may have files in common with one that it extends (store/base.py);
    ``keep_blobs``: layers are kept as they were fetched, too (store/blobs.py).
    """

    __slots__ = ("keep_blobs", "path", "share_files")

    def __init__(self, path: str) -> None:
        self.path = path
        self.share_files = True
        self.keep_blobs = False

    def prepare(self) -> None:
        """Make the store or check its format; raise StoreError where it cannot be used."""
        self.check()
        try:
            for name in ("names", "images", "blobs/sha256", "trees", "tmp", "locks"):
                os.makedirs(os.path.join(self.path, name), mode=0o755, exist_ok=True)
            marker = os.path.join(self.path, "format")
            if not os.path.exists(marker):
                self.write_file("format", FORMAT + "\n")
        except OSError as error:
            raise self.failure(error, "make the store") from None

    def check(self) -> None:
        """Raise StoreError if the store is of a format that this release does not know."""
        try:
            with open(os.path.join(self.path, "format"), encoding="ascii") as file:
                found = file.read(64).strip()
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its format is no text"
            raise StoreError(
                f"the store {self.path} cannot be read: {reason}", "set CWL_USERSPACE_HOME"
            ) from None
        if found != FORMAT:
            raise StoreError(
                f"the store {self.path} has the format {found!r}, this release knows {FORMAT!r}",
                "use a newer release, or another store through CWL_USERSPACE_HOME",
            )

    def tree(self, chain: Digest) -> str:
        """The directory of the flattened tree for a chain of layers."""
        return os.path.join(self.path, "trees", chain.hex, "rootfs")

    def has_tree(self, chain: Digest) -> bool:
        """True if that tree is here, and so is whole."""
        return os.path.isdir(self.tree(chain))

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


def private_name() -> str:
    """A name that no other process on any host uses, and that says whose it is."""
    return f"{_owner()}-{os.getpid()}-{os.urandom(6).hex()}"


def _owner() -> str:
    """This host and process id name space; a process id means nothing elsewhere."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{os.uname().nodename.replace('/', '_')[:64]}-{space}"


def abandoned(name: str) -> bool:
    """True if a private name belongs to a process of this host that is no more."""
    owner, _, rest = name.rpartition("-")[0].rpartition("-")
    if owner != _owner() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
