"""What an engine is: a name, its promises on this host, and a way to turn a spec into a launch."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Protocol

    from cwl_userspace.spec import ContainerSpec

PRIVATE_ROOT = "private root"  # no file of the host outside the binds; the image never changes
# No variable of the host; of the engine's own none but those that its notes name.
CLEAN_ENVIRONMENT = "clean environment"
NETWORK_OFF = "network off"
READ_ONLY_BINDS = "read-only binds"
READ_ONLY_ROOT = "read-only root"
PRIVATE_PIDS = "private pids"
EMULATED_ROOT = "emulated root"  # chown, setuid and their kin succeed; the root can be written
LIMITS = "limits"  # of memory, processors and time, for the whole tree of processes
EXIT_CODES = "exit codes"  # n, and 128 + n for a signal
TERMINAL = "terminal"
NO_SURVIVORS = "no survivors"  # whatever ends or is killed
PROMISES = (
    PRIVATE_ROOT,
    CLEAN_ENVIRONMENT,
    NETWORK_OFF,
    READ_ONLY_BINDS,
    READ_ONLY_ROOT,
    PRIVATE_PIDS,
    EMULATED_ROOT,
    LIMITS,
    EXIT_CODES,
    TERMINAL,
    NO_SURVIVORS,
)


# Below this version of Landlock truncate(2) goes past it.
LANDLOCK_NEEDED = 3


def by_landlock(version: int) -> dict[str, str]:
    """What Landlock alone keeps, for an engine that mounts nothing, with the reason if it does not.

    It also keeps what is bound from looking into other processes (Linux 5.13).
    """
    lacking = (
        "" if version >= LANDLOCK_NEEDED else f"the kernel's Landlock is {version}, not 3 or newer"
    )
    return {
        CLEAN_ENVIRONMENT: lacking and f"/proc tells the host's, and {lacking}",
        READ_ONLY_BINDS: lacking,
        READ_ONLY_ROOT: lacking,
    }


class Launch:
    """How to start a container; plain values, so that two launches can be compared.

    ``namespaces``: the process beside the program is process 1 of its own process name space.
    ``before``: operations of the supervisor itself. ``inside``: operations of the keeper, that
    is, of process 1. ``last``: operations of the program's own process, just before ``argv``.
    ``prepare``: what must be made in the run's private directory before anything starts.
    ``private``: the directory that ``prepare`` fills, to be removed at the end.
    ``skip``: how many processes stand between the keeper's child and the one to signal.
    ``guarded``: places of the host whose modes, owners and times the container must not change.
    ``clones_judged``: the guard also looks at what each clone3(2) asks for.
    ``locator``: empty where the guard sees what paths mean; else a program of the container tells
    it, and ``forgive`` says whether root is emulated.
    ``script``: what the status shim is to execute, see script.script; empty if ``argv`` is the
    program itself. The shim tells of the program's end by a byte, its exit code.
    ``joined``: the program has joined the name spaces of a container that runs already.
    ``limits``: what the container may use, as Limits.to_json has it; the supervisor sees to it.
    """

    __slots__ = (
        "after",
        "argv",
        "before",
        "clones_judged",
        "engine",
        "environment",
        "guarded",
        "inside",
        "joined",
        "last",
        "limits",
        "locator",
        "namespaces",
        "prepare",
        "private",
        "script",
        "skip",
        "terminal",
        "working_dir",
    )

    def __init__(
        self,
        engine: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        working_dir: str,
        namespaces: bool,
        before: Sequence[Sequence[Any]] = (),
        inside: Sequence[Sequence[Any]] = (),
        last: Sequence[Sequence[Any]] = (),
        after: Sequence[Sequence[Any]] = (),
        prepare: Sequence[Sequence[Any]] = (),
        private: str = "",
        skip: int = 0,
        guarded: Sequence[str] = (),
        clones_judged: bool = False,
        locator: Mapping[str, Any] | None = None,
        terminal: bool = False,
        limits: Mapping[str, Any] | None = None,
        script: Mapping[str, Any] | None = None,
        joined: bool = False,
    ) -> None:
        self.engine = engine
        self.argv = tuple(argv)
        self.environment = dict(environment)
        self.working_dir = working_dir
        self.namespaces = namespaces
        self.before = [list(operation) for operation in before]
        self.inside = [list(operation) for operation in inside]
        self.last = [list(operation) for operation in last]
        self.after = [list(operation) for operation in after]
        self.prepare = [list(operation) for operation in prepare]
        self.private = private
        self.skip = skip
        self.guarded = tuple(guarded)
        self.clones_judged = clones_judged
        self.locator = dict(locator or {})
        self.terminal = terminal
        self.limits = dict(limits or {})
        self.script = dict(script or {})
        self.joined = joined

    def to_json(self) -> dict[str, Any]:
        """The launch as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Launch) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]


if TYPE_CHECKING:

    class Engine(Protocol):
        """A way to run a container."""

        name: str

        def unavailable(self) -> str | None:
            """Why this engine cannot run here, as one sentence; None if it can."""

        def promises(self) -> Mapping[str, str]:
            """For each promise of PROMISES an empty text if it is kept, else the reason."""

        def notes(self) -> list[str]:
            """What to know of a promise that is kept in another way than elsewhere."""

        def copies(self, spec: ContainerSpec) -> bool:
            """True if a launch puts much into the run's private directory, such as a whole tree."""

        def launch(self, spec: ContainerSpec, private: str) -> Launch:
            """How to start the container; ``private`` is a directory for this run alone."""
