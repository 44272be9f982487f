"""The command ``cwl-userspace``: Docker's words, one file a verb; errors become text here alone."""

from __future__ import annotations

import errno
import os
import sys

from cwl_userspace.cli.words import FLAG, VALUE, HelpAsked, Option, parse
from cwl_userspace.errors import ContainerNotFound, ImageError, UsageError, UserspaceError
from cwl_userspace.kernel.signals import Ended, end_in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from cwl_userspace.cli.context import Context
    from cwl_userspace.process import Usage

    Verb = Callable[[Context, Sequence[str]], int]

# The verb, its module and what it does.
VERBS = {
    "run": ("run", "run a program in a container"),
    "exec": ("exec_", "run another program in a container that runs"),
    "logs": ("logs", "show what a detached container has printed"),
    "stop": ("stop", "ask containers to end, then force them"),
    "wait": ("wait", "wait for the end of containers, and print their exit codes"),
    "create": ("create", "make a container with a writable tree of its own"),
    "start": ("start", "start containers again, detached"),
    "restart": ("start:restart", "stop containers and start them again"),
    "rename": ("rename", "give a container another name"),
    "ps": ("ps", "list the containers that run, or all"),
    "list": ("ps", "the same as ps"),
    "status": ("status", "say of containers what they do"),
    "port": ("status:port", "show where a container's ports are to be reached"),
    "rm": ("rm", "remove containers"),
    "delete": ("rm", "the same as rm"),
    "name": ("name", "give a container one more name"),
    "rmname": ("name:undo", "take a name from a container"),
    "clone": ("clone", "make a container that is a copy of another"),
    "search": ("search", "look for images in a registry, or for the tags of one"),
    "pull": ("pull", "fetch an image"),
    "prefetch": ("prefetch", "fetch every image that CWL documents ask for"),
    "images": ("images", "list the images in the store"),
    "inspect": ("inspect", "show what is known of images and containers, as JSON"),
    "manifest": ("manifest", "show what a registry says of an image"),
    "load": ("load_", "load images from an archive or an OCI layout"),
    "import": ("import_", "make an image of a root file system in a tar"),
    "tag": ("tag", "give an image another name"),
    "rmi": ("rmi", "remove images"),
    "prune": ("prune", "remove what is needed no more"),
    "verify": ("verify", "compare the store with what was recorded, and repair it"),
    "protect": ("protect", "keep images and containers from being removed"),
    "unprotect": ("protect:undo", "let what is protected be removed again"),
    "kill": ("kill", "end a running container"),
    "stats": ("stats", "show what running containers take of memory and processors"),
    "build": ("build", "build an image from a Dockerfile"),
    "bootstrap": ("bootstrap", "make an image of a distribution's packages, without Docker"),
    "save": ("save", "write images to an archive that docker load reads"),
    "flatten": ("flatten", "write an image's tree to a directory, a tar or a squashfs file"),
    "cp": ("cp", "copy files into a container, or out of it"),
    "export": ("export", "write a container's tree to a tar"),
    "shim": ("shim", "make an executable named docker or podman that calls this one"),
    "mkrepo": ("mkrepo", "make an empty store in a directory"),
    "setup": ("setup", "get proot without rights"),
    "login": ("login", "keep a login for a registry, once that has taken it"),
    "logout": ("logout", "forget the login for a registry"),
    "doctor": ("doctor", "say what works on this host, and why the rest does not"),
    "info": ("info", "show what a container gets on this host"),
    "completion": ("completion", "have a shell complete our words: print what does it"),
    "version": ("version", "show the version"),
    "help": ("help", "show all verbs, or how one is used; or write the manual pages"),
}
# What may stand before the verb.
GLOBAL = (
    Option("--engine", VALUE, "what runs containers, for this command; doctor lists them", "NAME"),
    Option("--offline", FLAG, "ask no network"),
    Option("-q --quiet", FLAG, "nothing of ours on standard error but errors"),
    Option("-D --debug", FLAG, "show where an error comes from"),
    Option("--allow-root", FLAG, "accepted: root may always"),
    Option("-v --version", FLAG, "show the version"),
    Option("-h --help", FLAG, "show all verbs"),
)
# What helps against an error of the system that nobody else has put into words.
_HINTS = {
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "make room, or choose another place",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or your quota",
}
# Bytes that are no UTF-8, as Python has them in file names and arguments: they go out as they came.
_RAW_BYTES = frozenset(map(chr, range(0xDC80, 0xDD00)))


