"""Containers with a writable tree of their own: what a run changes in it is there for the next.

The tree is a private copy of the image's, beside it in the store, and one directory has all that
belongs to a container; its name is the container's, so that a single rename publishes it whole and
settles who has the name. Nothing of the image is needed any more: the record has its configuration,
with what ``create`` was told already in it.
"""

from __future__ import annotations

import json
import os

from cwl_userspace import aliases, marks
from cwl_userspace.errors import ContainerNotFound, StoreError, UsageError, UserspaceError
from cwl_userspace.spec import ImageConfig, Mount
from cwl_userspace.store.modes import make_directories
from cwl_userspace.store.store import private_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cwl_userspace.spec import RunRequest
    from cwl_userspace.store.records import Record
    from cwl_userspace.store.store import Store

PLACE = "containers"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_HEX = frozenset("0123456789abcdef")
_SHORTEST_ID = 4
_LONGEST_NAME = 128


class Container:
    """A container as it was created. ``config`` is how it is to be run (OCI, config.md).

    ``words`` are what ``start`` is to run it with, if create was told more than its record has.
    ``caller`` is the name under which another program had it made; empty if a person has.
    """

    __slots__ = (
        "caller",
        "created",
        "document",
        "hostname",
        "id",
        "image",
        "image_name",
        "mounts",
        "name",
        "words",
    )
    of_store = True

    def __init__(self, name: str, record: dict[str, Any]) -> None:
        self.name = name
        self.id: str = record["id"]
        self.image: str = record["image"]
        self.image_name: str = record["image_name"]
        self.created: float = record["created"]
        self.document: dict[str, Any] = record["config"]
        self.hostname: str = record["hostname"]
        self.caller: str = record.get("caller", "")
        self.words: dict[str, Any] | None = record.get("words")
        self.mounts = [Mount(*mount) for mount in record["mounts"]]

    @property
    def config(self) -> ImageConfig:
        """How the container is to be run."""
        return ImageConfig.from_json(self.document)

    def rootfs(self, store: Store) -> str:
        """The path of its tree."""
        return os.path.join(store.path, PLACE, self.name, "rootfs")


def record_of(
    record: Record, image_name: str, request: RunRequest, created: float
) -> dict[str, Any]:
    """What is to be known of a new container of an image, as JSON; it has no name in it.

    What was asked for is joined with the image's configuration by Docker's rules: a given
    entrypoint drops the image's command, and the last of two equal variables wins.
    """
    image = record.config
    environment = dict(text.partition("=")[::2] for text in image.env)
    environment.update(request.environment)
    command = request.argv or (image.cmd if request.entrypoint is None else ())
    config = {
        **(record.document.get("config") or {}),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Entrypoint": list(image.entrypoint if request.entrypoint is None else request.entrypoint),
        "Cmd": list(command),
        "WorkingDir": request.working_dir or image.working_dir,
        "User": request.user or image.user,
    }
    return {
        "id": os.urandom(32).hex(),
        "image": str(record.id),
        "image_name": image_name,
        "created": created,
        "config": config,
        "hostname": request.hostname,
        "mounts": [[m.source, m.target, m.read_only] for m in request.mounts],
    }


def with_container(request: RunRequest, container: Container) -> RunRequest:
    """The request of a run in a container, with the mounts and the host's name of ``create``."""
    request.mounts = (*container.mounts, *request.mounts)
    request.hostname = request.hostname or container.hostname
    return request


def check_name(store: Store, name: str) -> None:
    """Raise UsageError for a name that is none or that is taken."""
    if not 1 < len(name) <= _LONGEST_NAME or not _LETTERS.issuperset(name) or name[0] in "_.-":
        raise UsageError(
            f"{name!r} cannot be a container's name",
            "expected 2 to 128 letters, digits, '_', '.' or '-', the first a letter or digit",
        )
    if os.path.lexists(os.path.join(store.path, PLACE, name)) or _by_alias(store, name):
        raise _taken(name)


