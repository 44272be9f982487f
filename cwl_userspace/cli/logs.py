"""``logs``: what a detached container has printed, and with ``-f`` what it will."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from cwl_userspace import journal, runs
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.journal import Line

OPTIONS = (
    Option("-f --follow", FLAG, "go on until it ends"),
    Option("-n --tail", VALUE, "only the last lines", "N|all"),
    Option("--since", VALUE, "only what was printed since", "10m|TIME"),
    Option("--until", VALUE, "only what was printed before", "10m|TIME"),
    Option("-t --timestamps", FLAG, "say when each line was printed"),
    Option("--help", FLAG, "show this text"),
)
_PAUSE = 0.1
# No log has as many lines as a number of so many digits.
_LONGEST = 18
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_FORMS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the log of a container: what went to its standard error goes to ours."""
    words = parse("logs", OPTIONS, argv)
    if words.flag("help"):
        return show("logs", "[OPTIONS] CONTAINER", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("logs needs one container", "see cwl-userspace ps -a")
    tail = _count(words.value("tail", "all"), words.typed("tail"))
    since, until = _time("since", words.value("since")), _time("until", words.value("until"))
    subject = subjects.find(context, words.arguments[0])
    place = journal.path(context.settings.state, subject.id)
    running = [record for record in subject.running if record.get("detached")]
    if not running and not os.path.exists(place):
        raise subjects.failure(
            f"{words.arguments[0]!r} has no log", "only what run -d or start has started has one"
        )

    def wanted(lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            if since <= line.time and (not until or line.time < until):
                yield line

    printer = _Printer(words.flag("timestamps"))
    reader = journal.Reader(place)
    printer.print(_last(wanted(reader.lines()), tail))
    if words.flag("follow"):
        printer.print(wanted(added(reader, lambda: any(map(runs.is_alive, running)))))
    reader.close()
    return 0


def added(reader: journal.Reader, goes_on: Callable[[], bool]) -> Iterator[Line]:
    """Lines as they are added to a log. Who writes it has done so before nothing goes on, so after
    that it is read once more.
    """
    while goes_on():
        time.sleep(_PAUSE)
        yield from reader.lines()
    yield from reader.lines()


class _Printer:
    """Prints lines; their parts are joined again."""

    def __init__(self, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._within = dict.fromkeys(journal.STREAMS, False)

    def print(self, lines: Iterable[Line]) -> None:
        for line in lines:
            ahead = f"{line.time} ".encode() if self._timestamps else b""
            if self._within[line.stream]:
                ahead = b""
            self._within[line.stream] = not line.whole
            _write(1 if line.stream == "stdout" else 2,
                   ahead + line.text + (b"\n" if line.whole else b""))  # fmt: skip


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _last(lines: Iterator[Line], count: int) -> Iterable[Line]:
    """The last so many lines, each with all its parts; all of them for -1."""
    if count < 0:
        return lines
    parts: dict[str, list[Line]] = {name: [] for name in journal.STREAMS}
    kept: deque[list[Line]] = deque(maxlen=count)
    for line in lines:
        parts[line.stream].append(line)
        if line.whole:
            kept.append(parts[line.stream])
            parts[line.stream] = []
    for rest in parts.values():
        if rest:
            kept.append(rest)
    return [part for whole in kept for part in whole]


def _count(text: str, option: str) -> int:
    """How many lines; -1 for all, as Docker takes any number below 0."""
    if text == "all" or (text.startswith("-") and text[1:].isdecimal()):
        return -1
    if not text.isdecimal():
        raise UsageError(f"{option} is {text!r}", "expected a number of lines, or all")
    return int(text) if len(text) < _LONGEST else -1


def _time(option: str, text: str) -> str:
    """A time as the log has it: so long ago, seconds since 1970, or a date."""
    if not text:
        return ""
    try:
        return _stamp(_seconds(text))
    except (ValueError, OverflowError, OSError):  # the last two of times that no calendar has
        raise UsageError(
            f"--{option} is {text!r}", "expected 10m, or a time such as 2030-01-31T12:00"
        ) from None


def _seconds(text: str) -> float:
    """The same in seconds since 1970; raise ValueError for what is no time."""
    if _DURATION.sub("", text) == "":
        past = sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(text))
        return time.time() - past
    for form in _FORMS:
        try:
            found = time.strptime(re.sub(r"\.\d+", "", text), form)
        except ValueError:
            continue
        if found.tm_gmtoff is None:
            return time.mktime(found)
        import calendar

        return calendar.timegm(found) - found.tm_gmtoff
    return float(text)


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1e9):09d}Z"
