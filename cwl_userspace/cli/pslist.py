"""Which containers ``ps`` lists, by Docker's filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.listing import has_labels
from cwl_userspace.cli.subjects import Subject
from cwl_userspace.cli.words import Words
from cwl_userspace.errors import ImageError, InvalidReference, UsageError
from cwl_userspace.store import records

FILTERS = ("id", "name", "status", "exited", "ancestor", "label", "before", "since")
STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
# These ask for what does not run, too.
_OF_ALL = frozenset(("status", "exited"))


def chosen(context: Context, given: Mapping[str, Sequence[str]], everything: bool) -> list[Subject]:
    """The containers that fit all filters, the oldest first; raise UsageError for a wrong value,
    and ContainerNotFound for a container that is none, whether there are any containers or not.
    """
    fit = [_filter(context, key, values) for key, values in given.items()]
    known: Iterable[Subject] = subjects.every(context)
    if not (everything or _OF_ALL & given.keys()):
        known = (subject for subject in known if subject.running)
    return [subject for subject in known if all(fits(subject) for fits in fit)]


def created(subject: Subject) -> float:
    """When a container was made, or was run first."""
    if subject.made is not None:
        return subject.made.created
    last = _last(subject)
    return float(last.get("time") or last["ended"])


def labels(subject: Subject) -> dict[str, str]:
    """The labels that a container was given."""
    known = subject.words()
    texts = Words.from_json(known).list("label") if known else ()
    image = (subject.made.document.get("Labels") or {}) if subject.made is not None else {}
    return {**image, **dict(text.partition("=")[::2] for text in texts)}


def _filter(context: Context, key: str, values: Sequence[str]) -> Callable[[Subject], bool]:
    """What says whether a container fits one filter."""
    if key == "id":
        return lambda subject: subject.id.startswith(tuple(values))
    if key == "name":
        patterns = [_pattern(value) for value in values]
        return lambda subject: any(pattern.search(subject.shown) for pattern in patterns)
    if key == "status":
        _check_states(values)
        return lambda subject: subject.state in values
    if key == "exited":
        codes = [_code(value) for value in values]
        return lambda subject: subject.ended is not None and int(subject.ended["code"]) in codes
    if key == "ancestor":
        images = {_identifier(context, value) for value in values} - {""}
        return lambda subject: _image(subject) in images
    if key == "label":
        return lambda subject: has_labels(labels(subject), values)
    limits = [created(subjects.find(context, value)) for value in values]
    if key == "before":
        return lambda subject: created(subject) < min(limits)
    return lambda subject: created(subject) > max(limits)


def _check_states(values: Sequence[str]) -> None:
    for state in values:
        if state not in STATES:
            raise UsageError(
                f"the filter status={state} is not known", f"expected one of {', '.join(STATES)}"
            )


def _code(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"the filter exited={text} is not known", "expected a number") from None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text.lstrip("/"))
    except re.error as error:
        raise UsageError(f"the filter name={text} is no pattern", str(error)) from None


def _image(subject: Subject) -> str:
    made = subject.made
    return made.image if made is not None else str(_last(subject).get("image", ""))


def _identifier(context: Context, name: str) -> str:
    try:
        return str(records.find(context.store, name).id)
    except (ImageError, InvalidReference):
        return ""


def _last(subject: Subject) -> dict[str, Any]:
    return subject.running[-1] if subject.running else subject.ended or {}
