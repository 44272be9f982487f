"""Settings, from the environment and from one YAML file; the environment wins.

Reading YAML costs more than starting a container, so what the file says is kept as JSON in the
cache directory, keyed by the file's path, inode, time and size.
"""

from __future__ import annotations

import json
import os

from cwl_userspace.errors import SettingsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

NAME = "cwl-userspace"
ON_UNMET = ("refuse", "warn", "copy")
ROOT_IDS = ("auto", "emulated", "mapped")
SHARE_FILES = ("auto", "never")
_UPPER = ("auto", "memory", "disk")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# Several times the largest image that people compute with, and less than most disks of clusters.
UNPACKED_LIMIT = 256 << 30
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class RegistrySettings:
    """How to reach one registry: mirrors to try first, and whether plain HTTP is allowed."""

    __slots__ = ("insecure", "mirrors")

    def __init__(self, mirrors: tuple[str, ...] = (), insecure: bool = False) -> None:
        self.mirrors = mirrors
        self.insecure = insecure


class Settings:
    """Everything that a user can set. ``on_unmet`` is empty where nobody has decided.

    ``root_upper`` says where a container's root keeps what is written to it: auto, memory, disk,
    or a directory; ``root_size`` how many bytes it may be (0: no limit of ours); ``root_ids``
    whether root in a container has ids of its own (mapped), one (emulated), or what leaves
    nothing behind (auto). ``proot_places`` are pairs of an address and a SHA-256 or an empty text.
    ``local_store`` is where runs have copies of trees on a disk of this host; empty for nowhere.
    ``store`` is the user's own, ``beneath`` are the stores that are only read, in their order.
    ``offline``: no program of ours touches the network, not even to look up a name.
    ``share_files``: whether a tree may have files in common with one that it begins with (auto) or
    never has; ``keep_blobs``: whether the store keeps layers as they were fetched.
    ``unpacked_limit`` is how many bytes the layers of an image may unpack to, all together.
    """

    __slots__ = (
        "beneath",
        "cache",
        "config",
        "engine",
        "keep_blobs",
        "local_store",
        "offline",
        "on_unmet",
        "proot",
        "proot_places",
        "registries",
        "root_ids",
        "root_size",
        "root_upper",
        "share_files",
        "state",
        "store",
        "unpacked_limit",
    )

    def __init__(
        self,
        engine: str,
        store: str,
        on_unmet: str,
        proot: str,
        registries: Mapping[str, RegistrySettings],
        cache: str,
        state: str,
        config: str,
        root_upper: str = "auto",
        root_size: int = 0,
        root_ids: str = "auto",
        proot_places: Sequence[Sequence[str]] = (),
        local_store: str = "",
        beneath: Sequence[str] = (),
        offline: bool = False,
        share_files: str = "auto",
        keep_blobs: bool = False,
        unpacked_limit: int = UNPACKED_LIMIT,
    ) -> None:
        self.engine = engine
        self.store = store
        self.on_unmet = on_unmet
        self.proot = proot
        self.registries = registries
        self.cache = cache
        self.state = state
        self.config = config
        self.root_upper = root_upper
        self.root_size = root_size
        self.root_ids = root_ids
        self.proot_places = tuple((url, sha256) for url, sha256 in proot_places)
        self.local_store = local_store
        self.beneath = tuple(beneath)
        self.offline = offline
        self.share_files = share_files
        self.keep_blobs = keep_blobs
        self.unpacked_limit = unpacked_limit


def load(environ: Mapping[str, str]) -> Settings:
    """Settings for this user; raise SettingsError for a file or value that has no meaning."""
    cache = _directory(environ, "XDG_CACHE_HOME", ".cache")
    config = environ.get("CWL_USERSPACE_CONFIG") or os.path.join(
        _directory(environ, "XDG_CONFIG_HOME", ".config"), "config.yml"
    )
    explicit = bool(environ.get("CWL_USERSPACE_CONFIG"))
    said = _file_settings(config, explicit, os.path.join(cache, "config.json"))
    store, *beneath = _stores(environ, said, cache)
    return Settings(
        engine=environ.get("CWL_USERSPACE_ENGINE") or said.get("engine", "auto"),
        store=store,
        on_unmet=_one_of(environ, said, "on_unmet", ON_UNMET),
        proot=_expand(environ.get("CWL_USERSPACE_PROOT") or said.get("proot", ""), environ),
        registries={
            host: RegistrySettings(tuple(entry["mirrors"]), entry["insecure"])
            for host, entry in said.get("registries", {}).items()
        },
        cache=cache,
        state=_directory(environ, "XDG_STATE_HOME", os.path.join(".local", "state")),
        config=config,
        root_upper=_root_upper(environ, said),
        root_size=_size(environ, said, "root_size"),
        root_ids=_one_of(environ, said, "root_ids", ROOT_IDS) or "auto",
        proot_places=said.get("proot_places", ()),
        local_store=_local_store(environ, said),
        beneath=beneath,
        offline=_truth(environ, said, "offline"),
        share_files=_one_of(environ, said, "share_files", SHARE_FILES) or "auto",
        keep_blobs=_truth(environ, said, "keep_blobs"),
        unpacked_limit=_size(environ, said, "unpacked_limit") or UNPACKED_LIMIT,
    )


