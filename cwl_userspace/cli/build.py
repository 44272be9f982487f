"""``build``: an image from a Dockerfile."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy

from cwl_userspace.build.builder import Builder, Means, Options
from cwl_userspace.build.context import read
from cwl_userspace.build.running import Runner
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.fetch import fetch, find_or_fetch
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, Words, parse
from cwl_userspace.engines.base import EMULATED_ROOT
from cwl_userspace.engines.choose import choose
from cwl_userspace.errors import UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.inuse import RUN
from cwl_userspace.store.records import Record
from cwl_userspace.store.users import BUILD, Busy
from cwl_userspace.store.workspace import workspace

OPTIONS = (
    Option("-t --tag", LIST, "a name for the image", "NAME"),
    Option("-f --file", VALUE, "the Dockerfile, if it is not PATH/Dockerfile", "FILE|-"),
    Option("--build-arg", LIST, "a value for ARG, or pass a variable on", "NAME[=VALUE]"),
    Option("--target", VALUE, "build this stage, and what it needs", "STAGE"),
    Option("--no-cache", FLAG, "do every step again"),
    Option("--pull", FLAG, "look base images up anew"),
    Option("--platform", VALUE, "take base images for another platform", "OS/ARCH"),
    Option("--label", LIST, "a label for the image", "NAME=VALUE"),
    Option("--net --network", VALUE, "none: RUN has no network", "none|host|default"),
    Option("-q --quiet", FLAG, "print nothing but the image's id, unless a step fails"),
    Option("--iidfile", VALUE, "write the image's id to a file", "FILE"),
    Option("--help", FLAG, "show this text"),
    Option("--rm", FLAG, "accepted: nothing is left of a step"),
    Option("--force-rm", FLAG, "accepted: nothing is left of a step"),
    Option("--load", FLAG, "accepted: the image is always in the store"),
    Option("--progress", VALUE, "accepted: it is always plain", "KIND"),
)
_NETWORKS = ("", "default", "host", "none")


def command(context: Context, argv: Sequence[str]) -> int:
    """Build one image and print its id; what the steps print goes to standard error."""
    words = parse("build", OPTIONS, argv)
    if words.flag("help"):
        return show("build", "[OPTIONS] PATH|-", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("build needs one directory", "for example: cwl-userspace build -t NAME .")
    context.log.quiet = context.log.quiet or words.flag("quiet")
    options = _options(context, words)
    context.store.prepare()
    with workspace(context.store) as private, ExitStack() as uses:
        uses.enter_context(Busy(context.store, BUILD))
        given = read(words.arguments[0], words.value("file"), private)
        quiet = words.flag("quiet")
        output = uses.enter_context(steps_output(quiet, private))
        means = Means(
            store=context.store,
            private=private,
            context=given.context,
            fetch=lambda name, platform: _image(context, name, platform, words.flag("pull"), uses),
            runner=lambda: emulating_root(context, output),
            say=lambda text: None if quiet else _say(text),
            offline=context.settings.offline,
        )
        record = Builder(given.dockerfile, options, means).build()
    if words.value("iidfile"):
        with open(words.value("iidfile"), "w", encoding="ascii") as file:
            file.write(str(record.id))
    print(record.id)
    return 0


def _options(context: Context, words: Words) -> Options:
    network = words.value("network")
    if network not in _NETWORKS:
        raise UsageError(
            f"{words.typed('network')} is {network!r}", "expected none, host or default"
        )
    arguments = {}
    for text in words.list("build-arg"):
        name, equals, value = text.partition("=")
        if equals:
            arguments[name] = value
        elif name in context.environ:
            arguments[name] = context.environ[name]
    labels = {}
    for text in words.list("label"):
        name, _, labels[name] = text.partition("=")
    return Options(
        arguments=arguments,
        labels=labels,
        names=[ImageReference.parse(name) for name in words.list("tag")],
        target=words.value("target"),
        platform=words.value("platform"),
        network_off=network == "none",
        use_cache=not words.flag("no-cache"),
    )


def _image(context: Context, name: str, platform: str, refresh: bool, uses: ExitStack) -> Record:
    """An image whose tree is in use until the build has ended."""
    if refresh:
        record = fetch(context, ImageReference.parse(name), platform, refresh=True)
    else:
        record = find_or_fetch(context, name, platform)
    context.stored_tree(record)  # steps look for trees, and not for packs
    uses.enter_context(Busy(context.store, RUN, record.chain.hex))
    return record


def emulating_root(context: Context, output: int) -> Runner:
    """What runs containers in which an ordinary user looks like root; raise EngineError if none."""
    settings = copy(context.settings)
    settings.root_ids = "emulated"  # in an image's tree all files are the caller's
    engine = choose(context.engine, settings, context.environ, EMULATED_ROOT)
    warn = context.settings.on_unmet == "warn"
    return Runner(engine, context.environ, context.settings.cache, output, warn)


def _say(text: str) -> None:
    """A line; what a Dockerfile says of itself is quoted in it, so nothing may steer a terminal."""
    line = "".join(c if c.isprintable() or c == "\t" else " " for c in text)
    os.write(2, f"{line}\n".encode("utf-8", "surrogateescape"))


@contextmanager
def steps_output(quiet: bool, private: str) -> Iterator[int]:
    """Where steps print to: standard error, or if it is to be quiet only where something fails."""
    if not quiet:
        yield 2
        return
    path = os.path.join(private, "output")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    output = os.open(path, flags, 0o600)
    try:
        yield output
    except BaseException:
        os.lseek(output, 0, os.SEEK_SET)
        while chunk := os.read(output, 1 << 16):
            sys.stderr.buffer.write(chunk)
        sys.stderr.flush()
        raise
