"""``docker run``: what it has beyond our own ``run``, and where it means something else."""

from __future__ import annotations

import os

from cwl_userspace.cli.run import command, execute
from cwl_userspace.cli.run_options import OPTIONS
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, parse
from cwl_userspace.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.words import Words

# What a run does as well without; each that is given is named in the log.
_IGNORED_FLAGS = "--no-healthcheck, --oom-kill-disable, --disable-content-trust, --tls-verify"
_IGNORED_VALUES = (
    "--security-opt, --cap-drop, --ulimit, --sysctl, --group-add, --runtime, --isolation, "
    "--ipc, --pid, --uts, --cgroupns, --cgroups, --cgroup-parent, --device-cgroup-rule, "
    "--memory-swap, --memory-swappiness, --memory-reservation, --kernel-memory, --pids-limit, "
    "--cpu-period, --cpu-quota, --cpuset-mems, --blkio-weight, --oom-score-adj, "
    "--label-file, --annotation, --expose, --link, --mac-address, --ip, "
    "--dns, --dns-option, --dns-search, --domainname, --network-alias, "
    "--detach-keys, "
    "--health-cmd, --health-interval, --health-retries, --health-start-period, --health-timeout"
)
IGNORED = (
    *(Option(spellings, FLAG, "") for spellings in _IGNORED_FLAGS.split(", ")),
    *(Option(spellings, LIST, "") for spellings in _IGNORED_VALUES.split(", ")),
)
_REFUSED = (
    (Option("--tmpfs", LIST, ""), "leave the option out: only memory for /dev/shm is given"),
)
_MORE = (
    Option("--volumes-from", LIST, "what another container has mounted", "CONTAINER[:ro]"),
    Option("--pull", VALUE, "when to look for the image anew", "missing|always|never"),
)
ALL = (*OPTIONS, *IGNORED, *_MORE, *(option for option, _ in _REFUSED))
_PULL = ("missing", "always", "never")
_NETWORKS = ("", "none", "host", "bridge", "default")


def run(context: Context, argv: Sequence[str]) -> int:
    """Run a program in a container and return its exit code, as ``docker run`` does."""
    words = parse("run", ALL, argv, options_end_at_argument=True)
    if words.flag("help") or not words.arguments:
        return command(context, ["--help"] if words.flag("help") else [])
    settle(context, words)
    if words.value("name"):  # before anything is fetched
        from cwl_userspace.cli import subjects

        subjects.check_free(context, words.value("name"))
    if not words.flag("interactive"):
        _close_standard_input()
    # Who may ask for it later has a name or an id for it.
    words.flags["keep"] = bool(words.value("name") or words.value("cidfile"))
    return execute(context, words)


def settle(context: Context, words: Words) -> None:
    """Turn Docker's own words into ours; raise UsageError for what cannot be done without."""
    for option, hint in _REFUSED:
        if option.name in words.lists:
            raise UsageError(f"run cannot do what --{option.name} asks for", hint)
    for option in IGNORED:
        if option.name in words.flags or option.name in words.lists:
            context.log.say(f"--{option.name} has no effect here")
    _settle_network(context, words)
    _settle_volumes(context, words)
    _settle_image(context, words)


def _settle_volumes(context: Context, words: Words) -> None:
    """``--volumes-from``: what another container has mounted, in the same places."""
    from cwl_userspace.cli import subjects
    from cwl_userspace.cli.inspect_container import mounts

    for text in words.lists.pop("volumes-from", []):
        name, _, how = text.partition(":")
        if how not in ("", "ro", "rw", "z", "Z"):
            raise UsageError(f"--volumes-from is {text!r}", "expected CONTAINER or CONTAINER:ro")
        for each in mounts(subjects.find(context, name)):
            read_only = ",readonly" if each.read_only or how == "ro" else ""
            words.lists.setdefault("mount", []).append(
                f"type=bind,{_field('source', each.source)},{_field('target', each.target)}"
                f"{read_only}"
            )


def _field(key: str, value: str) -> str:
    """A field of a line of CSV (RFC 4180)."""
    text = f"{key}={value}".replace('"', '""')
    return f'"{text}"'


def _settle_image(context: Context, words: Words) -> None:
    """``--pull``: ask for an image although it is there, or do not although it is not."""
    wanted = words.values.pop("pull", "missing")
    if wanted not in _PULL:
        raise UsageError(f"--pull is {wanted!r}", f"expected one of {', '.join(_PULL)}")
    if wanted == "always":
        from cwl_userspace.cli.fetch import fetch
        from cwl_userspace.reference import ImageReference

        reference = ImageReference.parse(words.arguments[0])
        fetch(context, reference, words.value("platform"), refresh=True)
    elif wanted == "never":
        context.settings.offline = True


def _settle_network(context: Context, words: Words) -> None:
    """A network that an administrator has made for Docker is the host's here."""
    network = words.value("network")
    if network.startswith(("container:", "ns:")):
        raise UsageError(f"no network {network!r}", "there is the host's, and none")
    if network not in _NETWORKS:
        context.log.say(f"the network {network!r} is the host's here")
        words.values["network"] = "host"


def _close_standard_input() -> None:
    """Without ``-i`` a program reads nothing: a loop that reads a list may start containers."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    if nothing != 0:
        os.close(nothing)
