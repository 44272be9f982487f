"""What ``docker`` says of a whole host: ``system df``, ``image prune``, networks and volumes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace import containers, runs
from cwl_userspace.cli import load
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.listing import FORMAT, filters, listing, switch
from cwl_userspace.cli.prune import age
from cwl_userspace.cli.table import human_size
from cwl_userspace.cli.words import FLAG, LIST, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.store import records
from cwl_userspace.store.diskuse import disk_use as bytes_on_disk
from cwl_userspace.store.users import in_use

_FILTER = Option("--filter", LIST, "", "KEY=VALUE")
_PRUNE = (
    Option("-a --all", FLAG, "also images with a name that nothing uses"),
    Option("-f --force", FLAG, "do not ask"),
    Option("--volumes", FLAG, "accepted: there are none"),
    _FILTER,
)
_LIST = (
    Option("-q --quiet", FLAG, "only the names"),
    Option("--no-trunc", FLAG, "accepted"),
    Option("-f --filter", LIST, "name= and driver=", "KEY=VALUE"),
    FORMAT,
)
_NETWORKS = (("bridge", "host"), ("host", "host"), ("none", "null"))
_DISK = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}


def image_prune(context: Context, argv: Sequence[str]) -> int:
    """Remove images that have no name, with what else of the store nobody can find any more."""
    words = parse("prune", _PRUNE, argv)
    given = filters(words.list("filter"), ("until", "dangling"))
    named = "dangling" in given and not switch("dangling", given["dangling"])
    everything = named or words.flag("all")
    for text in given.get("until", ()):
        age(text, "the filter until")
    ages = [f"--older-than={text}" for text in given.get("until", ())]
    if ages and not everything:
        ages = []  # what has no name goes whatever its age
    forced = ["--force"] if words.flag("force") else []
    return load("prune")(context, [*forced, *(ages or (["--all"] if everything else []))])


def disk_use(context: Context, argv: Sequence[str]) -> int:
    """Say how much room images, containers and builds take, and how much of it is not in use."""
    options = (FORMAT, Option("-v --verbose", FLAG, "accepted: images -s shows each image"))
    words = parse("system df", options, argv)
    _no_arguments("system df", words.arguments)
    context.store.check()
    store, used = context.store.own, in_use(context.store)
    images = list(records.images(store))
    trees = {image.chain.hex: image.size for image in images}
    live = [run.get("container") for run in runs.running(context.settings.state)]
    made = containers.every(store)
    sizes = {each.id: bytes_on_disk(os.path.dirname(each.rootfs(store))) for each in made}
    build = bytes_on_disk(os.path.join(store.path, "build"))
    rows = [
        _row("Images", len(images), sum(image.chain.hex in used for image in images),
             sum(trees.values()), sum(size for tree, size in trees.items() if tree not in used)),
        _row("Containers", len(made), sum(each.id in live for each in made),
             sum(sizes.values()), sum(sizes[each.id] for each in made if each.id not in live)),
        _row("Local Volumes", 0, 0, 0, 0),
        _row("Build Cache", int(bool(build)), 0, build, build),
    ]  # fmt: skip
    print(listing(words.value("format"), _DISK, rows), end="")
    return 0


def networks(context: Context, argv: Sequence[str]) -> int:
    """List the networks that ``run`` can be given: all are the host's, but for none."""
    titles = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}
    rows = [
        {"ID": name.encode().hex().ljust(12, "0")[:12], "Name": name, "Driver": driver,
         "Scope": "local", "Labels": ""}
        for name, driver in _NETWORKS
    ]  # fmt: skip
    return _listed(argv, "network ls", titles, rows, "ID")


def volumes(context: Context, argv: Sequence[str]) -> int:
    """List volumes with names, of which there are none."""
    return _listed(argv, "volume ls", {"Driver": "DRIVER", "Name": "VOLUME NAME"}, [], "Name")


def _listed(
    argv: Sequence[str], verb: str, titles: dict[str, str], rows: list[dict[str, str]], key: str
) -> int:
    words = parse(verb, _LIST, argv)
    _no_arguments(verb, words.arguments)
    given = filters(words.list("filter"), ("name", "driver", "label", "dangling"))
    if "dangling" in given:
        switch("dangling", given["dangling"])
    rows = [
        row
        for row in rows
        if all(name in row["Name"] for name in given.get("name", ()))
        and all(driver == row["Driver"] for driver in given.get("driver", ()))
        and "label" not in given
    ]
    if words.flag("quiet"):
        print("".join(f"{row[key]}\n" for row in rows), end="")
    else:
        print(listing(words.value("format"), titles, rows), end="")
    return 0


def _row(kind: str, count: int, active: int, size: int, free: int) -> dict[str, str]:
    share = f" ({100 * free // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": str(count),
        "Active": str(active),
        "Size": human_size(size),
        "Reclaimable": human_size(free) + share,
    }


def _no_arguments(verb: str, arguments: Sequence[str]) -> None:
    if arguments:
        raise UsageError(f"{verb} has no argument {arguments[0]!r}", "leave it out")
