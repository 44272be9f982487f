"""One stage while it is built: how its image is to be run so far, its arguments, its tree."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cwl_userspace.build.dockerfile import Instruction
from cwl_userspace.build.metadata import Document, Text, variables_of
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.worktree import WorkTree
from cwl_userspace.oci import Platform

EPOCH = "1970-01-01T00:00:00Z"
# May be given without being declared, and are part of neither the image nor a step's key.
PROXIES = frozenset(
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (word, word.lower())
)


class Arguments:
    """Values for ARG: those that the caller gave, and those that every build has."""

    def __init__(self, given: Mapping[str, str], target: Platform) -> None:
        self.given = given
        self.used: set[str] = set()
        self.builtin: dict[str, str] = {}
        for prefix, platform in (("TARGET", target), ("BUILD", Platform.host())):
            self.builtin |= {
                f"{prefix}PLATFORM": str(platform),
                f"{prefix}OS": platform.os,
                f"{prefix}ARCH": platform.architecture,
                f"{prefix}VARIANT": platform.variant,
            }
        self.before_from: dict[str, str] = {}

    @property
    def proxies(self) -> dict[str, str]:
        """The proxy settings that were given."""
        return {name: value for name, value in self.given.items() if name in PROXIES}

    def declare(self, text: Text, into: dict[str, str | None], inherit: bool) -> None:
        """Take the names of an ARG: what was given counts, or its default, or that before FROM."""
        for name, default in text.settings():
            if not name:
                raise Problem("has no name", "expected NAME or NAME=DEFAULT")
            value = self.given.get(name, default)
            self.used.add(name)
            if value is None and inherit:
                value = self.before_from.get(name, self.builtin.get(name))
            into[name] = value


class StageState:
    """What a stage is by now."""

    def __init__(self, document: Document, tree: WorkTree) -> None:
        self.document = copy.deepcopy(document)
        config = self.document.get("config") or {}
        # Go writes null for a list or a map that is empty, and so do Docker's own images.
        self.document["config"] = {k: v for k, v in config.items() if v is not None}
        self.document["history"] = self.document.get("history") or []
        self.tree = tree
        self.arguments: dict[str, str | None] = {}
        self.has_cmd = False
        self.created: str = self.document.get("created") or EPOCH

    @property
    def config(self) -> dict[str, Any]:
        """How the image is to be run."""
        config: dict[str, Any] = self.document["config"]
        return config

    @property
    def working_dir(self) -> str:
        """Where a step starts."""
        return self.config.get("WorkingDir") or "/"

    def declared(self) -> dict[str, str]:
        """The arguments that have a value and that no variable hides."""
        hidden = variables_of(self.document)
        return {n: v for n, v in self.arguments.items() if v is not None and n not in hidden}

    def text(self, value: str, escape: str) -> Text:
        """A text in which this stage's variables and arguments can be put."""
        return Text(value, {**self.declared(), **variables_of(self.document)}, escape)

    def note(self, instruction: Instruction, empty: bool) -> None:
        """Add an instruction to the image's history."""
        entry: dict[str, Any] = {"created": self.created, "created_by": str(instruction)}
        if empty:
            entry["empty_layer"] = True
        self.document["history"].append(entry)

    def finished(self) -> Document:
        """The whole image configuration."""
        diff_ids = [str(diff_id) for diff_id in self.tree.diff_ids]
        return {
            **self.document,
            "created": self.created,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