def create(store: Store, name: str, rootfs: str, record: dict[str, Any]) -> tuple[str, list[str]]:
    """Copy a tree for a new container and publish it under a name, or under its id if none.

    Return the name, and the paths that could not be read and so are empty in the copy. Raise
    UsageError for a name that is taken, StoreError where the store cannot be written.
    """
    from cwl_userspace.asroot import copy_tree
    from cwl_userspace.mountpoints import make_mount_points
    from cwl_userspace.store.workspace import workspace

    store.prepare()
    name = name or record["id"][:12]
    check_name(store, name)
    with workspace(store) as private:
        # Its programs may be setuid, to the user whose tree this is: nobody else comes near them.
        os.chmod(private, 0o700)
        try:
            make_directories(store.path, (PLACE,))
            unread = copy_tree(rootfs, os.path.join(private, "rootfs"))
            make_mount_points(os.path.join(private, "rootfs"))
            relative = os.path.relpath(private, store.path)
            store.write_file(f"{relative}/container.json", json.dumps(record))
        except OSError as error:
            raise store.failure(error, "copy an image's tree") from None
        if not store.publish(private, f"{PLACE}/{name}"):
            raise _taken(name)
    return name, unread


def find(store: Store, text: str, by_name: bool = True) -> Container:
    """The container of a name, or of an id or its beginning; raise ContainerNotFound if none.

    With ``by_name`` false, as for workflow engines, which cannot know of it, of an id alone.
    """
    if text and _LETTERS.issuperset(text):
        record = _read(store, text) if by_name else None
        if record is not None:
            return Container(text, record)
        named = _by_alias(store, text) if by_name else None
        if named is not None:
            return named
        if len(text) >= _SHORTEST_ID and _HEX.issuperset(text):
            found = [container for container in every(store) if container.id.startswith(text)]
            if len(found) > 1:
                raise UsageError(
                    f"{text} is the beginning of {len(found)} containers' ids", "give more of it"
                )
            if found:
                return found[0]
    raise ContainerNotFound(f"no container {text!r}", "see cwl-userspace ps -a")


def _by_alias(store: Store, name: str) -> Container | None:
    identifier = aliases.target(store, name)
    found = every(store) if identifier else ()
    return next((container for container in found if container.id == identifier), None)


def every(store: Store) -> Sequence[Container]:
    """All containers of the store that the caller may see, the oldest first."""
    top = os.path.join(store.path, PLACE)
    try:
        names = os.listdir(top)
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise store.failure(error, "list the containers") from None
    found = []
    for name in names:
        try:
            record = _read(store, name)
        except StoreError:  # another user's, or damaged: said when it is asked for by name
            continue
        if record is not None:
            found.append(Container(name, record))
    return sorted(found, key=lambda container: container.created)


def rename(store: Store, container: Container, name: str) -> None:
    """Give a container another name in place of its own; raise UsageError for one that is taken."""
    check_name(store, name)
    if not store.publish(os.path.join(store.path, PLACE, container.name), f"{PLACE}/{name}"):
        raise _taken(name)


def take_away(store: Store, container: Container) -> str:
    """Rename a container aside, so that nobody finds it any more; the path that it has now.

    Raise UserspaceError for one that is protected.
    """
    if marks.read(store, f"{PLACE}/{container.name}").get("protected"):
        error = UserspaceError(
            f"the container {container.name!r} is protected",
            f"first run cwl-userspace unprotect {container.name}",
        )
        error.exit_code = 1
        raise error
    aside = os.path.join(store.path, "tmp", private_name())
    try:
        os.rename(os.path.join(store.path, PLACE, container.name), aside)
    except FileNotFoundError:
        raise ContainerNotFound(
            f"no container {container.name!r}", "somebody else has removed it"
        ) from None
    except OSError as error:
        raise store.failure(error, "remove a container") from None
    return aside


def put_back(store: Store, container: Container, aside: str) -> None:
    """Undo ``take_away``; raise StoreError if the name has been given away meanwhile."""
    if not store.publish(aside, f"{PLACE}/{container.name}"):
        raise StoreError(
            f"the container {container.name!r} is in use and another has its name now",
            f"its tree is {aside}",
        )


def delete(store: Store, aside: str) -> None:
    """Delete what ``take_away`` has put aside, whatever its modes and whoever its owners."""
    from cwl_userspace.asroot import remove_tree

    try:
        remove_tree(aside)
    except OSError as error:
        raise store.failure(error, "remove a container's tree") from None


def _read(store: Store, name: str) -> Any:
    path = os.path.join(store.path, PLACE, name, "container.json")
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read())
        Container(name, record)
        return record
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(
            f"the container {name!r} cannot be read: {error.strerror}",
            "it may be another user's: set CWL_USERSPACE_HOME to a store of your own",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            f"{path} is damaged", f"remove the directory {os.path.dirname(path)}"
        ) from None


def _taken(name: str) -> UsageError:
    return UsageError(
        f"the container name {name!r} is taken",
        f"choose another, or remove that one with cwl-userspace rm {name}",
    )
