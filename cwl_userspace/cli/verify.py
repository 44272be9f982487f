"""``verify``: hold the store against what was recorded when it was filled."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.examine import Examined, Scope, examine, scope_of
from cwl_userspace.cli.help import show
from cwl_userspace.cli.mend import mend, record
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.store import unsynced
from cwl_userspace.store.store import Store

OPTIONS = (
    Option("--repair", FLAG, "fetch anew what is wrong, and what nothing is recorded of"),
    Option("--record", FLAG, "record trees of which nothing is recorded as they are now"),
    Option("--quick", FLAG, "names, kinds, sizes, modes and times: read no file of a tree"),
    Option("-q --quiet", FLAG, "only what is wrong"),
    Option("--help", FLAG, "show this text; 0 if nothing is wrong, or nothing any more, else 1"),
)
_SHOWN = 8


def command(context: Context, argv: Sequence[str]) -> int:
    """Check the images that are named, or all of them and what else the store has."""
    words = parse("verify", OPTIONS, argv)
    if words.flag("help"):
        return show("verify", "[OPTIONS] [IMAGE...]", OPTIONS)
    context.store.check()
    context.log.quiet = context.log.quiet or words.flag("quiet")
    scope = scope_of(context.store, words.arguments)
    quiet, quick = words.flag("quiet"), words.flag("quick")
    found = _examine(context, scope, quick, quiet)
    if not quick:
        _confirm(context.store, found)
    if words.flag("record"):
        for line in record(context, found):
            print(_printable(line))
    if words.flag("repair") and (found.wrong or found.unrecorded):
        done, failed = mend(context, found)
        for line in (*done, *failed):
            print(_printable(line))
        if found.wrong and done:
            found = _examine(context, scope_of(context.store, words.arguments), quick, quiet)
        return 1 if failed or found.wrong else 0
    return 1 if found.wrong else 0


def _examine(context: Context, scope: Scope, quick: bool, quiet: bool) -> Examined:
    start = time.monotonic()
    found = examine(context.store, scope, content=not quick)
    seconds = max(time.monotonic() - start, 0.001)
    for line in _lines(found, quiet):
        print(_printable(line))
    if not quiet:
        megabytes = found.size / 1e6
        count = len(found.images)
        print(
            f"verified {count} image{'' if count == 1 else 's'}: {found.files} files, "
            f"{megabytes:.0f} MB in {seconds:.1f} s ({megabytes / seconds:.0f} MB/s)",
            flush=True,
        )
    return found


def _confirm(store: Store, found: Examined) -> None:
    """Trust trees that are as they were recorded, whatever crash there was."""
    for chain, tree in found.trees.items():
        if tree.recorded and not tree.differences and not tree.unread:
            unsynced.confirm(store, f"trees/{chain}")


def _lines(found: Examined, quiet: bool) -> list[str]:
    lines = [f"{problem.where}: {problem.what}" for problem in found.problems]
    for image in found.images:
        tree = found.trees.get(image.chain)
        if tree is None:
            continue
        if tree.differences:
            counts = ", ".join(f"{number} {kind}" for kind, number in tree.counts())
            lines.append(f"{image.label}: the tree is not as it was recorded: {counts}")
            for kind, name, how in tree.differences[:_SHOWN]:
                lines.append(f"    {kind:<11} {name or '.'}{': ' if how else ''}{how}")
            if len(tree.differences) > _SHOWN:
                lines.append(f"    and {len(tree.differences) - _SHOWN} more")
        elif not tree.recorded and not quiet:
            lines.append(f"{image.label}: nothing is recorded of its tree; --record does it")
        elif not quiet:
            lines.append(f"{image.label}: {tree.files} files as they were recorded")
        if tree.unread and not quiet:
            lines.append(f"    {len(tree.unread)} could not be read, as their modes say")
    if found.loose and not quiet:
        lines.append(f"no image's: {', '.join(found.loose)}; prune removes that")
    return lines


def _printable(line: str) -> str:
    """A line that may have names in it which an image chose: nothing may steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
