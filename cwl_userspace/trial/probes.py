"""What an engine really keeps: containers that try to break each promise, and what they got.

A probe that finds nothing proves nothing by itself, so each shows that it could have found
something: that the listener answers while the network is on, that a bind can be written where it
may be, that what must not survive was alive.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cwl_userspace.engines import base
from cwl_userspace.spec import Mount
from cwl_userspace.trial import endings
from cwl_userspace.trial.changes import differences, manifest
from cwl_userspace.trial.container import Container, Untold, specify, told
from cwl_userspace.trial.surroundings import VARIABLE, Surroundings

if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine

Task = Sequence[object]
SIZE = (33, 77)
_DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
_GIVEN = (("GIVEN", "a value, with = and\nnewline"),)


class Finding:
    """Whether a promise is kept, and if not, what happened; ``kept`` is None if nobody can tell."""

    __slots__ = ("kept", "reason")

    def __init__(self, kept: bool | None, reason: str = "") -> None:
        self.kept = kept
        self.reason = reason

    def to_json(self) -> dict[str, Any]:
        """The finding as plain values."""
        return {"kept": self.kept, "reason": self.reason}


class Trial:
    """One engine, its surroundings, and what its containers have found."""

    def __init__(self, engine: Engine, around: Surroundings) -> None:
        self._engine = engine
        self._around = around
        self._count = 0
        self._images = manifest(around.root.path)
        self._sources = manifest(f"{around.place}/in")
        self._limited = endings.start_limited(self.start, around.word)
        self._plain = self._look()

    def findings(self) -> dict[str, Finding]:
        """What was found for each promise of base.PROMISES."""
        probes = {
            base.CLEAN_ENVIRONMENT: self._clean_environment,
            base.NETWORK_OFF: self._network_off,
            base.READ_ONLY_BINDS: self._read_only_binds,
            base.READ_ONLY_ROOT: self._read_only_root,
            base.PRIVATE_PIDS: self._private_pids,
            base.EMULATED_ROOT: self._emulated_root,
            base.EXIT_CODES: lambda: endings.exit_codes(self.start),
            base.TERMINAL: self._terminal,
            base.NO_SURVIVORS: lambda: endings.no_survivors(self.start, self._around.word),
            base.LIMITS: lambda: endings.limits(self._limited),
            # The last: by now every other probe has tried to change the image.
            base.PRIVATE_ROOT: self._private_root,
        }
        found = {}
        for promise, probe in probes.items():
            try:
                problems = probe()
                found[promise] = Finding(not problems, "; ".join(problems))
            except Untold as error:
                found[promise] = Finding(None, str(error))
        return {promise: found[promise] for promise in base.PROMISES}

    def start(
        self, tasks: Sequence[Task], end: str = "0", size: tuple[int, int] | None = None,
        **asked: Any,
    ) -> Container:  # fmt: skip
        """Start a container that does the tasks; ``asked`` is what a RunRequest takes."""
        self._count += 1
        around = self._around
        asked.setdefault("mounts", [Mount(f"{around.place}/out", "/out")])
        spec = specify(around.root, tasks, end, **asked)
        output = f"{around.outside}/output-{self._count}"
        return Container(self._engine, spec, output, {VARIABLE: around.word}).start(size)

    def _run(self, tasks: Sequence[Task], end: str = "0", **asked: Any) -> list[Any]:
        """What a container found; raise Untold if it did not end as its program wanted."""
        container = self.start(tasks, end, **asked)
        return told(container.end(), end)

    def _look(self) -> dict[str, Any]:
        """The container that looks at everything, with nothing asked for but binds."""
        around = self._around
        middle = len(around.word) // 2
        # The word is not to be among the arguments of the container's own processes.
        word = (around.word[:middle], around.word[middle:])
        tasks: dict[str, Task] = {
            "environment": ("environment",),
            "secrets": ("secrets", around.secrets, *word, around.pid),
            "names": ("names", "/"),
            "sys": ("names", "/sys"),
            "devices": ("devices",),
            "processes": ("processes", *word),
            "strike": ("strike", around.pid),
            "descriptors": ("descriptors",),
            "network": ("network", around.port),
            "in": ("changes", "/in"),
            "out": ("changes", "/out"),
            "root": ("changes", "/data"),
            "etc": ("changes", "/etc"),
        }
        mounts = [
            Mount(f"{around.place}/in", "/in", read_only=True),
            Mount(f"{around.place}/out", "/out"),
        ]
        container = self.start(list(tasks.values()), mounts=mounts, environment=_GIVEN)
        found = dict(zip(tasks, told(container.end(), "0"), strict=True))
        found["expected"] = [f"{k}={v}" for k, v in container.environment.items()]
        return found

    def _private_root(self) -> list[str]:
        plain = self._plain
        expected = {*os.listdir(self._around.root.path), "in", "out", "sys"}
        odd = sorted({*plain["names"]} - expected)
        more = [p for p in plain["devices"] if os.path.basename(p) not in _DEVICES]
        changed = self._changed(self._images, self._around.root.path)
        return [
            *(f"a file of the host can be read through {p}" for p in plain["secrets"][:2]),
            *([f"the root shows /{' /'.join(odd)}"] if odd else []),
            *(["the host's /sys is shown"] if plain["sys"] else []),
            *([f"devices of the host are shown ({_some(more)})"] if more else []),
            *([f"the image was changed ({_some(changed)})"] if changed else []),
        ]

    def _clean_environment(self) -> list[str]:
        given, seen = set(self._plain["expected"]), set(self._plain["environment"])
        # What an engine cannot be without, and says so.
        own = getattr(self._engine, "own_variables", ())
        names = sorted({pair.partition("=")[0] for pair in seen - given}.difference(own))
        lost = sorted(pair.partition("=")[0] for pair in given - seen)
        told = self._plain["processes"]["told"]
        held = [fd for fd in self._plain["descriptors"] if fd > 2]
        return [
            *([f"variables that nobody gave are set ({_some(names)})"] if names else []),
            *([f"variables are missing or changed ({_some(lost)})"] if lost else []),
            *(["the variables of a process of the host can be read"] if told else []),
            *([f"descriptors of ours are open ({_some(held)})"] if held else []),
        ]

    def _network_off(self) -> list[str]:
        if not self._plain["network"]["host"]:
            raise Untold("the host cannot be reached with the network on, so nothing is shown")
        ((off,),) = (self._run([("network", self._around.port)], network_off=True),)
        return ["a server of the host is reached"] if off["host"] else []

    def _read_only_binds(self) -> list[str]:
        if not any(path.startswith("/out/") for path in self._plain["out"]):
            raise Untold("a bind that may be written cannot be, so nothing is shown")
        changed = self._changed(self._sources, f"{self._around.place}/in")
        return [f"the source of a bind was changed ({_some(changed)})"] if changed else []

    @staticmethod
    def _changed(before: dict[str, tuple[Any, ...]], place: str) -> list[str]:
        return [os.path.relpath(path, place) for path in differences(before, manifest(place))]

    def _read_only_root(self) -> list[str]:
        tasks = [("changes", "/data"), ("changes", "/etc"), ("changes", "/home")]
        changed = [path for paths in self._run(tasks, read_only=True) for path in paths]
        return [f"the root was changed ({_some(changed)})"] if changed else []

    def _private_pids(self) -> list[str]:
        seen = self._plain["processes"]
        if not seen["self"]:
            raise Untold("/proc does not show the program itself, so nothing is shown")
        return [
            *(["processes of the host are shown"] if seen["shown"] else []),
            *(["processes of the host can be signalled"] if self._plain["strike"] == "yes" else []),
        ]

    def _emulated_root(self) -> list[str]:
        tasks = [("changes", "/data/inner"), ("emulation",)]
        changed, problems = self._run(tasks, user="root")
        refused = [f"{word}: {problem}" for word, problem in problems.items()]
        return refused + ([] if changed else ["the root cannot be written"])

    def _terminal(self) -> list[str]:
        ended = self.start([("terminal",)], size=SIZE, tty=True).end()
        (found,) = told(ended, "0")
        return [
            *([] if all(found["streams"]) else ["the standard streams are no terminal"]),
            *([] if found["size"] == [*SIZE] else [f"the window's size is {found['size']}"]),
            *([] if found["controls"] else ["it is not the controlling terminal"]),
        ]


def _some(names: Sequence[object]) -> str:
    """A few of many names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(str, names[:3])) + more
