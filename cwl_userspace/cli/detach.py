"""``run -d``: a supervisor that has neither the caller's terminal nor its streams, and outlives it.

Three processes come of it: the caller waits until the program runs and prints the id; the
supervisor leads a session of its own; a third one writes down what the container prints, and so
ends with the last of those who can print.
"""

from __future__ import annotations

import json
import os

from cwl_userspace import journal
from cwl_userspace.cli.fetch import find_or_fetch
from cwl_userspace.errors import StoreError, UsageError, UserspaceError
from cwl_userspace.log import Log
from cwl_userspace.settings import size_in_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.words import Words
    from cwl_userspace.containers import Container

    Work = Callable[["Session"], int]

_CHUNK = 1 << 16


class Session:
    """A detached container as its supervisor knows it. ``identifier`` is what the caller prints."""

    def __init__(self, identifier: str, answer: int, written: int, log: Log) -> None:
        self.identifier = identifier
        self._answer = answer
        self._written = written
        self._log = log

    def started(self) -> None:
        """Tell the caller that the program runs."""
        self.answer({"id": self.identifier})

    def failed(self, error: UserspaceError) -> None:
        """Tell the caller, or after a start whoever reads the log, what went wrong."""
        if self._answer < 0:
            os.write(2, f"cwl-userspace: {error}\n".encode("utf-8", "surrogateescape"))
        what = {"message": error.message, "hint": error.hint, "code": error.exit_code}
        self.answer({"error": what})

    def answer(self, answer: dict[str, Any]) -> None:
        """Say something to the caller, once."""
        if self._answer >= 0:
            said = self._log.said if isinstance(self._log, _Kept) else []
            os.write(self._answer, json.dumps({**answer, "said": said}).encode() + b"\n")
            os.close(self._answer)
            self._answer = -1

    def printed(self) -> None:
        """All that the container has printed is written down."""
        if self._written >= 0:
            _be_without_streams()
            os.read(self._written, 1)
            os.close(self._written)
            self._written = -1


class _Kept(Log):
    """What is to be said is kept for the caller, who has the terminal."""

    __slots__ = ("said",)

    def __init__(self, state: str) -> None:
        super().__init__(state, quiet=True)
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.note(message)
        self.said.append(message)


def detached(
    context: Context,
    words: Words,
    container: Container | None,
    work: Work,
    identifier: str,
    quiet: bool,
) -> int:
    """Have ``work`` done by a supervisor of its own; print the container's id once it runs.

    That is what create gave it, or ``identifier``, or a new one. Raise the error that kept the
    program from being started.
    """
    _check(words)
    largest = _largest(words)
    if container is None:
        find_or_fetch(context, words.arguments[0], words.value("platform"))
    identifier = container.id if container is not None else identifier or os.urandom(32).hex()
    return in_background(
        context, identifier, largest, work, quiet, open_input=words.flag("interactive")
    )


def in_background(
    context: Context,
    identifier: str,
    largest: int,
    work: Work,
    quiet: bool = False,
    open_input: bool = False,
) -> int:
    """Have ``work`` done by a process of its own, whose output goes to a log of that size at most.

    With no size nothing is written. Print the ``identifier`` once the work says that it has
    started, unless ``quiet``; raise the error that kept it from that. With ``open_input`` standard
    input does not end, so that a shell waits for what nobody will send, as with Docker's ``-di``.
    """
    _check_state(context.settings.state)
    answer_in, answer_out = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(answer_in)
        _supervise(context, identifier, answer_out, largest, work, open_input)
    os.close(answer_out)
    os.waitpid(child, 0)
    with open(answer_in, "rb") as pipe:
        text = pipe.readline()  # the container's own processes may have it open
    if not text:
        raise UserspaceError("the container's supervisor was killed", "see dmesg")
    return _tell(context, json.loads(text), quiet)


def _check_state(state: str) -> None:
    """Raise StoreError where a container that stays could not be written down."""
    why = "Permission denied"
    try:
        os.makedirs(state, mode=0o700, exist_ok=True)
        if os.access(state, os.W_OK | os.X_OK):
            return
    except OSError as error:
        why = error.strerror or str(error)
    raise StoreError(
        f"what is detached cannot be written down in {state}: {why}",
        "set XDG_STATE_HOME to a directory that you can write",
    )


def _tell(context: Context, answer: dict[str, Any], quiet: bool) -> int:
    for message in answer["said"]:
        context.log.say(message)
    if "error" in answer:
        what = answer["error"]
        error = UserspaceError(what["message"], what["hint"])
        error.exit_code = what["code"]
        raise error
    if not quiet:
        os.write(1, f"{answer['id']}\n".encode())
    return 0


def _check(words: Words) -> None:
    if words.flag("print-command"):
        raise UsageError("--print-command shows a command that waits", "leave out -d")
    if words.flag("die-with-parent"):
        raise UsageError("-d is to outlive its caller", "leave out --die-with-parent")


def _largest(words: Words) -> int:
    """How large the log may be; 0 for none."""
    driver = words.value("log-driver", "json-file")
    if driver == "none":
        return 0
    largest = journal.LARGEST
    for text in words.list("log-opt"):
        name, _, value = text.partition("=")
        if name == "max-size":
            try:
                largest = max(size_in_bytes(value), journal.SMALLEST)
            except (ValueError, OverflowError):
                raise UsageError(f"--log-opt is {text!r}", "expected max-size=SIZE") from None
    return largest


def _supervise(
    context: Context, identifier: str, answer: int, largest: int, work: Work, open_input: bool
) -> None:
    """In the forked child: become the parent of both others, and end, so that nobody's they are."""
    try:
        os.setsid()
        _close_inherited()
        written = -1
        streams: tuple[int, ...] = ()
        if largest:
            written, streams = _journal(context.settings.state, identifier, answer, largest)
        if os.fork() != 0:
            os._exit(0)
        _be_without_streams()
        if open_input:
            _keep_input_open()
        for fd, end in zip((1, 2), streams, strict=False):
            os.dup2(end, fd)
            os.close(end)
        context.log = _Kept(context.settings.state)
        session = Session(identifier, answer, written, context.log)
        _work(session, work)
    finally:
        os._exit(125)


def _journal(state: str, identifier: str, answer: int, largest: int) -> tuple[int, tuple[int, int]]:
    """Start the process that writes down what is printed: a descriptor that closes when all is
    written, and those to print to.
    """
    (out_in, out), (error_in, error), (written_in, written) = os.pipe(), os.pipe(), os.pipe()
    if os.fork() == 0:
        try:
            _be_without_streams()
            for fd in (answer, written_in, out, error):
                os.close(fd)
            journal.write(journal.path(state, identifier), (out_in, error_in), largest)
        finally:
            os._exit(0)
    for fd in (out_in, error_in, written):
        os.close(fd)
    return written_in, (out, error)


def _work(session: Session, work: Work) -> None:
    try:
        code = work(session)
    except UserspaceError as error:
        session.failed(error)
        code = error.exit_code
    except BaseException as error:
        session.failed(UserspaceError(f"{type(error).__name__}: {error}"))
        code = 125
    session.started()
    session.printed()
    os._exit(code)


def _close_inherited() -> None:
    """Close what the caller has open: somebody may wait for its end. Ours is never inherited."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if fd > 2 and os.get_inheritable(fd):
                os.close(fd)
        except OSError:
            continue


def _keep_input_open() -> None:
    """A standard input that nobody writes to, and that ends with this process."""
    inner, _ = os.pipe2(os.O_CLOEXEC)
    os.dup2(inner, 0)
    os.close(inner)


def _be_without_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
