"""Read the YAML settings file; every complaint names the file, the line and what was expected."""

from __future__ import annotations

import contextlib
import difflib
import re
from typing import Any, NoReturn

from cwl_userspace.errors import SettingsError

_HEX = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("engine", "store", "local_store", "on_unmet", "proot", "root_upper", "root_size",
          "root_ids", "share_files")  # fmt: skip
_TOP = (*_TEXTS, "keep_blobs", "offline", "proot_places", "registries", "store_path")
_REGISTRY = ("mirrors", "insecure")
_PLACE = ("url", "sha256")


def read(path: str) -> dict[str, Any]:
    """The settings as plain values, checked; raise SettingsError for what has no meaning."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        with open(path, encoding="utf-8") as file:
            document = YAML(typ="rt").load(file)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise SettingsError(f"{where}: not YAML: {problem}", "mend that line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "expected a YAML file") from None
    if document is None:
        return {}
    _check_mapping(path, 1, document, "the file", _TOP)
    settings: dict[str, Any] = {}
    for key in _TEXTS:
        if key in document:
            settings[key] = _string(path, document, key)
    if "offline" in document:
        settings["offline"] = _truth(path, document, "offline")
    if "proot_places" in document:
        settings["proot_places"] = _places(path, document)
    if "store_path" in document:
        settings["store_path"] = _store_path(path, document)
    if "keep_blobs" in document:
        settings["keep_blobs"] = _truth(path, document, "keep_blobs")
    settings["registries"] = _registries(path, document)
    return settings


def _store_path(path: str, document: Any) -> list[str]:
    """Stores in the order in which they are looked into; only the first is written."""
    stores: Any = document["store_path"]
    line = _line(document, "store_path")
    if not isinstance(stores, list) or not stores or not all(isinstance(s, str) for s in stores):
        _refuse(path, line, "store_path", stores, "a list of directories, your own store first")
    if "store" in document:
        raise SettingsError(
            f"{path}:{line}: store and store_path both say where your store is",
            "leave out store: the first of store_path is yours",
        )
    return [str(store) for store in stores]


def _places(path: str, document: Any) -> list[list[str]]:
    """Where proot may be fetched: addresses, or ``url`` and ``sha256`` of a build."""
    places: Any = document["proot_places"]
    line = _line(document, "proot_places")
    if not isinstance(places, list):
        _refuse(path, line, "proot_places", places, "a list of addresses")
    found = []
    for number, place in enumerate(places):
        at = line
        with contextlib.suppress(AttributeError, KeyError, TypeError, IndexError):
            at = int(document["proot_places"].lc.item(number)[0]) + 1
        if isinstance(place, str):
            place = {"url": place}
        _check_mapping(path, at, place, "a place", _PLACE)
        url, sha256 = place.get("url"), place.get("sha256", "")
        if not isinstance(url, str) or not url.startswith(("http://", "https://", "file:///", "/")):
            _refuse(path, at, "a place's url", url, "http://, https:// or a file's path")
        if not isinstance(sha256, str) or (sha256 and not _HEX.fullmatch(sha256.lower())):
            _refuse(path, at, "a place's sha256", sha256, "64 hexadecimal digits in quotes")
        found.append([url, sha256.lower()])
    return found


def _registries(path: str, document: Any) -> dict[str, Any]:
    table = document.get("registries")
    if table is None:
        return {}
    line = _line(document, "registries")
    _check_mapping(path, line, table, "registries", None)
    found: dict[str, Any] = {}
    for host in table:
        entry = table[host] if table[host] is not None else {}
        _check_mapping(path, _line(table, host), entry, f"the registry {host}", _REGISTRY)
        mirrors = entry.get("mirrors", [])
        insecure = _truth(path, entry, "insecure") if "insecure" in entry else False
        if not isinstance(mirrors, list) or not all(isinstance(m, str) for m in mirrors):
            _refuse(path, _line(entry, "mirrors"), "mirrors", mirrors, "a list of addresses")
        for mirror in mirrors:
            if not mirror.startswith(("http://", "https://", "oci:")):
                expected = "http://HOST, https://HOST or oci:DIRECTORY"
                _refuse(path, _line(entry, "mirrors"), "a mirror", mirror, expected)
        found[str(host)] = {"mirrors": [str(m) for m in mirrors], "insecure": insecure}
    return found


def _check_mapping(
    path: str, line: int, value: Any, what: str, known: tuple[str, ...] | None
) -> None:
    if not isinstance(value, dict):
        _refuse(path, line, what, value, "keys and values")
    for key in value:
        if known is not None and key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise SettingsError(f"{path}:{_line(value, key)}: unknown key {str(key)!r}", hint)


def _string(path: str, document: Any, key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        _refuse(path, _line(document, key), key, value, "text")
    return str(value)


def _truth(path: str, document: Any, key: str) -> bool:
    value = document[key]
    if not isinstance(value, bool):
        _refuse(path, _line(document, key), key, value, "true or false")
    return bool(value)


def _line(mapping: Any, key: Any) -> int:
    try:
        return int(mapping.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return 1


def _refuse(path: str, line: int, what: str, value: Any, expected: str) -> NoReturn:
    raise SettingsError(f"{path}:{line}: {what} is {value!r:.80}", f"expected {expected}")
