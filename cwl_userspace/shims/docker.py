"""``docker`` and ``podman``: their words, as workflow engines write them, answered by our verbs.

Who calls by these names gets what a workflow engine gets: names are those of images, the container
ends with its caller, and what cannot be promised is said in the log.
"""

from __future__ import annotations

import os
import sys

from cwl_userspace.cli import finish, guarded, load
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, LIST, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.shims.caller import variables_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from cwl_userspace.cli import Verb

# Options before the verb: how a daemon is found and what it does, where there is none.
_GLOBAL_FLAGS = "-v --version, -h --help, -D --debug, --tls, --tlsverify, -r --remote, --syslog"
_GLOBAL_VALUES = (
    "-H --host, -c --context --connection, -l --log-level, --config, --url, --identity, "
    "--tlscacert, --tlscert, --tlskey, --root, --runroot, --storage-driver, --storage-opt, "
    "--cgroup-manager, --events-backend, --runtime, --runtime-flag, --tmpdir, --conmon"
)
_GLOBAL = (
    *(Option(spellings, FLAG, "") for spellings in _GLOBAL_FLAGS.split(", ")),
    *(Option(spellings, LIST, "") for spellings in _GLOBAL_VALUES.split(", ")),
)
# The verbs of our own that mean the same, and those that these names add or that differ.
SAME = frozenset(
    "build cp exec export images import inspect kill load login logout logs port ps pull rename "
    "restart rm rmi save start stats stop tag wait".split()
)
OWN = {
    "run": "docker_run",
    "create": "docker_create",
    "top": "docker_containers",
    "version": "docker_facts",
    "info": "docker_facts",
}
# Those that are only known as a part of a group.
_INNER = {
    "container_prune": "docker_containers",
    "image_prune": "docker_system",
    "disk_use": "docker_system",
    "networks": "docker_system",
    "volumes": "docker_system",
}
_OF_CONTAINERS = (
    "cp create exec export kill logs port rename restart rm run start stats stop top wait"
)
_LISTS = ("ls", "list")
_GROUPED: dict[str, dict[str, tuple[str, ...]]] = {
    "image": {
        **{verb: (verb,) for verb in ("build", "import", "load", "pull", "save", "tag")},
        **dict.fromkeys(_LISTS, ("images",)),
        **dict.fromkeys(("rm", "remove"), ("rmi",)),
        "inspect": ("inspect", "--type", "image"),
        "prune": ("image_prune",),
    },
    "container": {
        **{verb: (verb,) for verb in _OF_CONTAINERS.split()},
        **dict.fromkeys((*_LISTS, "ps"), ("ps",)),
        "remove": ("rm",),
        "inspect": ("inspect", "--type", "container"),
        "prune": ("container_prune",),
    },
    "system": {"info": ("info",), "df": ("disk_use",), "prune": ("image_prune",)},
    "network": dict.fromkeys(_LISTS, ("networks",)),
    "volume": dict.fromkeys(_LISTS, ("volumes",)),
    "buildx": {"build": ("build",), "prune": ("image_prune",)},
    "builder": {"build": ("build",), "prune": ("image_prune",)},
}
_INSTEAD = {
    "push": "save writes an archive, which skopeo can copy to a registry",
    "network": "containers have the host's network, or none: give --net none",
    "volume": "there are no named volumes: give a directory with --volume",
}


def entry(name: str) -> NoReturn:
    """What an executable of this name does: run its command line and end with its exit code."""
    finish(guarded(lambda: answer(name, sys.argv[1:], os.environ)))


def answer(name: str, words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line of ``docker`` or ``podman``; raise UsageError if it has no meaning."""
    given = parse(name, _GLOBAL, words, options_end_at_argument=True)
    verb, *rest = given.arguments or ["help"]
    if given.flag("version"):
        verb, rest = "version", ["--short"]
    elif given.flag("help"):
        verb = "help"
    if verb in _INNER:
        raise UsageError(f"{name} {verb} is not known here", f"known are {', '.join(_verbs())}")
    if verb in _GROUPED:
        verb, *rest = _ungrouped(name, verb, rest)
    context = Context(variables_for(environ, name), "", quiet=False)
    if verb == "help":
        print(f"{name}, answered by cwl-userspace, with the verbs {', '.join(_verbs())}")
        print(f"see {name} VERB --help")
        return 0
    return _load(name, verb)(context, rest)


def _ungrouped(name: str, group: str, words: Sequence[str]) -> list[str]:
    """``image ls`` is ``images``."""
    known = _GROUPED[group]
    if not words or words[0] not in known:
        shown = " ".join([group, *words[:1]])
        instead = _INSTEAD.get(group) or _INSTEAD.get(words[0] if words else "")
        hint = instead or f"expected one of {', '.join(known)}"
        raise UsageError(f"{name} {shown} is not known here", hint)
    return [*known[words[0]], *words[1:]]


def _load(name: str, verb: str) -> Verb:
    if verb in SAME:
        return load(verb)
    module_name = OWN.get(verb) or _INNER.get(verb)
    if module_name is None:
        hint = _INSTEAD.get(verb) or f"known are {', '.join(_verbs())}"
        raise UsageError(f"{name} {verb} is not known here", hint)
    module = __import__(f"cwl_userspace.shims.{module_name}", fromlist=[verb])
    command: Verb = getattr(module, verb)
    return command


def _verbs() -> list[str]:
    return sorted({*SAME, *OWN})
