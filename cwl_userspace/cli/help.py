"""``help``: the verbs, or one verb's options."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.words import Option


def show(verb: str, arguments: str, options: Sequence[Option]) -> int:
    """Print the usage of one verb."""
    from cwl_userspace.cli import VERBS
    from cwl_userspace.cli.words import usage

    print(usage(verb, arguments, VERBS[verb][1], options))
    return 0


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the list of verbs, or what ``VERB --help`` prints."""
    from cwl_userspace.cli import VERBS, load

    if argv and argv[0] in VERBS and argv[0] != "help":
        return load(argv[0])(context, ["--help"])
    print("usage: cwl-userspace [--engine NAME] [--offline] [--quiet] [--debug] VERB ...\n")
    print("Run the container of any CWL tool in user space.\n\nverbs:")
    for verb, (_, summary) in VERBS.items():
        print(f"  {verb:<10} {summary}")
    print("\nsee cwl-userspace VERB --help; errors of ours exit with 125")
    return 0
