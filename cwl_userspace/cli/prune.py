"""``prune``: remove from the store what is needed no more, or the whole of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from cwl_userspace import containers, runs
from cwl_userspace.asroot import remove_tree
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.table import human_size
from cwl_userspace.cli.words import FLAG, VALUE, Option, Words, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.settings import size_in_bytes
from cwl_userspace.store.diskuse import disk_use
from cwl_userspace.store.prune import IMAGE, Item, Plan, Wish, carry_out, plan
from cwl_userspace.store.purge import parts, purge

OPTIONS = (
    Option("-f --force", FLAG, "do not ask"),
    Option("-n --dry-run", FLAG, "only say what would be removed"),
    Option("--older-than", VALUE, "also images that nobody has used for so long", "30d"),
    Option("--keep-size", VALUE, "also the images used least recently, down to this size", "20g"),
    Option("-a --all", FLAG, "also every other image that is neither in use nor protected"),
    Option("--whole-store", FLAG, "the store itself, with images, containers and all"),
    Option("--format", VALUE, "json: one object", "json"),
    Option("-q --quiet", FLAG, "print nothing"),
    Option("--help", FLAG, "show this text"),
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def command(context: Context, argv: Sequence[str]) -> int:
    """Say what is to go, ask, remove it, and say what was freed. 1 where the answer is no."""
    words = parse("prune", OPTIONS, argv)
    if words.flag("help"):
        return show("prune", "[OPTIONS]", OPTIONS)
    if words.arguments:
        raise UsageError(
            f"prune has no argument {words.arguments[0]!r}", "remove one image with rmi"
        )
    if words.value("format") not in ("", "json"):
        raise UsageError(f"--format is {words.value('format')!r}", "expected json")
    wish = _wish(words)
    if not (words.flag("force") or words.flag("dry-run") or os.isatty(0)):
        raise UsageError(
            "prune asks before it removes, and standard input is no terminal",
            "give --force, or look with --dry-run",
        )
    if words.flag("whole-store"):
        return _whole(context, words)
    context.store.check()
    found = plan(context.store, wish, _needed(context))
    if words.flag("dry-run"):
        return _report(words, found.items, found, "would free")
    if not words.flag("force") and not _agreed(found.items):
        return 1
    removed = list(carry_out(context.store, found.items, remove_tree))
    return _report(words, removed, found, "freed")


def _wish(words: Words) -> Wish:
    size = words.value("keep-size")
    try:
        keep = size_in_bytes(size) if size else None
    except (ValueError, OverflowError):
        raise UsageError(f"--keep-size is {size!r}", "expected a size such as 20g") from None
    wish = Wish(age(words.value("older-than"), "--older-than"), keep, words.flag("all"))
    if words.flag("whole-store") and wish != Wish():
        raise UsageError("--whole-store leaves nothing to choose", "give no other choice with it")
    return wish


def age(text: str, option: str) -> float | None:
    """``30d`` and the like in seconds, None for nothing; raise UsageError for what is no age."""
    if not text:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "d")
    if not number.isascii() or not number.isdigit():
        raise UsageError(f"{option} is {text!r}", "expected for example 30d, 12h or 2w")
    return float(int(number) * _UNITS[unit])


def _needed(context: Context) -> set[str]:
    """Images that containers were made of, and of runs that could not say so in the store."""
    ids = [container.image for container in containers.every(context.store)]
    ids += [str(run["image"]) for run in runs.running(context.settings.state, True)]
    return {identifier.removeprefix("sha256:") for identifier in ids}


def _agreed(items: Sequence[Item]) -> bool:
    """Show what is to go and ask."""
    for item in items:
        _say(_line(item))
    if not items:
        return True
    size = human_size(sum(item.size for item in items))
    return _ask(f"Remove these {len(items)} things, of {size}?")


def _ask(question: str) -> bool:
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _whole(context: Context, words: Words) -> int:
    """Remove the store itself."""
    store = context.store
    found = parts(store)
    if words.flag("dry-run"):
        size = sum(disk_use(path) for path in found)
        return _say_freed(words, size, [store.path], {}, "would free")
    if not words.flag("force"):
        count = len(containers.every(store))
        question = f"Remove the whole store {store.path}, with its {count} containers?"
        if not _ask(question):
            return 1
    size = purge(store, remove_tree)
    if os.path.isdir(store.path):
        left = sorted(os.listdir(store.path))
        if left and not words.flag("quiet"):
            _say(f"not of the store, and so still in {store.path}: {', '.join(left[:5])}")
    return _say_freed(words, size, [store.path], {}, "freed")


def _report(words: Words, items: Sequence[Item], found: Plan, did: str) -> int:
    if words.value("format"):
        document = {
            "bytes": sum(item.size for item in items),
            "removed": [
                {"kind": i.kind, "what": i.what, "names": list(i.names), "bytes": i.size}
                for i in items
            ],
            "kept": found.kept,
            "dry_run": words.flag("dry-run"),
        }
        print(json.dumps(document))
        return 0
    lines = [_line(item) for item in items]
    return _say_freed(words, sum(item.size for item in items), lines, found.kept, did)


def _say_freed(
    words: Words, size: int, lines: Sequence[str], kept: dict[str, str], did: str
) -> int:
    if words.value("format"):
        print(json.dumps({"bytes": size, "removed": [{"kind": "store", "what": lines[0]}]}))
    elif not words.flag("quiet"):
        for line in lines:
            print(line)
        for name, why in kept.items():
            print(f"kept: {name}: {why}")
        print(f"{did} {human_size(size)}")
    return 0


def _line(item: Item) -> str:
    if item.kind == IMAGE and item.names:
        names = ", ".join(ImageReference.parse(name).familiar for name in item.names)
        return f"image {item.what} ({names})"
    size = f" ({human_size(item.size)})" if item.size else ""
    return f"{item.kind} {item.what}{size}"


def _say(line: str) -> None:
    os.write(2, f"{line}\n".encode("utf-8", "surrogateescape"))
