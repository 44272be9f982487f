"""``ps``: the containers that run, and with ``-a`` also those that create made or that ended."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from cwl_userspace import aliases
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.listing import FORMAT, filters, label_text, listing
from cwl_userspace.cli.pslist import FILTERS, chosen, created, labels
from cwl_userspace.cli.subjects import Subject
from cwl_userspace.cli.table import human_size
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, parse
from cwl_userspace.containers import Container
from cwl_userspace.errors import UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.diskuse import disk_use

OPTIONS = (
    Option("-a --all", FLAG, "also what does not run now"),
    Option("-q --quiet", FLAG, "only the ids"),
    Option("-s --size", FLAG, "also how much room the tree of each takes"),
    Option("-m --mode", FLAG, "also the engine that each runs, or last ran, with"),
    Option("--no-trunc", FLAG, "whole ids"),
    Option("-n --last", VALUE, "the last ones, whether they run or not", "N"),
    Option("-l --latest", FLAG, "the last one, whether it runs or not"),
    Option("-f --filter", LIST, f"by {', '.join(FILTERS)}", "KEY=VALUE"),
    FORMAT,
    Option("--help", FLAG, "show this text"),
)
_TITLES = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "CreatedAt": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}
_NAMES = {"RunningFor": "CREATED", "LocalVolumes": "LOCAL VOLUMES"}
_UNITS = (("weeks", 604800), ("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))


def command(context: Context, argv: Sequence[str]) -> int:
    """List containers: each that was created, each run, and each that ended and is known."""
    words = parse("ps", OPTIONS, argv)
    if words.flag("help"):
        return show("ps", "[OPTIONS]", OPTIONS)
    if words.arguments:
        raise UsageError(f"ps has no argument {words.arguments[0]!r}", "see cwl-userspace ps -a")
    context.store.check()
    last = 1 if words.flag("latest") else _count(words.value("last"), words.typed("last"))
    given = filters(words.list("filter"), FILTERS)
    found = chosen(context, given, words.flag("all") or last > 0)
    rows = [_row(context, subject, words.flag("size")) for subject in found[-last:]]
    if not words.flag("no-trunc"):
        rows = [{**row, "ID": row["ID"][:12]} for row in rows]
    if words.flag("quiet"):
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        more = {"Size": "SIZE"} if words.flag("size") else {}
        more |= {"Engine": "ENGINE"} if words.flag("mode") else {}
        print(listing(words.value("format"), {**_TITLES, **more}, rows, _NAMES), end="")
    return 0


def _count(text: str, option: str) -> int:
    """How many of the last are wanted; 0 for all."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or not int(text):
        raise UsageError(f"{option} is {text!r}", "expected a number such as 3")
    return int(text)


def status(subject: Subject) -> str:
    """What a container does, or how it ended."""
    if subject.running:
        away = [str(r["host"]) for r in subject.running if subjects.is_away(r)]
        if away:
            return f"Up, for all that is known here, on {', '.join(away)}"
        return f"Up (process {', '.join(str(r['pid']) for r in subject.running)})"
    if subject.ended is None:
        return "Created"
    why = f", {subject.ended['why']}" if subject.ended.get("why") else ""
    return f"Exited ({subject.ended['code']}) {_ago(float(subject.ended['ended']))}{why}"


def _row(context: Context, subject: Subject, sizes: bool) -> dict[str, str]:
    last = subject.running[-1] if subject.running else subject.ended or {}
    made = subject.made
    image = made.image_name if made is not None else _image(context, last)
    since = created(subject)
    ports = [port for record in subject.running for port in record.get("ports", ())]
    return {
        "ID": subject.id,
        "Image": image,
        "Command": shlex.join(last.get("argv", ())),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(since)),
        "State": subject.state,
        "Status": status(subject),
        "Labels": label_text(labels(subject)),
        "LocalVolumes": "0",
        "Networks": "host",
        "Ports": ", ".join(ports),
        "RunningFor": _ago(since),
        "Names": ",".join((subject.shown, *aliases.of(context.store, subject.id))),
        "Engine": str(last.get("engine") or ""),
        "Size": _size(context, made) if sizes and made is not None else "",
    }


def _size(context: Context, container: Container) -> str:
    return human_size(disk_use(container.rootfs(context.store)))


def _image(context: Context, record: dict[str, object]) -> str:
    """A name of an image; the beginning of its id where it has none."""
    identifier = str(record.get("image") or "")
    for name, image in records.names(context.store):
        if image == identifier:
            return ImageReference.parse(name).familiar
    return identifier.removeprefix("sha256:")[:12]


def _ago(when: float) -> str:
    passed = max(0, int(time.time() - when))
    for unit, length in _UNITS:
        if passed >= 2 * length or length == 1:
            return f"{passed // length} {unit} ago"
    raise AssertionError(passed)
