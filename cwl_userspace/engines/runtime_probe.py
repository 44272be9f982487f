"""Find out what a runtime can do here, by running a container of it."""

from __future__ import annotations

import json
import os
from typing import Any

from cwl_userspace.engines import bundle, trial
from cwl_userspace.engines.probe import why_not

_PACKAGE = "there is no {0}; install the package {0}"


def examine(name: str, path: str, options: tuple[str, ...]) -> dict[str, Any]:
    """Facts about the runtime at ``path``; ``reason`` says why it cannot be used, or is empty."""

    def attempt(directory: str) -> dict[str, Any]:
        reason = ""
        for fresh, recursive in ((True, True), (True, False), (False, True), (False, False)):
            found = _failure([path, *options], directory, fresh, recursive)
            if not found:
                return {"reason": "", "fresh_proc": fresh, "recursive": recursive}
            reason = reason or found
        return {"reason": f"{reason}{why_not()}", "fresh_proc": False, "recursive": False}

    return trial.try_out(path, _PACKAGE.format(name), attempt)


def _failure(command: list[str], directory: str, fresh: bool, recursive: bool) -> str:
    kind = "rro" if recursive else "ro"
    bound = {"destination": "/bound", "type": "bind", "source": directory}
    document = bundle.minimal(
        root=os.path.join(directory, "root"),
        args=["/shim"],
        fresh_proc=fresh,
        asked=[{**bound, "options": ["rbind", kind]}],
    )
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as file:
        json.dump(document, file)
    state = os.path.join(directory, "state")
    words = ["run", "--no-new-keyring", "--bundle", directory, f"probe-{os.getpid()}"]
    return trial.failure([*command, "--root", state, *words])
