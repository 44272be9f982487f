"""``udocker``: the words of udocker 1.3, answered by our verbs and our store.

A repository of udocker's is a store of ours. What goes wrong is one line that begins with
``Error:`` and the exit code 1, or 2 where ``run`` finds no program to run, as udocker has it.
"""

from __future__ import annotations

import os
import sys

from cwl_userspace.cli import finish, guarded
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import CommandNotExecutable, CommandNotFound, UsageError, UserspaceError
from cwl_userspace.shims.caller import variables_for
from cwl_userspace.shims.udocker_words import Insecure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from cwl_userspace.cli import Verb

GLOBAL = (
    Option("-D --debug", FLAG, "show where an error comes from"),
    Option("-q --quiet", FLAG, "no lines that begin with Info:"),
    Option("--insecure", FLAG, "accept registries whose certificate nobody vouches for"),
    Option("--repo", VALUE, "use the repository in this directory", "DIR"),
    Option("--allow-root", FLAG, "accepted: root may run it"),
    Option("--config", VALUE, "our settings file (not udocker's)", "FILE"),
    Option("-h --help", FLAG, "this text, or that of a command"),
    Option("-V --version", FLAG, "the version"),
)
# Each command, its module and the function there, its arguments, and what it does.
COMMANDS = {
    "search": ("images:search", "[options] <repo/expression>", "look for images in a registry"),
    "pull": ("images:pull", "[options] <repo/image:tag>", "fetch an image"),
    "images": ("images:images", "[options]", "list the images"),
    "rmi": ("images:rmi", "[-f] <repo/image:tag>", "delete an image"),
    "tag": ("images:tag", "<repo/image:tag> <repo2/image2:tag2>", "give an image one more name"),
    "verify": ("images:verify", "<repo/image:tag>", "compare an image with what was recorded"),
    "manifest": ("images:manifest", "inspect [options] <repo/image:tag>", "a registry's manifest"),
    "protect": ("images:protect", "<image or container>", "forbid that it is deleted"),
    "unprotect": ("images:unprotect", "<image or container>", "let it be deleted again"),
    "login": ("images:login", "[options]", "keep a login for a registry"),
    "logout": ("images:logout", "[-a] [options]", "forget logins"),
    "create": ("containers:create", "[options] <repo/image:tag>", "make a container of an image"),
    "ps": ("containers:ps", "[options]", "list the containers"),
    "inspect": ("containers:inspect", "[-p] <image or container>", "what is known of it, as JSON"),
    "name": ("containers:name", "<container> <name>", "give a container one more name"),
    "rename": ("containers:rename", "<name> <new name>", "change a name of a container"),
    "rmname": ("containers:rmname", "<name>", "take a name away"),
    "rm": ("containers:rm", "[-f] <container>...", "delete containers"),
    "clone": ("containers:clone", "[options] <container>", "copy a container"),
    "setup": ("setup:setup", "[options] [<container>]", "say how a container is to be run"),
    "run": ("run:run", "[options] <container or image> [command...]", "run a program"),
    "import": ("files:import_", "[options] <tar|-|URL> <repo/image:tag>", "an image of a tar"),
    "export": ("files:export", "[--clone] [-o <tar>] <container>", "a container's tree as a tar"),
    "load": ("files:load", "[-i <file>]", "images that docker or udocker saved"),
    "save": ("files:save", "[-o <file>] <repo/image:tag>...", "images as docker load reads them"),
    "mkrepo": ("setup:mkrepo", "<directory>", "make a repository in a directory"),
    "install": ("setup:install", "", "nothing: there is nothing more to install"),
    "showconf": ("setup:showconf", "", "show the settings"),
    "listconf": ("setup:showconf", "", "the same"),
    "version": ("setup:version", "", "show the version"),
    "help": ("setup:help", "[<command>]", "show this text, or that of a command"),
}


def entry(name: str) -> NoReturn:
    """What an executable of this name does: run its command line and end with its exit code."""
    words = sys.argv[1:]
    finish(guarded(lambda: told(words, os.environ), lambda: _debugged(words)))


def _debugged(words: Sequence[str]) -> bool:
    try:
        return parse("udocker", GLOBAL, words, options_end_at_argument=True).flag("debug")
    except UsageError:
        return False


def told(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command line; an error of ours becomes a line and a code as udocker has them."""
    try:
        return answer(words, environ)
    except UserspaceError as error:
        if _debugged(words):
            raise
        sys.stdout.flush()
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))
        os.write(2, f"Error: {line}\n".encode("utf-8", "backslashreplace"))
        missing = isinstance(error, (CommandNotFound, CommandNotExecutable))
        return 2 if missing else error.exit_code if error.exit_code in (124, 137) else 1


def answer(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line of ``udocker``; raise UsageError if it has no meaning."""
    given = parse("udocker", GLOBAL, words, options_end_at_argument=True)
    command, *rest = given.arguments or ["help"]
    if given.flag("version"):
        command, rest = "version", []
    elif given.flag("help"):
        command, rest = "help", given.arguments
    if command not in COMMANDS:
        raise UsageError(f"invalid command: {command}", f"known are {', '.join(COMMANDS)}")
    if any(word in ("--help", "-h") for word in rest[:1]) and command != "help":
        command, rest = "help", [command]
    said = {name: given.value(name) for name in ("repo", "config")}
    context = Context(_environment(environ, said), "", given.flag("quiet"))
    # It promises little, and scripts that call it expect no more.
    context.settings.on_unmet = context.settings.on_unmet or "warn"
    if given.flag("insecure"):
        context.settings.registries = Insecure(context.settings.registries)
    return _load(command)(context, rest)


def _environment(environ: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    """The caller's, with the store where udocker would have its repository, if he says where."""
    found = variables_for(environ)
    place = said["repo"] or environ.get("UDOCKER_DIR", "")
    if place:
        place = os.path.abspath(os.path.expanduser(place))
        theirs = os.path.isdir(os.path.join(place, "repos"))
        found["CWL_USERSPACE_HOME"] = os.path.join(place, "cwl-userspace") if theirs else place
        found.pop("CWL_USERSPACE_STORE_PATH", None)
    if said["config"]:
        found["CWL_USERSPACE_CONFIG"] = said["config"]
    return found


def _load(command: str) -> Verb:
    module, _, function = COMMANDS[command][0].partition(":")
    found = __import__(f"cwl_userspace.shims.udocker_{module}", fromlist=[function])
    verb: Verb = getattr(found, function)
    return verb
