"""``exec``: another program in a container that runs, beside its own."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from typing import Any

from cwl_userspace import hostfacts, process
from cwl_userspace.accounts import identify
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.request import environment_of
from cwl_userspace.cli.run import check_terminal
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, Words, parse
from cwl_userspace.engines.joining import Joining, Program
from cwl_userspace.errors import UsageError
from cwl_userspace.stdin import open_closed_streams

OPTIONS = (
    Option("-i --interactive", FLAG, "pass standard input on"),
    Option("-t --tty", FLAG, "a terminal of its own"),
    Option("-e --env", LIST, "set a variable, or pass it on", "NAME[=VALUE]"),
    Option("--env-file", LIST, "variables from a file", "FILE"),
    Option("-w --workdir", VALUE, "working directory in the container", "DIR"),
    Option("-u --user", VALUE, "name or number of the user inside", "USER[:GROUP]"),
    Option("-d --detach", FLAG, "leave it running there; what it prints is lost"),
    Option("--privileged", FLAG, "accepted, gives nothing"),
    Option("--detach-keys", VALUE, "accepted", "KEYS"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Run a program in a container that runs, and return its exit code."""
    words = parse("exec", OPTIONS, argv, options_end_at_argument=True)
    if words.flag("help"):
        return show("exec", "[OPTIONS] CONTAINER COMMAND [ARG...]", OPTIONS)
    if len(words.arguments) < 2:
        raise UsageError(
            "exec needs a container and a command", "for example: cwl-userspace exec web ls"
        )
    open_closed_streams()
    check_terminal(words)
    record = _record(context, words.arguments[0])
    joining = Joining(record["launch"], record["keeper"])
    launch = joining.launch(_program(words, context, record, joining))
    if words.flag("detach"):
        from cwl_userspace.cli.detach import Session, in_background

        def run(session: Session) -> int:
            return process.run(launch, started=lambda _: session.started(), until=record["pid"])

        return in_background(context, "", 0, run, quiet=True)
    if not words.flag("interactive"):
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
    return process.run(launch, say=context.log.say, until=record["pid"])


def _record(context: Context, text: str) -> dict[str, Any]:
    """What is known of the run that is to be joined; raise UserspaceError if it cannot be."""
    record = subjects.find(context, text).run()
    if subjects.is_away(record):
        raise subjects.failure(f"{text!r} runs on {record['host']}", "join it there")
    if "launch" not in record:
        raise subjects.failure(
            f"{text!r} has no name, so nobody wrote down how to join it",
            "start it with run -d or --name",
        )
    if "keeper" not in record:
        raise subjects.failure(f"{text!r} has not started yet", "wait a moment")
    return record


def _program(words: Words, context: Context, record: dict[str, Any], joining: Joining) -> Program:
    """What is to be run, by Docker's rules: the container's own variables and directory, and what
    was asked for.
    """
    environment = joining.environment
    user = None
    if words.value("user"):
        identity = identify(words.value("user"), hostfacts.accounts(joining.root))
        user = (identity.uid, identity.gid)
        joining.check_user(user)
        environment["HOME"] = identity.home
    if words.flag("tty"):
        environment.setdefault("TERM", "xterm")
    environment.update(environment_of(words, context.environ))
    directory = posixpath.join(record["working_dir"], words.value("workdir"))
    return Program(
        argv=words.arguments[1:],
        environment=environment,
        working_dir=posixpath.normpath(directory),
        user=user,
        terminal=words.flag("tty"),
    )