def entry() -> NoReturn:
    """The console script: ``main``, and then an end without taking the interpreter apart.

    That would cost a run a seventh of its time, and there is nothing in it to be put away.
    """
    finish(main())


def finish(code: int) -> NoReturn:
    """End this process at once, with what was printed written out, or with one line why not."""
    try:
        _write_out()
    except OSError:  # which the same again meets again; an error that was told is enough
        code = code or guarded(_write_out)
    os._exit(code)


def _write_out() -> int:
    if sys.stdout is not None:  # as it is where the caller has closed it
        sys.stdout.flush()
    return 0


def main(argv: Sequence[str] | None = None, usage: Usage | None = None) -> int:
    """Run one command line; return its exit code. 125 is ours, the rest is the program's.

    ``usage`` is filled in by ``run``; that it is given has the memory of all processes measured.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _dispatch(words, usage), lambda: _debugged(words))


def _debugged(words: Sequence[str]) -> bool:
    """True for ``--debug`` before the verb, or as one of run's own; not among a program's words."""
    try:
        given = parse("", GLOBAL, words, options_end_at_argument=True)
        if given.flag("debug") or given.arguments[:1] != ["run"]:
            return given.flag("debug")
        from cwl_userspace.cli.run_options import OPTIONS

        run = parse("run", OPTIONS, given.arguments[1:], options_end_at_argument=True)
        return run.flag("debug")
    except UsageError:
        return False


def guarded(
    command: Callable[[], int], debugged: Callable[[], bool] = lambda: False, failed: int = 125
) -> int:
    """Run a command; every error becomes one line of text and an exit code, unless ``debugged``,
    which is asked where there is one. ``failed`` is the code of what the system refuses.
    """
    undo = end_in_order()
    try:
        return command()
    except HelpAsked as asked:
        from cwl_userspace.cli.help import usage

        print(usage(asked))
        return 0
    except UserspaceError as error:
        if debugged():
            raise
        complain(str(error))
        return error.exit_code
    except Ended as ended:
        return 128 + ended.signal
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        if debugged():
            raise
        name = error.filename
        about = f": {os.fsdecode(name)}" if isinstance(name, (str, bytes)) and name else ""
        hint = _HINTS.get(error.errno or 0, "see cwl-userspace doctor")
        complain(f"{(error.strerror or str(error)).lower()}{about}; {hint}")
        return failed
    finally:
        undo()


def _dispatch(words: list[str], usage: Usage | None) -> int:
    from cwl_userspace.cli.context import Context

    given = parse("", GLOBAL, words, options_end_at_argument=True)
    verb, *rest = given.arguments or ["help"]
    if given.flag("version") or given.flag("help"):
        verb, rest = "version" if given.flag("version") else "help", []
    if verb == "image" and rest and rest[0] in VERBS:
        verb = rest.pop(0)
    if verb not in VERBS:
        raise unknown_verb(verb)
    context = Context(
        os.environ, given.value("engine"), given.flag("quiet"), usage, given.flag("offline")
    )
    try:
        return load(verb)(context, rest)
    except (ImageError, ContainerNotFound) as error:
        from cwl_userspace.cli.near import suggest

        suggest(context, rest, error)
        raise


def load(verb: str) -> Verb:
    """What runs one of our verbs: ``MODULE`` or ``MODULE:FUNCTION`` in the table."""
    name, _, function = VERBS[verb][0].partition(":")
    module = __import__(f"cwl_userspace.cli.{name}", fromlist=["command"])
    command: Verb = getattr(module, function or "command")
    return command


def unknown_verb(verb: str) -> UsageError:
    """The error of a verb that is none; it names the one that is nearly the same, if any."""
    import difflib

    near = difflib.get_close_matches(verb, VERBS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"verbs: {', '.join(VERBS)}"
    return UsageError(f"no verb {verb!r}", hint)


def complain(message: str) -> None:
    """One line for the user. What an image says is quoted in it: nothing may steer a terminal."""
    line = "".join(c if c.isprintable() or c in _RAW_BYTES else ascii(c)[1:-1] for c in message)
    data = f"cwl-userspace: {line}\n".encode("utf-8", "surrogateescape")
    try:
        os.write(2, data)
    except OSError:
        pass
