"""udocker's commands for how things are set up, and for help."""

from __future__ import annotations

from cwl_userspace import __version__, marks
from cwl_userspace.cli import load
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.engines.choose import choose
from cwl_userspace.errors import UsageError
from cwl_userspace.shims.udocker_modes import MODES, check, mode_of
from cwl_userspace.shims.udocker_words import container_of, only, place_of, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context

# The version whose words are understood; scripts compare it.
SPOKEN = "1.3.17"
OPTIONS = {
    "setup": (
        Option("--execmode", VALUE, "how the container is to be run, see below", "MODE"),
        Option("--nvidia", FLAG, "show it NVIDIA GPUs and the host's driver in every run"),
        Option("--force", FLAG, "set a mode that does not work here, too"),
        Option("--purge", FLAG, "accepted: no run leaves anything behind in it"),
        Option("--fixperm", FLAG, "accepted: its files belong to you"),
    ),
    "mkrepo": (),
    "install": (
        Option("--force", FLAG, "accepted"),
        Option("--purge", FLAG, "accepted"),
        Option("--upgrade", FLAG, "accepted"),
    ),
    "showconf": (),
    "version": (),
    "help": (),
}


def setup(context: Context, argv: Sequence[str]) -> int:
    """Change how a container is run, or with no option say how."""
    words = parse("setup", OPTIONS["setup"], argv)
    mode = check(words.value("execmode")) if words.value("execmode") else ""
    container = container_of(context, only("setup", words, "a container"))
    place = place_of(container)
    if mode:
        engine, meaning = MODES[mode]
        if not words.flag("force"):
            choose(engine, context.settings, context.environ)
        marks.write(context.store, place, execmode=mode)
        tell(context, f"execmode {mode} is {meaning}")
    if words.flag("nvidia"):
        marks.write(context.store, place, nvidia=True)
    if not (mode or words.flags):
        marked = marks.read(context.store, place)
        print(f"execmode: {mode_of(context, marked)}")
        print(f"nvidiamode: {bool(marked.get('nvidia'))}")
    return 0


def mkrepo(context: Context, argv: Sequence[str]) -> int:
    """Make an empty repository in a directory that is not there yet."""
    return load("mkrepo")(context, [only("mkrepo", parse("mkrepo", (), argv), "a directory")])


def install(context: Context, argv: Sequence[str]) -> int:
    """There is nothing to install: what makes containers is part of this program."""
    parse("install", OPTIONS["install"], argv)
    tell(context, "nothing to install; see cwl-userspace doctor for what works here")
    return 0


def showconf(context: Context, argv: Sequence[str]) -> int:
    """Print every setting with its value."""
    parse("showconf", (), argv)
    print("-" * 80)
    print("\t\tConfiguration options")
    settings = context.settings
    for name in sorted(settings.__slots__):
        value = getattr(settings, name)
        if name == "registries":
            value = {host: (entry.mirrors, entry.insecure) for host, entry in value.items()}
        print(f"{name} = {value}")
    print("-" * 80)
    return 0


def version(context: Context, argv: Sequence[str]) -> int:
    """Print the version whose words are understood, and ours."""
    parse("version", (), argv)
    print(f"version: {SPOKEN}")
    print(f"tarball: none, cwl-userspace {__version__} answers")
    print(f"tarball_release: {__version__}")
    return 0


def help(context: Context, argv: Sequence[str]) -> int:
    """Print all commands, or the options of one."""
    from cwl_userspace.shims.udocker import COMMANDS, GLOBAL

    if not argv:
        print("usage: udocker [options] <command> [options of the command] ...\n\noptions:")
        print(listed(GLOBAL))
        print("\ncommands:")
        for command, (_, arguments, summary) in COMMANDS.items():
            print(f"  {command + ' ' + arguments:<52} {summary}")
        print(f"\nudocker {SPOKEN}'s words, answered by cwl-userspace {__version__}.")
        return 0
    command = argv[0]
    if command not in COMMANDS:
        raise UsageError(f"invalid command: {command}", f"known are {', '.join(COMMANDS)}")
    place, arguments, summary = COMMANDS[command]
    module = place.partition(":")[0]
    known = __import__(f"cwl_userspace.shims.udocker_{module}", fromlist=["OPTIONS"]).OPTIONS
    options = known.get(command) or known.get("showconf", ())
    print(f"usage: udocker {command} {arguments}".rstrip())
    print(f"\n{summary}")
    if options:
        print(f"\noptions:\n{listed(options)}")
    if command == "setup":
        print("\nmodes:")
        print("\n".join(f"  {mode}  {meaning}" for mode, (_, meaning) in MODES.items()))
    return 0


def listed(options: Sequence[Option]) -> str:
    """A line for each option."""
    lines = []
    for option in options:
        left = ", ".join(option.spellings) + (f"={option.metavar}" if option.metavar else "")
        lines.append(f"  {left:<34} {option.help}".rstrip())
    return "\n".join(lines)
