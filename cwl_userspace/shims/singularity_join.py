"""Join an instance that runs: ``exec``, ``run`` and ``shell`` with ``instance://NAME``."""

from __future__ import annotations

import os
from typing import Any

from cwl_userspace import process, runs
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import Words
from cwl_userspace.engines.joining import Joining, Program
from cwl_userspace.errors import ContainerNotFound, UsageError
from cwl_userspace.shims.singularity_environment import about, variables
from cwl_userspace.shims.singularity_image import split
from cwl_userspace.shims.singularity_scripts import command_of
from cwl_userspace.spec import ImageConfig
from cwl_userspace.stdin import open_closed_streams


def join(context: Context, verb: str, words: Words) -> int:
    """Run a program in an instance, with the variables of this call, and return its exit code."""
    record = named(context, split(words.arguments[0])[1])
    if "keeper" not in record:
        raise UsageError(f"the instance {record['name']!r} has not started yet", "wait a moment")
    open_closed_streams()
    joining = Joining(record["launch"], record["keeper"])
    config = ImageConfig(*record["config"])
    found = variables(words, context.environ, config.env, about(context, verb, words))
    argv, environment = command_of(verb, words, joining.root, config, found, record["home"])
    program = Program(
        argv=argv,
        environment=environment,
        working_dir=words.value("pwd") or record["working_dir"],
        user=None,
        terminal=verb == "shell" and os.isatty(0) and os.isatty(1),
    )
    return process.run(
        joining.launch(program), context.caller, say=context.log.say, until=record["pid"]
    )


def instances(context: Context) -> list[dict[str, Any]]:
    """The records of those that run, by name."""
    found = [record for record in runs.running(context.settings.state) if record.get("instance")]
    return sorted(found, key=lambda record: str(record["name"]))


def named(context: Context, text: str) -> dict[str, Any]:
    """The record of one; raise ContainerNotFound if none has the name."""
    for record in instances(context):
        if text == record["name"]:
            return record
    raise ContainerNotFound(f"no instance {text!r}", "see instance list")
