"""``bootstrap``: an image made of a distribution's packages, without Docker and without rights."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.bootstrap import archive, tool
from cwl_userspace.bootstrap.make import Wanted, bootstrap
from cwl_userspace.cli.build import emulating_root, steps_output
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.import_ import add_tree
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, Words, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.image.treetar import tree_bytes
from cwl_userspace.plan import DEFAULT_PATH
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.users import BUILD, Busy
from cwl_userspace.store.workspace import workspace

OPTIONS = (
    Option("-t --tag", LIST, "a name for the image; the suite's if not given", "NAME"),
    Option("--include", LIST, "packages beside those of the variant", "PACKAGE[,PACKAGE...]"),
    Option("--mirror", VALUE, "where packages are: an address, or a directory", "URL"),
    Option("--variant", VALUE, "how much of a system", "minbase|buildd|standard"),
    Option("--components", VALUE, "parts of the archive, such as main,contrib", "LIST"),
    Option("--arch", VALUE, "Debian's name of the processor, if it is not this host's", "NAME"),
    Option("--no-check-gpg", FLAG, "trust an archive that nobody has signed"),
    Option("-q --quiet", FLAG, "show nothing of what is done, unless it fails"),
    Option("--help", FLAG, "show this text"),
)
# What debootstrap calls its ordinary system.
_VARIANTS = {"": "minbase", "minbase": "minbase", "buildd": "buildd", "standard": "-"}


def command(context: Context, argv: Sequence[str]) -> int:
    """Make one image and print its id; what is done is shown on standard error."""
    words = parse("bootstrap", OPTIONS, argv)
    if words.flag("help"):
        show("bootstrap", "[OPTIONS] DISTRIBUTION:SUITE", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("bootstrap needs one suite", "for example: bootstrap debian:bookworm")
    context.log.quiet = context.log.quiet or words.flag("quiet")
    distribution, suite = archive.parse(words.arguments[0])
    names = [
        ImageReference.parse(name) for name in words.list("tag") or [f"{distribution}:{suite}"]
    ]
    wanted = _wanted(words, distribution, suite)
    archive.check(wanted.origin, suite, context.settings.offline)
    program = tool.find(context.environ) or tool.fetched(
        context.store, context.environ, context.settings.offline
    )
    context.store.prepare()
    with Busy(context.store, BUILD), workspace(context.store) as private:
        with steps_output(words.flag("quiet"), private) as output:
            tree = bootstrap(program, wanted, emulating_root(context, output), private)
        config = {"config": {"Cmd": ["/bin/sh"], "Env": [f"PATH={DEFAULT_PATH}"]}}
        with_rights(lambda: add_tree(context, suite, tree_bytes(tree), names, config))
    return 0


def _wanted(words: Words, distribution: str, suite: str) -> Wanted:
    variant = words.value("variant")
    if variant not in _VARIANTS:
        known = ", ".join(filter(None, _VARIANTS))
        raise UsageError(f"--variant is {variant!r}", f"expected one of {known}")
    return Wanted(
        suite=suite,
        origin=archive.origin(distribution, suite, words.value("mirror")),
        variant=_VARIANTS[variant],
        include=[name for text in words.list("include") for name in text.split(",") if name],
        components=[name for name in words.value("components").split(",") if name],
        architecture=words.value("arch"),
        check_signatures=not words.flag("no-check-gpg"),
    )
