"""The store on disk: where things are, and how they get there whole or not at all.

Layout (format 2), below the directory that the settings name::

    format                     "2": a release that does not know the number keeps away
    names/NAME                 JSON: the full name, the image's id, when and where it came from, and
                               whether it is protected
    images/ID.json             JSON: the image's configuration and the chain of its layers
    blobs/sha256/HEX           configurations and manifests, as they were fetched; layers as well
                               where the settings say so
    trees/CHAIN/rootfs         the flattened tree; CHAIN is the ChainID of config.md
    trees/CHAIN/tree.json      what was built, beside the tree and never inside it
    trees/CHAIN/unsynced       a link that says who has the tree written to disk, until it is: see
                               unsynced.py
    packs/CHAIN/               the same tree as one file, for local disks: see packs.py
    trees/CHAIN/contents.zst   what rootfs should hold, see image/contents.py; none for trees of
                               builds and of older releases
    trees/CHAIN/replaced/      what its layers replaced of those below them: see image/replaced.py
    containers/NAME/rootfs     a container's own tree, which its runs write; kept from other users
    containers/NAME/container.json   its id, image and configuration: see containers.py
    containers/NAME/marks.json  what was noted of it since: see marks.py
    aliases/NAME               the id of a container that has this name, too: see aliases.py
    build/                     steps of Dockerfiles and their layers (build/cache.py): they save
                               double work, nothing depends on them
    tools/                     programs that were fetched: a proot (tools.py), debootstrap
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
from cwl_userspace.store.modes import is_of_a_group, make_directories, open_tree
from cwl_userspace.store.owner import private_name as private_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cwl_userspace.digest import Digest
    from cwl_userspace.store.beneath import Beneath

FORMAT = "2"
LEASES = "leases"
# What ``format`` has in it while the whole store is being removed.
REMOVED = "removed"
_CONVERTED = ("1",)
_PLACES = ("names", "images", "blobs/sha256", "trees", "packs", "tmp", "locks", LEASES)
# What is published below these is for every user of the store.
_FOR_ALL = ("trees/", "packs/")
CONTENTS, REPLACED, MARK = "contents.zst", "replaced", "unsynced"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR)


class Store:
    """Paths of one store. Nothing is made until ``prepare`` is called by someone who writes.

    ``beneath`` are other people's stores: look-ups go through them, too, and nothing else does.
    ``elsewhere``, if somebody sets it, has trees made in another store and leaves a pack in this
    one (localtree.py): it is given this store, and what makes a tree in a store.
    ``share_files``: a tree may have files in common with one that it begins with (store/base.py);
    ``keep_blobs``: layers are kept as they were fetched, too (store/blobs.py); ``unpacked_limit``:
    how many bytes an image may unpack to that is filed here, 0 for any; ``only_read``: nothing in
    it is changed.
    """

    __slots__ = (
        "_beneath",
        "_compared",
        "_distrusted",
        "elsewhere",
        "keep_blobs",
        "only_read",
        "path",
        "share_files",
        "unpacked_limit",
    )

    def __init__(self, path: str, beneath: Beneath | None = None) -> None:
        self.path = path
        self._beneath = beneath
        self._distrusted: set[str] = set()
        self._compared: dict[str, bool] = {}
        self.share_files = True
        self.keep_blobs = False
        self.only_read = False
        self.unpacked_limit = 0
        self.elsewhere: Callable[[Store, Callable[[Store], Digest]], Digest] | None = None

    @property
    def own(self) -> Store:
        """This store without those beneath: what is removed, and what is counted to remove it."""
        return Store(self.path) if self._beneath else self

    def all(self) -> Iterator[Store]:
        """This store, and then those beneath that can be read."""
        yield self.own
        if self._beneath is not None:
            yield from self._beneath.stores()

    def is_beneath(self, path: str) -> bool:
        """True for a path in a store beneath, where nothing is to be written."""
        return self._beneath is not None and self._beneath.holds(path)

    @property
    def trouble(self) -> str:
        """Why stores beneath could not be read, as far as they were asked; or nothing."""
        return self._beneath.trouble if self._beneath is not None else ""

    def leave_out(self, store: Store, error: StoreError) -> None:
        """Go on without a store beneath that cannot be read; for this store the error is raised."""
        if self._beneath is None or store.path == self.path:
            raise error
        self._beneath.leave_out(store, error)

    def prepare(self) -> None:
        """Make the store or check its format; raise StoreError where it cannot be used.

        One of an older format becomes one of ours: an older release that is running goes on, one
        that is started later refuses it.
        """
        found = self.check()
        try:
            make_directories(self.path, _PLACES)
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
        if not found:  # a crash came before the disk had it
            return ""
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
        """The directory of the flattened tree for a chain of layers, here or in a store beneath.

        If there is none it is the one where this store would have it.
        """
        own = os.path.join(self.path, "trees", chain.hex, "rootfs")
        if self._beneath is not None and not os.path.isdir(own):
            for store in self._beneath.stores():
                if store.has_tree(chain):
                    return store.tree(chain)
        return own

    def has_tree(self, chain: Digest) -> bool:
        """True if that tree is here or beneath, and so is whole.

        What a crash may have damaged is looked at first, and is not there if it was. Raise
        StoreError for a damaged one that cannot be removed.
        """
        rootfs = self.tree(chain)
        if not os.path.isdir(rootfs):
            return False
        if self.is_beneath(rootfs) or self.is_sound(os.path.dirname(rootfs)):
            return True
        return self._beneath is not None and self.has_tree(chain)  # the own one is gone

    def is_sound(self, directory: str) -> bool:
        """True if the tree in a directory of this store is on disk, or can be trusted all the same.

        Raise StoreError as ``has_tree`` does.
        """
        if not os.path.lexists(os.path.join(directory, MARK)):
            return True
        if directory not in self._compared:
            from cwl_userspace.store import unsynced

            sound = unsynced.is_sound(self, directory)
            if not self.only_read:
                return sound
            self._compared[directory] = sound  # its mark stays, and one look is enough
        return self._compared[directory]

    def has(self, chain: Digest) -> bool:
        """True if an image's files are here or beneath in either form, so that it can be run."""
        return self.has_tree(chain) or next(self.packs(chain), None) is not None

    def packs(self, chain: Digest) -> Iterator[str]:
        """The directories of all packs of a tree: here first, then beneath."""
        for store in self.all():
            path = os.path.join(store.path, "packs", chain.hex)
            if os.path.isdir(path) and path not in self._distrusted:
                yield path

    def trust(self, pack: str, trusted: bool) -> None:
        """Use a pack no more in this process, though its directory is there; or use it again."""
        (self._distrusted.discard if trusted else self._distrusted.add)(pack)

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
                if is_of_a_group(self.path):
                    os.fchmod(fd, 0o664)
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
            if name.startswith(_FOR_ALL) and is_of_a_group(self.path):
                open_tree(built)
            os.rename(built, os.path.join(self.path, name))
            return True
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise self.failure(error, f"publish {name}") from None

    def failure(self, error: OSError, doing: str) -> StoreError:
        """An OSError of the store as one sentence with a hint."""
        if error.errno == errno.EFBIG:
            return StoreError(
                f"cannot {doing} in {self.path}: {error.strerror}",
                "raise the limit of a file's size (ulimit -f), or your quota",
            )
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
