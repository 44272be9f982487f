"""The command ``cwl-userspace``: Docker's words, one file a verb; errors become text here alone."""

from __future__ import annotations

import os
import sys

from cwl_userspace.errors import UsageError, UserspaceError

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
    "create": ("create", "make a container with a writable tree of its own"),
    "ps": ("ps", "list the containers that run, or all"),
    "rm": ("rm", "remove containers"),
    "name": ("name", "give a container one more name"),
    "rmname": ("name:undo", "take a name from a container"),
    "clone": ("clone", "make a container that is a copy of another"),
    "search": ("search", "look for images in a registry, or for the tags of one"),
    "pull": ("pull", "fetch an image"),
    "prefetch": ("prefetch", "fetch every image that CWL documents ask for"),
    "images": ("images", "list the images in the store"),
    "inspect": ("inspect", "show what is known of images and containers, as JSON"),
    "manifest": ("manifest", "show what a registry says of an image"),
    "load": ("load", "load images from an archive or an OCI layout"),
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
    "version": ("version", "show the version"),
    "help": ("help", "show this text"),
}
# Bytes that are no UTF-8, as Python has them in file names and arguments: they go out as they came.
_RAW_BYTES = frozenset(map(chr, range(0xDC80, 0xDD00)))
_GLOBAL_FLAGS = ("--quiet", "-q", "--offline", "--debug", "-D", "--allow-root")


def entry() -> NoReturn:
    """The console script: ``main``, and then an end without taking the interpreter apart.

    That would cost a run a seventh of its time, and there is nothing in it to be put away.
    """
    finish(main())


def finish(code: int) -> NoReturn:
    """End this process at once, with what was printed written out."""
    try:
        if sys.stdout is not None:  # as it is where the caller has closed it
            sys.stdout.flush()
    except OSError:
        code = code or 141
    os._exit(code)


def main(argv: Sequence[str] | None = None, usage: Usage | None = None) -> int:
    """Run one command line; return its exit code. 125 is ours, the rest is the program's.

    ``usage`` is filled in by ``run``; that it is given has the memory of all processes measured.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words[:3] or "-D" in words[:3]
    return guarded(lambda: _dispatch(words, usage), debug)


def guarded(command: Callable[[], int], debug: bool = False) -> int:
    """Run a command; every error becomes one line of text and an exit code, unless ``debug``."""
    try:
        return command()
    except UserspaceError as error:
        if debug:
            raise
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        if debug:
            raise
        about = f": {error.filename}" if error.filename else ""
        complain(f"{(error.strerror or str(error)).lower()}{about}; see cwl-userspace doctor")
        return 125


def _dispatch(words: list[str], usage: Usage | None) -> int:
    from cwl_userspace.cli.context import Context

    engine, quiet, offline = "", False, False
    while words and words[0].startswith("-"):
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name == "--engine":
            if not equals and not words:
                raise UsageError("--engine needs a name", "for example --engine proot")
            engine = value if equals else words.pop(0)
        elif word in ("--version", "-v"):
            words.insert(0, "version")
        elif word in ("--help", "-h"):
            words.insert(0, "help")
        elif word in _GLOBAL_FLAGS:
            quiet = quiet or word in ("--quiet", "-q")
            offline = offline or word == "--offline"
        else:
            raise UsageError(f"no option {word} before the verb", "see cwl-userspace help")
    verb = words.pop(0) if words else "help"
    if verb == "image" and words and words[0] in VERBS:
        verb = words.pop(0)
    if verb not in VERBS:
        raise UsageError(f"no verb {verb!r}", _nearest(verb))
    return load(verb)(Context(os.environ, engine, quiet, usage, offline), words)


def load(verb: str) -> Verb:
    """What runs one of our verbs: ``MODULE`` or ``MODULE:FUNCTION`` in the table."""
    name, _, function = VERBS[verb][0].partition(":")
    module = __import__(f"cwl_userspace.cli.{name}", fromlist=["command"])
    command: Verb = getattr(module, function or "command")
    return command


def _nearest(verb: str) -> str:
    import difflib

    near = difflib.get_close_matches(verb, VERBS, 1)
    return f"did you mean {near[0]!r}?" if near else f"verbs: {', '.join(VERBS)}"


def complain(message: str) -> None:
    """One line for the user. What an image says is quoted in it: nothing may steer a terminal."""
    line = "".join(c if c.isprintable() or c in _RAW_BYTES else ascii(c)[1:-1] for c in message)
    data = f"cwl-userspace: {line}\n".encode("utf-8", "surrogateescape")
    try:
        os.write(2, data)
    except OSError:
        pass
