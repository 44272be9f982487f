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
    from collections.abc import Mapping
    from typing import Any

NAME = "cwl-userspace"
ON_UNMET = ("refuse", "warn")


class RegistrySettings:
    """How to reach one registry: mirrors to try first, and whether plain HTTP is allowed."""

    __slots__ = ("insecure", "mirrors")

    def __init__(self, mirrors: tuple[str, ...] = (), insecure: bool = False) -> None:
        self.mirrors = mirrors
        self.insecure = insecure


class Settings:
    """Everything that a user can set. ``on_unmet`` is empty where nobody has decided."""

    __slots__ = ("cache", "config", "engine", "on_unmet", "proot", "registries", "state", "store")

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
    ) -> None:
        self.engine = engine
        self.store = store
        self.on_unmet = on_unmet
        self.proot = proot
        self.registries = registries
        self.cache = cache
        self.state = state
        self.config = config


def load(environ: Mapping[str, str]) -> Settings:
    """Settings for this user; raise SettingsError for a file or value that has no meaning."""
    cache = _directory(environ, "XDG_CACHE_HOME", ".cache")
    config = environ.get("CWL_USERSPACE_CONFIG") or os.path.join(
        _directory(environ, "XDG_CONFIG_HOME", ".config"), "config.yml"
    )
    explicit = bool(environ.get("CWL_USERSPACE_CONFIG"))
    said = _file_settings(config, explicit, os.path.join(cache, "config.json"))
    store = environ.get("CWL_USERSPACE_HOME") or said.get("store") or cache
    return Settings(
        engine=environ.get("CWL_USERSPACE_ENGINE") or said.get("engine", "auto"),
        store=os.path.abspath(_expand(store, environ)),
        on_unmet=_on_unmet(environ, said),
        proot=_expand(environ.get("CWL_USERSPACE_PROOT") or said.get("proot", ""), environ),
        registries={
            host: RegistrySettings(tuple(entry["mirrors"]), entry["insecure"])
            for host, entry in said.get("registries", {}).items()
        },
        cache=cache,
        state=_directory(environ, "XDG_STATE_HOME", os.path.join(".local", "state")),
        config=config,
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


def _on_unmet(environ: Mapping[str, str], said: dict[str, Any]) -> str:
    value = environ.get("CWL_USERSPACE_ON_UNMET") or said.get("on_unmet", "")
    if value and value not in ON_UNMET:
        raise SettingsError(f"on_unmet is {value!r}", f"expected one of {', '.join(ON_UNMET)}")
    return str(value)


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
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(value, file)
        os.replace(aside, path)
    except OSError:
        pass
