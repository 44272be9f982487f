"""``udocker run``: its options as those of our own ``run``, and a container that stays.

An image is run in a new container of its own, which stays unless ``--rm`` is given, as udocker has
it; but nothing is kept of what cwltool runs.
"""

from __future__ import annotations

import glob
import os
import posixpath

from cwl_userspace import marks
from cwl_userspace.cli import run as verb
from cwl_userspace.cli.request import request_of
from cwl_userspace.cli.run_options import OPTIONS as OURS
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, parse
from cwl_userspace.errors import UsageError, UserspaceError
from cwl_userspace.kernel.signals import ignores_hangup
from cwl_userspace.settings import home_directory
from cwl_userspace.shims.udocker_containers import PULL, WHEN, delete, have_image, make
from cwl_userspace.shims.udocker_modes import use_mode
from cwl_userspace.shims.udocker_words import (
    container_of,
    image_name,
    known_container,
    place_of,
    use_network,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.words import Words
    from cwl_userspace.containers import Container
    from cwl_userspace.spec import ImageConfig

_PASSED = (
    Option("-e --env", LIST, "set a variable, or pass it on", "NAME[=VALUE]"),
    Option("--env-file", LIST, "variables from a file", "FILE"),
    Option("-w --workdir", VALUE, "the working directory", "DIR"),
    Option("--entrypoint", VALUE, "in place of the image's; empty for none", "PROGRAM"),
    Option("--cpuset-cpus", VALUE, "run on these processors only", "LIST"),
    Option("--device", LIST, "show a device of the host", "PATH"),
    Option("-p --publish", LIST, "a port of the host for one of the container", "HOST:PORT"),
    Option("-h --hostname", VALUE, "the name of the host inside", "NAME"),
    Option("--gpus", VALUE, "show NVIDIA GPUs and the host's driver", "all|N"),
    Option("--shm-size", VALUE, "the size of /dev/shm", "SIZE"),
)
# A run does as well without them; each that is given is named in the log.
_IGNORED = (
    Option("-P --publish-all --netcoop", FLAG, "accepted: all ports are the host's"),
    Option("--containerauth", FLAG, "accepted: the container's accounts are always used"),
    Option("--kernel", VALUE, "accepted: the kernel says what it is", "ID"),
    Option("--nobanner", FLAG, "accepted: there is none"),
    Option("--volumes-from", LIST, "accepted", "NAME"),
    Option("--dns", LIST, "accepted: the host's are asked", "ADDRESS"),
    Option("--dns-search", LIST, "accepted", "DOMAIN"),
    Option("-i --interactive", FLAG, "accepted: standard input is always passed on"),
    Option("-t --tty", FLAG, "accepted: a terminal is passed on where there is one"),
    Option("-a --attach", FLAG, "accepted"),
    Option("--cap-add", LIST, "accepted, gives nothing", "NAME"),
    Option("--cap-drop", LIST, "accepted, takes nothing", "NAME"),
)
OPTIONS = {
    "run": (
        Option("--rm", FLAG, "delete the container afterwards"),
        Option("--name", VALUE, "a name for the container", "NAME"),
        Option("-v --volume", LIST, "show a directory or file of the host", "HOST[:DIR]"),
        Option("--novol", LIST, "not this one after all", "HOST"),
        Option("-u --user", VALUE, "who to be; root if nobody says", "USER[:GROUP]"),
        Option("--hostauth", FLAG, "the host's accounts in place of the container's"),
        Option("--hostenv", FLAG, "pass the caller's variables on"),
        Option("--bindhome", FLAG, "show the caller's home, and have it be HOME"),
        Option("--dri", FLAG, "show what direct rendering needs"),
        Option("--nometa", FLAG, "what the image says of how to run it does not count"),
        Option("--nosysdirs", FLAG, "without the host's /sys; /dev and /proc are its own anyway"),
        Option("--location", VALUE, "a container that is no repository's", "DIR"),
        *_PASSED,
        *PULL,
        *_IGNORED,
    )
}
# Silent: udocker's callers give them always.
_QUIET = ("nobanner", "interactive", "tty", "attach")
# The container has its own, which show little of the host.
_OWN_PLACES = ("/proc", "/dev")
_SYS = "/sys"
_NOT_PASSED = frozenset(
    "PATH HOME HOSTNAME USER LOGNAME USERNAME PWD OLDPWD SHLVL _ VTE_VERSION".split()
)
_DRI = ("/usr/lib64/dri", "/lib64/dri", "/usr/lib/dri", "/lib/dri", "/usr/lib/*/dri")
_SHELL = "command -v bash >/dev/null 2>&1 && exec bash -i; exec sh -i"


def run(context: Context, argv: Sequence[str]) -> int:
    """Run a program in a container and return its exit code."""
    words = parse("run", OPTIONS["run"], _with_when(argv), options_end_at_argument=True)
    if not words.arguments and not words.value("location"):
        raise UsageError("must specify a container or image:tag", "udocker run IMAGE COMMAND")
    if not words.arguments:
        words.arguments = ["location"]
    for option in _IGNORED:
        given = words.flag(option.name) or words.value(option.name) or words.list(option.name)
        if given and option.name not in _QUIET:
            context.log.say(f"--{option.name} has no effect here")
    if words.value("location"):
        from cwl_userspace.outside import container_at

        return _execute(context, words, container_at(words.value("location")).config, "")
    container = _existing(context, words)
    if container is None:
        return _run_image(context, words)
    return _run_in(context, words, container)


def _with_when(argv: Sequence[str]) -> list[str]:
    """``--pull`` without a word that says when is to always ask."""
    words = list(argv)
    for place, word in enumerate(words[:-1]):
        if not word.startswith("-"):
            break
        if word == "--pull" and words[place + 1] not in WHEN:
            words[place] = "--pull=always"
    return words


def _existing(context: Context, words: Words) -> Container | None:
    """The container that is named, or whose name is to be used again; None for an image."""
    name, text = words.value("name"), words.arguments[0]
    if verb.is_cwltool(words):
        return None
    named = known_container(context, name) if name else None
    if named is not None and words.value("pull") == "reuse":
        return named
    container = known_container(context, text)
    if container is None and named is not None:
        raise UsageError(
            f"the container name {name!r} is taken", "udocker run --pull=reuse uses it"
        )
    if container is not None and name:
        if named is not None:
            raise UsageError(f"the container name {name!r} is taken", "leave --name out")
        from cwl_userspace.cli import load

        load("name")(context, [container.id, name])
    return container


def _run_image(context: Context, words: Words) -> int:
    """Run in a container of its own; one that is not to stay is never made."""
    image = image_name(words.arguments[0])
    use_network(context, words, image)
    when = words.value("pull", "missing")
    record = have_image(
        context, image, "missing" if when == "reuse" else when, words.value("platform")
    )
    words.arguments[0] = image
    if words.flag("rm") or verb.is_cwltool(words):
        use_mode(context, {})
        return _execute(context, words, record.config, words.value("name"))
    identifier = make(context, image, words.value("name"))
    return _run_in(context, words, container_of(context, identifier))


def _run_in(context: Context, words: Words, container: Container) -> int:
    marked = marks.read(context.store, place_of(container))
    use_mode(context, marked)
    if marked.get("nvidia"):
        words.values.setdefault("gpus", "all")
    words.arguments[0] = container.name
    try:
        return _execute(context, words, container.config, "")
    finally:
        if words.flag("rm") and not marked.get("protected"):
            _delete(context, container)


def _delete(context: Context, container: Container) -> None:
    """Remove a container after its run, whose exit code counts, and not whether this went well."""
    context.log.quiet = True
    try:
        delete(context, container, False)
    except UserspaceError as error:
        context.log.say(str(error))


def _execute(context: Context, words: Words, config: ImageConfig, name: str) -> int:
    """Run by our own verb, with the options in its words."""
    config = type(config)() if words.flag("nometa") else config
    given = [*_options(context, words, config), *([f"--name={name}"] if name else [])]
    command = words.arguments[1:]
    entrypoint = words.values.get("entrypoint", " ".join(config.entrypoint))
    if not (command or entrypoint or config.cmd):
        command = ["sh", "-c", _SHELL]
    ours = parse("run", OURS, [*given, words.arguments[0], *command], options_end_at_argument=True)
    request_of(ours, context.environ)  # a bad value is found before anything runs
    return verb.execute(context, ours)


def _options(context: Context, words: Words, config: ImageConfig) -> Iterator[str]:
    environ = context.environ
    for option in _PASSED:
        values = [*words.list(option.name)]
        if option.name in words.values:
            values.append(words.values[option.name])
        if option.name == "env":
            values = [*_environment(words, config, environ), *values]
        yield from (f"{words.typed(option.name)}={value}" for value in values)
    yield from (f"{words.typed('volume')}={volume}" for volume in _volumes(context, words))
    if words.flag("dri"):
        yield from (f"--device={path}" for path in sorted(glob.glob("/dev/dri/*[0-9]")))
    user = _user(context, words, config)
    if user:
        yield f"--user={user}"
    if not _is_left_to_itself():
        yield "--die-with-parent"
    if words.flag("nometa"):
        yield "--no-metadata"
    if words.value("location"):
        yield f"--rootfs={words.value('location')}"
    if os.isatty(0) and os.isatty(1):
        yield "--tty"


def _environment(words: Words, config: ImageConfig, environ: Mapping[str, str]) -> Iterator[str]:
    """The caller's variables that are passed on; what the image sets is the image's."""
    known = {setting.partition("=")[0] for setting in config.env}
    for name, value in sorted(environ.items()):
        ours = name.startswith("CWL_USERSPACE_") or name in _NOT_PASSED or name in known
        if not ours and (words.flag("hostenv") or name == "TERM"):
            yield f"{name}={value}"
    if words.flag("bindhome"):
        yield f"HOME={home_directory(environ)}"


def _volumes(context: Context, words: Words) -> Iterator[str]:
    """What is to be seen of the host, but for what ``--novol`` takes back."""
    wanted = [*words.list("volume")]
    if not (words.flag("nosysdirs") or verb.is_cwltool(words)):
        wanted.insert(0, _SYS)
    if words.flag("bindhome"):
        wanted.append(home_directory(context.environ))
    if words.flag("hostauth"):
        wanted += [path for path in ("/etc/passwd", "/etc/group") if os.path.exists(path)]
    if words.flag("dri"):
        wanted += [path for pattern in _DRI for path in glob.glob(pattern)]
    refused = {posixpath.normpath(path) for path in words.list("novol")}
    for text in wanted:
        source = posixpath.normpath(text.partition(":")[0])
        target = posixpath.normpath(text.partition(":")[2] or source)
        if source in refused:
            continue
        if source == target and source in _OWN_PLACES:
            context.log.say(f"the container has a {source} of its own")
            continue
        # Root could change this host's settings there.
        yield f"{_SYS}:{_SYS}:ro" if text == _SYS and os.geteuid() == 0 else text


def _is_left_to_itself() -> bool:
    """True for what is to go on when its caller ends: a job of a person's shell, which gives each
    a process group of its own, and what nohup(1) has started. Programs that call udocker do
    neither, and nobody else would end what they have started once they are killed.
    """
    return os.getpgrp() == os.getpid() or ignores_hangup()


def _user(context: Context, words: Words, config: ImageConfig) -> str:
    """Who the program is: root where nobody says, but for cwltool, and with fakechroot.

    A name of the host's is a number for us, who look names up in the image.
    """
    user = words.value("user") or config.user
    if not user:
        nobody = verb.is_cwltool(words) or context.engine == "fakechroot"
        return "" if nobody else "root"
    name, colon, group = user.partition(":")
    if not words.flag("hostauth") or name.isdigit():
        return user
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"user not found: {name!r}", "--hostauth takes the host's users") from None
    return f"{found.pw_uid}:{group if colon else found.pw_gid}"
