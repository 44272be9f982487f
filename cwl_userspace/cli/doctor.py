"""``doctor``: what works on this host and why the rest does not, from fresh probes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from cwl_userspace import __version__, limits
from cwl_userspace.cli import doctor_engines as engines
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.template import render
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.engines.choose import AUTO, PREFERRED
from cwl_userspace.errors import UserspaceError
from cwl_userspace.image.layout import Layout
from cwl_userspace.kernel import landlock, seccomp
from cwl_userspace.reference import DOCKER_HUB
from cwl_userspace.settings import RegistrySettings
from cwl_userspace.store import records

OPTIONS = (
    Option("--json", FLAG, "as JSON"),
    Option("-f --format", VALUE, "json, {{.engine}}, {{json .store}} and the like", "TEMPLATE"),
    Option("--offline", FLAG, "do not try to reach registries"),
    Option("--quick", FLAG, "say what engines promise, without trying it"),
    Option("--help", FLAG, "show this text"),
)
_SWITCHES = (
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/kernel/yama/ptrace_scope",
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the report; 0 if some engine works and none breaks a promise, else 1."""
    words = parse("doctor", OPTIONS, argv)
    if words.flag("help"):
        return show("doctor", "[--json] [--format TEMPLATE] [--quick]", OPTIONS)
    offline = words.flag("offline") or context.settings.offline
    report: dict[str, Any] = {
        "version": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "kernel": _kernel(),
        "engines": engines.report(context, tried=not words.flag("quick")),
        "engine": "",
        "limits": limits.means(context.environ),
        "store": _store(context),
        "config": context.settings.config if os.path.exists(context.settings.config) else "",
        "registries": [] if offline else _registries(context),
    }
    report["engine"] = _chosen(context, report["engines"])
    if words.value("format"):
        print(render(words.value("format"), report))
    elif words.flag("json"):
        print(json.dumps(report, indent=4))
    else:
        print(_text(report), end="")
    return 0 if report["engine"] and not engines.broken(report["engines"]) else 1


def _kernel() -> dict[str, Any]:
    facts: dict[str, Any] = {
        "release": os.uname().release,
        "machine": os.uname().machine,
        "landlock": landlock.abi(),
        "seccomp": seccomp.available(),
    }
    for path in _SWITCHES:
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            facts[path.removeprefix("/proc/sys/").replace("/", ".")] = file.read().strip()
    return facts


def _chosen(context: Context, found: list[dict[str, Any]]) -> str:
    wanted = context.engine
    working = [e["name"] for e in found if e["works"]]
    preferred = PREFERRED if wanted == AUTO else (wanted,)
    return next((name for name in preferred if name in working), "")


def _store(context: Context) -> dict[str, Any]:
    path = context.store.path
    facts: dict[str, Any] = {"path": path, "images": 0, "trees": 0, "problem": ""}
    try:
        context.store.check()
        facts["images"] = len(records.identifiers(context.store.own))
        facts["trees"], facts["bytes"] = _trees(path)
        others = [store for store in context.store.all() if store.path != path]
        shown = (f"{store.path}: {len(records.identifiers(store))} images" for store in others)
        facts["beneath"] = "; ".join([*shown, *filter(None, [context.store.trouble])])
    except UserspaceError as error:
        facts["problem"] = str(error)
    nearest = path
    while not os.path.isdir(nearest):
        nearest = os.path.dirname(nearest)
    space = os.statvfs(nearest)
    facts["free bytes"] = space.f_bavail * space.f_frsize
    facts["file system"] = _file_system(nearest)
    facts["noexec"] = bool(space.f_flag & os.ST_NOEXEC)
    facts["writable"] = _writable(nearest)
    facts["locks"] = _locks(nearest) if facts["writable"] else "not tried: not writable"
    return facts


def _trees(path: str) -> tuple[int, int]:
    count = size = 0
    top = os.path.join(path, "trees")
    for name in os.listdir(top) if os.path.isdir(top) else ():
        with (
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
            open(os.path.join(top, name, "tree.json"), "rb") as file,
        ):
            size += json.loads(file.read())["bytes"]
            count += 1
    return count, size


def _file_system(path: str) -> str:
    """The type of the file system that a path is on (proc(5), mountinfo)."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return "unknown"


def _writable(path: str) -> bool:
    """True if a file can really be made: access(2) says yes to root on a read-only store."""
    name = os.path.join(path, f".cwl-userspace-doctor-{os.getpid()}")
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.unlink(name)
        return True
    except OSError:
        return False


def _locks(path: str) -> str:
    name = os.path.join(path, f".cwl-userspace-doctor-{os.getpid()}")
    first = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    second = os.open(name, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "flock locks nothing here: work may be done twice, nothing breaks"
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return "flock works on this host"
        return f"flock does not work: {error.strerror}; work may be done twice, nothing breaks"
    finally:
        os.close(first)
        os.close(second)
        os.unlink(name)


def _registries(context: Context) -> list[dict[str, str]]:
    found = []
    for host, entry in (context.settings.registries or {DOCKER_HUB: RegistrySettings()}).items():
        for mirror in entry.mirrors:
            found.append({"name": f"{host} by {mirror}", "problem": _mirror_problem(host, mirror)})
        found.append({"name": host, "problem": _registry_problem(host, None, entry.insecure)})
    return found


def _mirror_problem(host: str, mirror: str) -> str:
    if not mirror.startswith("oci:"):
        return _registry_problem(host, mirror, False)
    try:
        Layout.directory(mirror.removeprefix("oci:")).entries()
    except UserspaceError as error:
        return str(error)
    return ""


def _registry_problem(host: str, endpoint: str | None, insecure: bool) -> str:
    from cwl_userspace.image.registry import Registry

    try:
        Registry(host, endpoint=endpoint, insecure=insecure, timeouts=(3.0, 3.0)).ping()
    except UserspaceError as error:
        return str(error)
    return ""


def _text(report: dict[str, Any]) -> str:
    lines = [f"cwl-userspace {report['version']}, Python {report['python']}", "", "kernel"]
    lines += [f"  {name}: {value}" for name, value in report["kernel"].items()]
    lines += ["", "engines"]
    lines += engines.text(report["engines"], report["engine"])
    lines += ["", "limits"]
    lines += [f"  {name}: {value}" for name, value in report["limits"].items()]
    lines += ["", "store"]
    lines += [f"  {name}: {value}" for name, value in report["store"].items() if value != ""]
    if report["config"]:
        lines += ["", f"settings from {report['config']}"]
    if report["registries"]:
        lines += ["", "registries"]
        lines += [f"  {r['name']}: {r['problem'] or 'answers'}" for r in report["registries"]]
    return "\n".join(lines) + "\n"
