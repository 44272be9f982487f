"""Instructions that change nothing but how the image is to be run (config.md, Docker's fields)."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from cwl_userspace.build.problem import Problem
from cwl_userspace.build.words import expand, pairs, split

DEFAULT_SHELL = ("/bin/sh", "-c")
_FLAG = re.compile(r"--([a-z][a-z0-9-]*)(?:=(\S*))?(?:\s+|$)")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 6e10, "h": 3.6e12}
_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?$", re.IGNORECASE)
_LAST_PORT = 65535

Document = dict[str, Any]


class Text:
    """The text of one instruction, and what its variables stand for."""

    def __init__(self, value: str, variables: Mapping[str, str], escape: str) -> None:
        self.value = value
        self._variables = variables
        self._escape = escape

    def expand(self, text: str) -> str:
        """A text with its variables put in."""
        return expand(text, self._variables, self._escape)

    def expand_lines(self, text: str) -> str:
        """The lines of a here-document with variables put in; quotes in it are text."""
        return expand(text, self._variables, self._escape, quotes=False)

    def whole(self) -> str:
        """All of it, expanded."""
        return self.expand(self.value)

    def raw_words(self) -> list[str]:
        """Its words, not expanded: a JSON array of texts, or parted by white space."""
        array = exec_form(self.value)
        return self.value.split() if array is None else array

    def words(self) -> list[str]:
        """Its words, each expanded."""
        return [self.expand(word) for word in self.raw_words()]

    def pairs(self) -> list[tuple[str, str]]:
        """``NAME=VALUE`` pairs, each part expanded with what was known before."""
        found = pairs(self.value, self._escape)
        return [(self.expand(name), self.expand(value)) for name, value in found]

    def settings(self) -> list[tuple[str, str | None]]:
        """``NAME`` or ``NAME=VALUE`` words, as ARG has them; None where no value is given."""
        parts = [word.partition("=") for word in split(self.value, self._escape)]
        return [(self.expand(n), self.expand(value) if eq else None) for n, eq, value in parts]


def exec_form(value: str) -> list[str] | None:
    """The words of a JSON array of texts; None for anything else, which is the shell form."""
    if not value.startswith("["):
        return None
    try:
        words = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return words


def flags(value: str, known: Mapping[str, bool]) -> tuple[dict[str, list[str]], str]:
    """The ``--NAME=VALUE`` words at the beginning, and the rest.

    ``known`` tells of each flag whether it needs a value. Raise Problem for another one.
    """
    found: dict[str, list[str]] = {}
    while match := _FLAG.match(value):
        name, given = match[1], match[2]
        if name not in known:
            names = ", ".join(f"--{name}" for name in known) or "none"
            raise Problem(f"has the flag --{name}, which cannot be used here", f"known: {names}")
        if known[name] and not given:
            raise Problem(f"has --{name} without a value", f"expected --{name}=VALUE")
        found.setdefault(name, []).append(given or "")
        value = value[match.end() :]
    return found, value


def command_line(value: str, document: Document) -> list[str]:
    """What is to be executed: the words of the exec form, or the shell with the text."""
    words = exec_form(value)
    if words is not None:
        return words
    return [*(document["config"].get("Shell") or DEFAULT_SHELL), value]


def _env(document: Document, text: Text) -> None:
    variables = variables_of(document)
    variables.update(text.pairs())
    document["config"]["Env"] = [f"{name}={value}" for name, value in variables.items()]


def variables_of(document: Document) -> dict[str, str]:
    """The variables that an image sets."""
    settings = document["config"].get("Env") or []
    return {name: value for name, _, value in (str(s).partition("=") for s in settings)}


def _label(document: Document, text: Text) -> None:
    document["config"].setdefault("Labels", {}).update(text.pairs())


def _user(document: Document, text: Text) -> None:
    document["config"]["User"] = text.whole()


def _stop_signal(document: Document, text: Text) -> None:
    document["config"]["StopSignal"] = text.whole()


def _maintainer(document: Document, text: Text) -> None:
    document["author"] = text.value


def _expose(document: Document, text: Text) -> None:
    ports = document["config"].setdefault("ExposedPorts", {})
    for word in text.whole().split():
        match = _PORT.match(word)
        if match is None:
            raise Problem(f"has the port {word!r}", "expected for example 80, 80/udp or 8000-8010")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= _LAST_PORT:
            raise Problem(f"has the port {word!r}", f"expected numbers of up to {_LAST_PORT}")
        for port in range(first, last + 1):
            ports[f"{port}/{(match[3] or 'tcp').lower()}"] = {}


def _volume(document: Document, text: Text) -> None:
    for word in text.words():
        if not word:
            raise Problem("has an empty name", "expected paths")
        document["config"].setdefault("Volumes", {})[word] = {}


def _cmd(document: Document, text: Text) -> None:
    document["config"]["Cmd"] = command_line(text.value, document)


def _entrypoint(document: Document, text: Text) -> None:
    document["config"]["Entrypoint"] = command_line(text.value, document) or None


def _shell(document: Document, text: Text) -> None:
    words = exec_form(text.value)
    if not words:
        raise Problem(f"is {text.value!r}", 'expected a JSON array, ["/bin/bash", "-c"] say')
    document["config"]["Shell"] = words


def _onbuild(document: Document, text: Text) -> None:
    keyword = text.value.split()[0].upper()
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise Problem(f"has {keyword}, which cannot be put off", "expected another instruction")
    document["config"].setdefault("OnBuild", []).append(text.value)


def _healthcheck(document: Document, text: Text) -> None:
    known = ("interval", "timeout", "start-period", "start-interval", "retries")
    given, rest = flags(text.value, dict.fromkeys(known, True))
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE":
        document["config"]["Healthcheck"] = {"Test": ["NONE"]}
        return
    command = command.strip()
    if kind.upper() != "CMD" or not command:
        raise Problem(f"is {rest!r}", "expected NONE, or CMD and a command")
    words = exec_form(command)
    check: Document = {"Test": ["CMD-SHELL", command] if words is None else ["CMD", *words]}
    for name, values in given.items():
        if name == "retries":
            if not values[-1].isdigit():
                raise Problem(f"has --retries={values[-1]}", "expected a number")
            check["Retries"] = int(values[-1])
        else:
            check[name.title().replace("-", "")] = _nanoseconds(values[-1])
    document["config"]["Healthcheck"] = check


def _nanoseconds(text: str) -> int:
    """A duration as Go has it: ``1m30s``."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Problem(f"has the duration {text!r}", "expected for example 30s or 1m30s")
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def working_dir(document: Document, text: Text) -> str:
    """The absolute place that WORKDIR names; it is the one for all that follows."""
    before = document["config"].get("WorkingDir") or "/"
    place = posixpath.normpath(posixpath.join("/", before, text.whole()))
    document["config"]["WorkingDir"] = "/" + place.lstrip("/")
    return str(document["config"]["WorkingDir"])


CHANGES: Mapping[str, Callable[[Document, Text], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
}
