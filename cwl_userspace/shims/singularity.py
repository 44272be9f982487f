"""``singularity`` and ``apptainer``: their words, as workflow engines write them.

Who calls by these names gets what a workflow engine gets: the container ends with its caller, and
what cannot be promised is said in the log.
"""

from __future__ import annotations

import os
import sys

from cwl_userspace.cli import finish, guarded
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError, UserspaceError
from cwl_userspace.shims.caller import variables_for
from cwl_userspace.shims.singularity_environment import own_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from cwl_userspace.cli import Verb

# What ``--version`` prints: some callers compare it before they use an option.
SPOKEN = {"singularity": "singularity-ce version 4.3.1", "apptainer": "apptainer version 1.3.6"}
# How these programs end where they, and not what they run, have failed.
_FAILED = 255
_OURS = (1, UserspaceError.exit_code)
_GLOBAL = (
    Option("-h --help", FLAG, ""),
    Option("--version", FLAG, ""),
    Option("-d --debug", FLAG, ""),
    Option("-q --quiet", FLAG, ""),
    Option("-s --silent", FLAG, ""),
    Option("-v --verbose", FLAG, ""),
    Option("--nocolor", FLAG, ""),
    Option("--build-config", FLAG, ""),
    Option("-c --config", VALUE, ""),
)
# The verbs, and the module of each.
VERBS = {
    "exec": "singularity_run",
    "run": "singularity_run",
    "shell": "singularity_run",
    "test": "singularity_run",
    "pull": "singularity_build",
    "build": "singularity_build",
    "inspect": "singularity_inspect",
    "cache": "singularity_cache",
    "instance": "singularity_instance",
}
_REFUSED = {
    "sign": "images are known by their digests here, and nothing is signed",
    "verify": "images are known by their digests here, which are checked whenever one is unpacked",
    "key": "images are known by their digests here, and nothing is signed",
    "keyserver": "images are known by their digests here, and nothing is signed",
    "remote": "registries are named in the settings of cwl-userspace",
    "registry": "use cwl-userspace login and logout",
    "config": "the settings are those of cwl-userspace, and need no administrator",
    "capability": "no capabilities are given to anybody",
    "push": "cwl-userspace save writes an archive, which skopeo can copy to a registry",
    "search": "there is no library here, only registries",
    "delete": "there is no library here, only registries",
    "overlay": "use --writable-tmpfs, or a sandbox with --writable",
    "plugin": "there are none",
    "oci": "use exec and run",
    "run-help": "use inspect --helpfile",
    "apps": "use inspect --list-apps",
    "sif": "an image is an archive that skopeo and cwl-userspace load can read",
    "checkpoint": "a container cannot be frozen here",
}


def entry(name: str) -> NoReturn:
    """What an executable of this name does: run its command line and end with its exit code."""
    finish(guarded(lambda: _with_its_codes(name), failed=_FAILED))


def _with_its_codes(name: str) -> int:
    try:
        return answer(name, sys.argv[1:], os.environ)
    except UserspaceError as error:
        if error.exit_code in _OURS:
            error.exit_code = _FAILED
        raise


def answer(name: str, words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line of ``singularity``; raise UsageError if it has no meaning."""
    given = parse(name, _GLOBAL, words, options_end_at_argument=True)
    verb, *rest = given.arguments or ["help"]
    if verb == "help" and rest:
        verb, *rest = rest[0], "--help"
    if given.flag("version") or verb == "version":
        print(SPOKEN[name] if given.flag("version") else SPOKEN[name].split()[-1])
        return 0
    if given.flag("help") or verb == "help":
        print(f"{name}, answered by cwl-userspace, with the verbs {', '.join(VERBS)}")
        return 0
    if verb == "buildcfg":
        print("\n".join(f"{key}=" for key in ("PACKAGE_NAME", "SESSIONDIR", "LOCALSTATEDIR")))
        return 0
    quiet = given.flag("quiet") or given.flag("silent")
    return _load(name, verb)(_context(name, environ, quiet), rest)


def _context(name: str, environ: Mapping[str, str], quiet: bool) -> Context:
    return Context({**variables_for(environ, name), **own_variables(environ)}, "", quiet)


def _load(name: str, verb: str) -> Verb:
    if verb not in VERBS:
        hint = _REFUSED.get(verb) or f"known are {', '.join(VERBS)}"
        raise UsageError(f"{name} {verb} is not known here", hint)
    module = __import__(f"cwl_userspace.shims.{VERBS[verb]}", fromlist=["command"])
    command: Verb = getattr(module, "command" if hasattr(module, "command") else verb)
    return command
