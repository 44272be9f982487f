"""``instance``: containers that go on after the command that started them.

They are what ``run -d`` leaves running, under a name that only these words know.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from cwl_userspace import journal
from cwl_userspace.cli import ending
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.detach import Session, in_background
from cwl_userspace.cli.request import seconds
from cwl_userspace.cli.table import table
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.shims.singularity_image import find
from cwl_userspace.shims.singularity_join import instances, named
from cwl_userspace.shims.singularity_options import platform_of
from cwl_userspace.shims.singularity_run import prepared, read
from cwl_userspace.shims.singularity_start import start as start_container

_STOP = (
    Option("-a --all", FLAG, "all of this user's"),
    Option("-f --force", FLAG, "at once"),
    Option("-s --signal", VALUE, "in place of TERM", "SIGNAL"),
    Option("-t --timeout", VALUE, "seconds until it is forced; 10", "SECONDS"),
)
_LIST = (
    Option("-j --json", FLAG, "as JSON"),
    Option("-l --logs", FLAG, "where what they print is"),
    Option("-a --all", FLAG, "accepted"),
    Option("-u --user", VALUE, "accepted: only one's own are known", "USER"),
)


def instance(context: Context, argv: Sequence[str]) -> int:
    """``instance start|run|stop|list``."""
    verb, *rest = argv or [""]
    known = {"start": _start, "run": _start, "stop": _stop, "list": _list}
    if verb not in known:
        raise UsageError(f"instance has no {verb!r}", f"expected one of {', '.join(known)}")
    return known[verb](context, rest)


def _start(context: Context, argv: Sequence[str]) -> int:
    words = read(context, "instance start", argv)
    if len(words.arguments) < 2:
        raise UsageError(
            "instance start needs an image and a name", "instance start docker://debian NAME"
        )
    image, name, *arguments = words.arguments
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise UsageError(f"{name!r} is no name", "expected letters, digits, '-', '_' and '.'")
    if any(record["name"] == name for record in instances(context)):
        raise UsageError(f"the instance {name!r} runs already", "stop it, or choose another name")
    words.arguments = [image, *arguments]
    identifier = os.urandom(32).hex()
    find(context, image, platform_of(words))  # fetched while there is somebody to look on

    def work(session: Session) -> int:
        try:
            # Prepared here: its tree is in use by the process that goes on, and not by its caller.
            container = prepared(context, "instance", words, identifier)
            facts = {"name": name, "instance": True, "words": words.to_json()}
            container.facts |= {**facts, "working_dir": container.spec.working_dir}
            return start_container(context, container, session)
        finally:
            session.printed()
            journal.remove(context.settings.state, identifier)

    return in_background(context, identifier, journal.LARGEST, work, quiet=True)


def _stop(context: Context, argv: Sequence[str]) -> int:
    words = parse("instance stop", _STOP, argv)
    found = instances(context)
    if not words.flag("all"):
        if not words.arguments:
            raise UsageError("instance stop needs a name", "see instance list, or give --all")
        found = [named(context, text) for text in words.arguments]
    patience = seconds(words.value("timeout", str(ending.PATIENCE)), words.typed("timeout"))
    number = ending.signal(words.value("signal", "TERM"))
    for record in found:
        if words.flag("force") or not ending.end(record, number, patience):
            ending.kill(record)
    return 0


def _list(context: Context, argv: Sequence[str]) -> int:
    words = parse("instance list", _LIST, argv)
    wanted = words.arguments[0] if words.arguments else ""
    found = [record for record in instances(context) if wanted in ("", record["name"])]
    state = context.settings.state
    if words.flag("json"):
        shown = [_as_json(record, state) for record in found]
        print(json.dumps({"instances": shown}, indent="\t"))
        return 0
    last = "LOGS" if words.flag("logs") else "IMAGE"
    rows = []
    for record in found:
        place = journal.path(state, record["id"]) if words.flag("logs") else record["image"]
        rows.append({"name": record["name"], "pid": str(record.get("keeper", "")), "last": place})
    print(table({"name": "INSTANCE NAME", "pid": "PID", "last": last}, rows), end="")
    return 0


def _as_json(record: dict[str, Any], state: str) -> dict[str, Any]:
    log = journal.path(state, record["id"])
    return {
        "instance": record["name"],
        "pid": record.get("keeper", 0),
        "img": record["image"],
        "ip": "",
        "logErrPath": log,
        "logOutPath": log,
    }
