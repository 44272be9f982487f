"""The few signal functions that a supervisor needs.

The standard ``signal`` module builds some hundred enumeration members at import, which costs as
much as starting a container does; its C core is enough here.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGUSR1, SIGPIPE, SIGTERM, SIGCHLD, SIGCONT, SIGWINCH = (
    int(getattr(_signal, name))
    for name in (
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGKILL",
        "SIGUSR1",
        "SIGPIPE",
        "SIGTERM",
        "SIGCHLD",
        "SIGCONT",
        "SIGWINCH",
    )
)
SIGUSR2, SIGXFSZ, SIGALRM = int(_signal.SIGUSR2), int(_signal.SIGXFSZ), int(_signal.SIGALRM)
# "Kill the container now", from the verb kill to a supervisor; no program sends it by itself.
KILL_NOW = int(_signal.SIGRTMIN) + 3

ENDING = (SIGTERM, SIGINT, SIGHUP, SIGQUIT)
FORWARDED = (*ENDING, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH)


class Ended(KeyboardInterrupt):
    """One of ENDING has come; what is under way is undone as after ``^C``."""

    def __init__(self, signal: int) -> None:
        super().__init__()
        self.signal = signal


def end_in_order() -> Callable[[], None]:
    """Have SIGTERM and SIGHUP raise Ended here, so that no private directory is left behind.

    A forked child is ended by them at once, as ever; so is all that is executed. What is ignored
    stays so. The answer is to be called where all is to be as before.
    """
    mine = os.getpid()

    def end(signal: int, frame: object) -> None:
        if os.getpid() == mine:
            raise Ended(signal)
        _signal.signal(signal, _signal.SIG_DFL)
        os.kill(os.getpid(), signal)

    ours = [n for n in (SIGTERM, SIGHUP) if _signal.getsignal(n) == _signal.SIG_DFL]
    try:
        for signal in ours:
            _signal.signal(signal, end)
    except ValueError:  # in a thread, where signals are somebody else's business
        ours = []

    def undo() -> None:
        for signal in ours:
            _signal.signal(signal, _signal.SIG_DFL)

    return undo


def number(name: str) -> int:
    """The number of ``TERM``, ``SIGTERM`` or ``15``; raise KeyError for anything else."""
    if name.isdigit() and 0 < int(name) < 65:
        return int(name)
    text = name.upper()
    value = getattr(_signal, text if text.startswith("SIG") else f"SIG{text}", None)
    if value is None or text.startswith("SIG_"):
        raise KeyError(name)
    return int(value)


def ignores_hangup() -> bool:
    """True where nohup(1) has started this process, or somebody else who wants it to go on."""
    return bool(_signal.getsignal(SIGHUP) == _signal.SIG_IGN)


def handed_on() -> tuple[int, ...]:
    """Which of FORWARDED a supervisor is to take: one that goes on after a hangup does not."""
    return tuple(n for n in FORWARDED if n != SIGHUP or not ignores_hangup())


def block() -> None:
    """Hold back every signal that a supervisor handles."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (*FORWARDED, SIGCHLD, KILL_NOW))


def unblock() -> None:
    """Let them come."""
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (*FORWARDED, SIGCHLD, KILL_NOW))


def watch(fd: int, numbers: Iterable[int]) -> Callable[[], None]:
    """Have the number of each signal written to ``fd``, a pipe that does not block.

    The answer is to be called where all is to be as before.
    """
    before = [(signal, _signal.signal(signal, _nothing)) for signal in numbers]
    _signal.set_wakeup_fd(fd, warn_on_full_buffer=False)

    def undo() -> None:
        for signal, handler in before:
            _signal.signal(signal, _signal.SIG_DFL if handler is None else handler)

    return undo


def unwatch() -> None:
    """Write no numbers any more; the signals still do nothing."""
    _signal.set_wakeup_fd(-1)


def _nothing(signal: int, frame: object) -> None:
    """A handler in Python: without one the number would not be written."""


def restore() -> None:
    """The state that a program expects at its start; Python itself ignores two signals."""
    _signal.set_wakeup_fd(-1)
    for signal in (*FORWARDED, SIGCHLD, SIGPIPE, SIGXFSZ, KILL_NOW):
        _signal.signal(signal, _signal.SIG_DFL)
    unblock()