def home_directory(environ: Mapping[str, str]) -> str:
    """The user's home: some callers start us without HOME, so ask the accounts then."""
    home = environ.get("HOME", "")
    if os.path.isabs(home):
        return home
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        raise SettingsError(
            "HOME is not set and this user has no account", "set HOME or CWL_USERSPACE_HOME"
        ) from None


def _directory(environ: Mapping[str, str], variable: str, below_home: str) -> str:
    """A directory of ours by the XDG base directory rules; relative paths there are ignored."""
    base = environ.get(variable, "")
    if not os.path.isabs(base):
        base = os.path.join(home_directory(environ), below_home)
    return os.path.join(base, NAME)


def _expand(path: str, environ: Mapping[str, str]) -> str:
    return home_directory(environ) + path[1:] if path == "~" or path.startswith("~/") else path


def _stores(environ: Mapping[str, str], said: dict[str, Any], cache: str) -> list[str]:
    """The user's own store, then those that are only read; each path once.

    CWL_USERSPACE_HOME takes the place of the first. An empty one stands for what there would be
    without the list, so that a site can add its store to everybody's own.
    """
    given = environ.get("CWL_USERSPACE_STORE_PATH")
    path = given.split(":") if given else said.get("store_path") or [""]
    own = environ.get("CWL_USERSPACE_HOME") or path[0] or said.get("store") or cache
    places = (os.path.abspath(_expand(place, environ)) for place in (own, *path[1:]) if place)
    return list(dict.fromkeys(places))


def size_in_bytes(text: str) -> int:
    """``64m`` and the like, as Docker reads them; raise ValueError for what is no size."""
    number = text.lower().removesuffix("ib") if text.lower().endswith("ib") else text.lower()
    number = number.removesuffix("b") if number[-2:-1] in _UNITS and len(number) > 1 else number
    unit = _UNITS.get(number[-1:], 0)
    size = int(float(number[:-1] if unit else number) * (unit or 1))
    if size < 0:
        raise ValueError(text)
    return size


def _one_of(
    environ: Mapping[str, str], said: dict[str, Any], name: str, known: tuple[str, ...]
) -> str:
    value = environ.get(f"CWL_USERSPACE_{name.upper()}") or said.get(name, "")
    if value and value not in known:
        raise SettingsError(f"{name} is {value!r}", f"expected one of {', '.join(known)}")
    return str(value)


def _truth(environ: Mapping[str, str], said: dict[str, Any], name: str) -> bool:
    variable = f"CWL_USERSPACE_{name.upper()}"
    value = environ.get(variable, "").lower()
    if value not in (*_YES, *_NO, ""):
        raise SettingsError(f"{variable} is {value!r}", "expected 1 or 0")
    return value in _YES if value else bool(said.get(name, False))


def _root_upper(environ: Mapping[str, str], said: dict[str, Any]) -> str:
    value = environ.get("CWL_USERSPACE_ROOT_UPPER") or said.get("root_upper", "auto")
    place = _expand(value, environ)
    if value not in _UPPER and not os.path.isabs(place):
        expected = f"expected {', '.join(_UPPER)} or the absolute path of a directory"
        raise SettingsError(f"root_upper is {value!r}", expected)
    return place


def _size(environ: Mapping[str, str], said: dict[str, Any], name: str) -> int:
    value = environ.get(f"CWL_USERSPACE_{name.upper()}") or said.get(name, "0")
    try:
        return size_in_bytes(value)
    except (ValueError, OverflowError):
        raise SettingsError(f"{name} is {value!r}", "expected a size such as 2g") from None


def _local_store(environ: Mapping[str, str], said: dict[str, Any]) -> str:
    """A directory, which may begin with a variable; nowhere where that is not set on this host."""
    value = environ.get("CWL_USERSPACE_LOCAL_STORE") or said.get("local_store", "")
    place = _expand(value, environ)
    if value.startswith("$"):
        first, slash, rest = value[1:].partition("/")
        start = environ.get(first.removeprefix("{").removesuffix("}"), "")
        place = start + slash + rest if start else ""
    if place and not os.path.isabs(place):
        expected = "expected the absolute path of a directory, or ~/DIR, $TMPDIR or $NAME/DIR"
        raise SettingsError(f"local_store is {value!r}", expected)
    return place


def _file_settings(path: str, explicit: bool, cached: str) -> dict[str, Any]:
    """What the file says; an empty answer if there is none and nobody named one."""
    try:
        found = os.stat(path)
    except OSError as error:
        if explicit:
            raise SettingsError(
                f"CWL_USERSPACE_CONFIG names {path!r}, which cannot be read: {error.strerror}",
                "expected a YAML file",
            ) from None
        return {}
    key = [os.path.abspath(path), found.st_ino, found.st_mtime_ns, found.st_size]
    try:
        with open(cached, "rb") as file:
            kept = json.loads(file.read())
        if kept["key"] == key:
            return dict(kept["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from cwl_userspace.settings_file import read

    said = read(path)
    _keep(cached, {"key": key, "settings": said})
    return said


def _keep(path: str, value: object) -> None:
    """Write the parsed settings beside the cache; where that fails the next start parses again."""
    aside = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(value, file)
        os.replace(aside, path)
    except OSError:
        pass
