"""A launch that joins a container which runs already, made from the launch of that container.

No engine is needed where there are name spaces: setns(2) does what is to be done. proot is started
again, upon the same root and with the same binds and guards.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cwl_userspace import lineage
from cwl_userspace.engines.base import Launch
from cwl_userspace.engines.lookup import find_program
from cwl_userspace.engines.view import View
from cwl_userspace.errors import EngineError, UsageError
from cwl_userspace.script import script

# Those whose containers have a root that is theirs alone, wherever its directory goes.
BY_NAMESPACES = ("userns", "chroot", "bwrap", "runc", "crun", "charliecloud")
_NO_SUCH_PROCESS = "its processes have ended"
# What binds the program itself, and not the container.
_BINDING = ("drop_capabilities", "no_new_privileges")


class Program:
    """What is to be started: ``user`` is a pair of numbers, or None for the container's own."""

    __slots__ = ("argv", "environment", "terminal", "user", "working_dir")

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        working_dir: str,
        user: tuple[int, int] | None,
        terminal: bool,
    ) -> None:
        self.argv = tuple(argv)
        self.environment = dict(environment)
        self.working_dir = working_dir
        self.user = user
        self.terminal = terminal


class Joining:
    """The way into one container; ``keeper`` is the process that keeps its program.

    Raise EngineError where there is none.
    """

    def __init__(self, launch: Mapping[str, Any], keeper: int) -> None:
        self._launch = launch
        self.engine: str = launch["engine"]
        self._pid = 0
        if self.engine in BY_NAMESPACES:
            self._pid = _inside(launch, keeper)
        elif self.engine != "proot":
            raise EngineError(
                f"the engine {self.engine} lets nobody join a container that runs",
                "start it with another engine",
            )

    @property
    def environment(self) -> dict[str, str]:
        """What the container's program was given."""
        found: dict[str, str] = (self._launch["script"] or self._launch)["environment"]
        return dict(found)

    @property
    def root(self) -> str:
        """A place of the host where the container's accounts are to be found."""
        if self.engine == "proot":
            return os.path.dirname(self._view().host("/etc"))
        return f"/proc/{self._pid}/root"

    def launch(self, program: Program) -> Launch:
        """How to start a program in the container; raise EngineError if it cannot be that user,
        UsageError if there is no such directory.
        """
        self._check_directory(program.working_dir)
        if self.engine == "proot":
            return self._by_proot(program)
        start = lineage.start_of(self._pid)
        if not start:
            raise EngineError(_NO_SUCH_PROCESS, "see cwl-userspace ps -a")
        launch = self._launch
        last = [["filter", code] for code in launch["script"].get("filters", ())]
        bound = [operation for operation in launch["inside"] if operation[0] in _BINDING]
        return Launch(
            engine=self.engine,
            argv=program.argv,
            environment=program.environment,
            working_dir=program.working_dir,
            namespaces=True,
            joined=True,
            before=[["join", self._pid, start]],
            inside=[
                ["join_root", self._pid, start],
                *(bound or [["drop_capabilities", _dropped(self._pid)], ["no_new_privileges"]]),
            ],
            last=last or self._last(program.user),
            terminal=program.terminal,
            limits=_limits(launch),
        )

    def _last(self, user: tuple[int, int] | None) -> list[list[Any]]:
        """What binds the container's program binds this one; only who it is may be another."""
        found = []
        for word, *arguments in self._launch["last"]:
            if word == "identity" and user is not None:
                groups = arguments[2] if arguments[2] is None else [user[1]]
                found.append([word, *user, groups])
            else:
                found.append([word, *arguments])
        return found

    def check_user(self, user: tuple[int, int]) -> None:
        """Raise EngineError for somebody whom a program there cannot be."""
        if self.engine == "proot":
            return
        with open(f"/proc/{self._pid}/uid_map", encoding="ascii") as file:
            lines = [tuple(map(int, line.split())) for line in file]
        if len(lines) == 1 and lines[0][2] == 1 and lines[0][0] != user[0]:
            raise EngineError(
                f"a program cannot be user {user[0]} there: the container has user {lines[0][0]}"
                " alone",
                "start the container with -u",
            )

    def _check_directory(self, directory: str) -> None:
        """Raise UsageError for a place that is no directory there; proot would take another."""
        view = self._view() if self.engine == "proot" else View(f"/proc/{self._pid}/root")
        try:
            found = stat.S_ISDIR(os.stat(view.host(view.resolve(directory))).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            found = False
        except OSError:
            return  # a program there may see more of it than we do
        if not found:
            raise UsageError(
                f"the container has no directory {directory!r}", "choose another with --workdir"
            )

    def _by_proot(self, program: Program) -> Launch:
        launch = self._launch
        words = _words(launch["argv"])
        path = program.environment.get("PATH", "")
        found = find_program(self._view(), program.argv, path, program.working_dir)
        identity = _identity(program.user) if program.user is not None else words["identity"]
        forgive = "-0" in identity
        return Launch(
            engine=self.engine,
            argv=[
                *launch["argv"][:3],
                *identity,
                *words["--kill-on-exit"],
                *("-r", *words["-r"]),
                *(word for bind in words["-b"] for word in ("-b", bind)),
                *("-w", program.working_dir),
                *words["rest"],
            ],
            environment=launch["environment"],
            working_dir=launch["working_dir"],
            namespaces=False,
            last=launch["last"],
            skip=launch["skip"],
            guarded=launch["guarded"],
            clones_judged=launch["clones_judged"],
            locator={"forgive": forgive} if launch["locator"] else {},
            terminal=program.terminal,
            limits=_limits(launch),
            script=script(
                found,
                program.argv,
                program.environment,
                terminal=program.terminal,
                bound=True,
                watched=True,
            ),
        )

    def _view(self) -> View:
        """Where each place of the container comes from."""
        words = _words(self._launch["argv"])
        view = View(words["-r"][-1])
        for bind in words["-b"]:
            source, _, place = bind.partition(":")
            view.bind(place.removesuffix("!"), source, os.path.isdir(source))
        return view


def binds(launch: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """The root that a container of proot was given, and each place of the host with its target."""
    words = _words(launch["argv"])
    pairs = (bind.partition(":")[::2] for bind in words["-b"])
    return words["-r"][-1], [(source, place.removesuffix("!")) for source, place in pairs]


def _words(argv: Sequence[str]) -> dict[str, list[str]]:
    """A proot's command line by its options: who it is under ``identity``, and the ``rest``."""
    found: dict[str, list[str]] = {name: [] for name in ("-r", "-b", "-w", "--kill-on-exit")}
    found |= {"identity": [], "rest": []}
    words: Iterator[str] = iter(argv[3:])
    for word in words:
        if word == "-0":
            found["identity"] = [word]
        elif word == "-i":
            found["identity"] = [word, next(words)]
        elif word == "--kill-on-exit":
            found[word] = [word]
        elif word in found:
            found[word].append(next(words))
        else:
            found["rest"] = [word, *words]
    return found


def _identity(user: tuple[int, int]) -> list[str]:
    if user[0] == 0 and os.geteuid() != 0:
        return ["-0"]
    return [] if user == (os.geteuid(), os.getegid()) else ["-i", f"{user[0]}:{user[1]}"]


def _inside(launch: Mapping[str, Any], pid: int) -> int:
    """A process in the container that may be looked into: the program, if there is a shim."""
    if launch["script"]:
        for _ in range(launch["skip"] + 2):
            pid = lineage.first_child(pid) if pid else 0
    if not pid:
        raise EngineError(_NO_SUCH_PROCESS, "see cwl-userspace ps -a")
    return pid


def _dropped(pid: int) -> list[int]:
    """The capabilities that a process of the container may not have, nor any beside it."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        kept = next((int(line.split()[1], 16) for line in file if line.startswith("CapBnd:")), 0)
    return [number for number in range(64) if not kept >> number & 1]


def _limits(launch: Mapping[str, Any]) -> dict[str, Any]:
    """The container's limits but for its time, for the program by itself."""
    return {**launch["limits"], "seconds": 0.0} if launch["limits"] else {}
